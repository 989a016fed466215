"""Every letter that can be sent, written for a lead of whom all is known, and for one of whom only the address is."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from nurture.authoring.cadence_file import EmailStep, NotifyStep, TaskStep
from nurture.authoring.content_checks import texts_of
from nurture.authoring.samples import OF_EVERY_LEAD, SAMPLES, SOME_DAY, sample_event, sample_lead
from nurture.authoring.sources import FORMS, TEMPLATES
from nurture.authoring.step_keys import KeyedStep, in_file_order, key_steps
from nurture.authoring.workspace import Compiled
from nurture.content.headers import mailbox_value
from nurture.content.languages import language_of
from nurture.content.letters import Composer, Letter, LetterRequest, LinkStyle, RenderProblem
from nurture.content.lint import lint_html, lint_text
from nurture.content.templates import TemplateError, TemplateLibrary
from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding
from nurture.documents.source import read_source
from nurture.domain.mailbox import Mailbox, read_mailbox, sender_as_seen
from nurture.settings import Settings
from nurture.store.lead_facts import lead_view

_URL = "https://mail.example/x"
OF_EVERY_LETTER = ("unsubscribe_url", "preferences_url", "view_url", "stay_url")
"""The addresses that every letter can speak of; those of an offer or a form are in theirs alone."""
_MISSING = re.compile(r"^([\w.]+) is missing and has no default$")


@dataclass(frozen=True, kw_only=True)
class _Letter:
    """A letter to be tried: its texts stand at `path`, at the keys of `lines`, its template at `place`.

    `vars` are the texts of one arm. `language` is that of a translation, "" for the template itself. `triggered`:
    an event began the run.
    """

    document: Document
    path: Path
    template: str
    place: Path = ("email",)
    lines: Mapping[Path, str]
    vars: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    per_lead: bool = False
    triggered: bool = False
    addresses: Mapping[str, Any] = field(default_factory=dict)


def check_rendering(compiled: Compiled, library: TemplateLibrary) -> Iterator[Finding]:
    """What goes wrong only when a letter is written. Templates that do not compile are someone else's finding."""
    settings = compiled.sources.settings
    if settings is None:
        return
    composer = Composer(library)
    remarked: set[tuple[str, str]] = set()
    for letter in _letters(compiled):
        used = _used(library, letter)
        for full in (True, False):
            context = _context(letter, library, settings, used, full=full)
            yield from _bad_lines(letter, library, context, full=full)
            written = yield from _tried(compiled, letter, composer, context, settings, full=full)
            if written is not None:
                yield from _disliked(compiled, letter, written, remarked)


def _letters(compiled: Compiled) -> Iterator[_Letter]:
    """Every letter that has a template, in its own language and in those that it is translated to."""
    known = compiled.sources.names.templates
    for letter in (*_letters_of_steps(compiled), *_letters_of_forms(compiled)):
        if letter.template not in known:
            continue
        yield letter
        for file in compiled.sources.template_files:
            if file.startswith(f"{letter.template}.") and (language := language_of(file)):
                yield replace(letter, language=language, lines={})


def _letters_of_steps(compiled: Compiled) -> Iterator[_Letter]:
    for stem, file in compiled.files.items():
        document = compiled.sources.cadences[stem]
        for step in in_file_order(key_steps(file.steps)):
            if isinstance(step.body, EmailStep):
                letters = _arms(document, step, step.body)
                yield from (replace(each, triggered=file.trigger is not None) for each in letters)


def _arms(document: Document, step: KeyedStep, body: EmailStep) -> Iterator[_Letter]:
    """One letter for each template with each set of `vars`; the step's lines stand in the first."""
    lines = dict(texts_of(body))
    said = (body.subject, body.body, body.sender, *(body.vars or {}).values())
    arms: Mapping[str, Any] = next((each for each in said if isinstance(each, dict)), {"": None})
    for number, arm in enumerate(arms):
        template = (body.body or {}).get(arm, body.email)
        variables = {
            name: text if isinstance(text, str) else text.get(arm, "") for name, text in (body.vars or {}).items()
        }
        yield _Letter(
            document=document,
            path=step.path,
            template=template,
            place=("body", arm) if body.body and arm in body.body else ("email",),
            lines=lines if number == 0 else {},
            vars=variables,
            per_lead=body.compile == "per_lead",
        )
        if not body.body and not body.vars:
            return


def _letters_of_forms(compiled: Compiled) -> Iterator[_Letter]:
    document = compiled.sources.special.get(FORMS)
    if document is None:
        return
    for name, offer in compiled.offers.items():
        yield _Letter(
            document=document,
            path=("offers", name),
            template=offer.email,
            lines={("subject",): offer.subject},
            addresses={"offer_url": _URL, "offer": {"name": offer.name, "kind": offer.kind}},
        )
    for name, form in compiled.forms.items():
        if form.confirm is not None:
            yield _Letter(
                document=document,
                path=("forms", name, "confirm"),
                template=form.confirm.template,
                lines={("subject",): form.confirm.subject},
                addresses={"confirm_url": _URL},
            )


def _used(library: TemplateLibrary, letter: _Letter) -> frozenset[str]:
    """The dotted names that the letter speaks of, as far as its texts can be read."""
    used: set[str] = set()
    with suppress(TemplateError):
        used |= library.variables(letter.template, language=letter.language or None)
    for text in (*letter.lines.values(), *letter.vars.values()):
        with suppress(TemplateError):
            used |= library.line(text).variables
    return frozenset(used)


def _context(
    letter: _Letter, library: TemplateLibrary, settings: Settings, used: frozenset[str], *, full: bool
) -> dict[str, Any]:
    """What the engine shows to the template, of made-up people."""
    person = {"name": "Ben Okafor", "first_name": "Ben", "email": "ben@example.com", "timezone": "Europe/Berlin"}
    titled = {**person, "title": "Account executive", "phone": "+49 30 1", "meeting_url": _URL}
    sender = _sender(settings)
    context: dict[str, Any] = {
        **library.functions,
        **dict.fromkeys(OF_EVERY_LETTER, _URL),
        "lead": lead_view(sample_lead(settings, used, full=full)),
        "owner": titled if full else {},
        "sender": sender_as_seen(sender.name, sender.address),
        "workspace": settings.workspace.as_seen(),
        "event": sample_event(used, full=full) if letter.triggered else {},
        **letter.addresses,
    }
    context["vars"] = {name: _filled(library, text, context) for name, text in letter.vars.items()}
    return context


def _filled(library: TemplateLibrary, text: str, context: Mapping[str, Any]) -> str:
    """As written, where it can't be filled in: that is told where it stands."""
    try:
        return library.line(text).render(dict(context))
    except (RenderProblem, TemplateError):
        return text


def _sender(settings: Settings) -> Mailbox:
    return read_mailbox(settings.senders[settings.sending.sender].from_)


def check_senders(compiled: Compiled) -> Iterator[Finding]:
    """Mailboxes of `[senders]` that can be read, but stand in no header: whatever such a sender sent would fail."""
    settings, document = compiled.sources.settings, compiled.sources.config
    if settings is None or document is None:
        return
    for name, sender in settings.senders.items():
        for key, mailbox in (("from", sender.from_), ("reply_to", sender.reply_to)):
            try:
                if mailbox is not None:
                    mailbox_value(mailbox, key)
            except RenderProblem as problem:
                yield document.finding(document.value_at(("senders", name, key)), "render", str(problem))


def _bad_lines(letter: _Letter, library: TemplateLibrary, context: dict[str, Any], *, full: bool) -> Iterator[Finding]:
    for path, text in letter.lines.items():
        try:
            library.line(text).render(context)
        except RenderProblem as problem:
            yield _problem(letter.document, (*letter.path, *path), str(problem), full=full)
        except TemplateError:
            continue


def _tried(
    compiled: Compiled,
    letter: _Letter,
    composer: Composer,
    context: Mapping[str, Any],
    settings: Settings,
    *,
    full: bool,
) -> Generator[Finding, None, Letter | None]:
    """What keeps the letter from being written; the letter where nothing does."""
    sender = _sender(settings)
    request = LetterRequest(
        template=letter.template,
        subject="A letter",
        language=letter.language or settings.workspace.language,
        per_lead=letter.per_lead,
        context=context,
        from_name=sender.name,
        from_address=sender.address,
        reply_to=settings.senders[settings.sending.sender].reply_to,
        to_address="zoe@example.com",
        message_id="1.check@mail.example",
        date=SOME_DAY,
        links=LinkStyle(unsubscribe_url=_URL, preferences_url=_URL),
    )
    try:
        return composer.compose(request)
    except TemplateError:
        return None
    except RenderProblem as problem:
        place = _in_template(compiled, letter.template, str(problem), letter.language)
        if place is None:
            yield _problem(letter.document, (*letter.path, *letter.place), str(problem), full=full)
        else:
            yield _said(place, str(problem), full=full)
        return None


def _disliked(
    compiled: Compiled, letter: _Letter, written: Letter, remarked: set[tuple[str, str]]
) -> Iterator[Finding]:
    """Copy lint of a letter, each thing once a file; `remarked` is what was said before."""
    file_name = _file(letter.template, letter.language)
    for remark in (*lint_html(written.html), *lint_text(written.text)):
        said = (file_name, remark.code if remark.code == "clipped" else remark.message)
        if said in remarked:
            continue
        remarked.add(said)
        place = _found(compiled, file_name, _here(remark.near))
        file, line, column = place or (f"{TEMPLATES}/{file_name}", 1, 1)
        yield Finding(file=file, line=line, column=column, level=remark.level, code=remark.code, message=remark.message)


def _problem(document: Document, path: Path, message: str, *, full: bool) -> Finding:
    mark = document.value_at(path)
    return _said((document.file, mark.line, mark.column), message, full=full)


def _said(place: tuple[str, int, int], message: str, *, full: bool) -> Finding:
    """What a full lead lacks nobody has; what only an empty one lacks, some do."""
    file, line, column = place
    missing = _MISSING.match(message)
    if full or missing is None:
        return Finding(file=file, line=line, column=column, code="render", message=message)
    said = f"{missing[1]} is missing from some leads, who get no mail: write {{{{ {missing[1]} | default('…') }}}}"
    return Finding(file=file, line=line, column=column, level="warning", code="no-default", message=said)


def _in_template(compiled: Compiled, template: str, message: str, language: str = "") -> tuple[str, int, int] | None:
    """Where the template, or a part of it, speaks of the field that the problem names."""
    missing = _MISSING.match(message)
    if missing is None:
        return None
    name = rf"(?P<here>\b{re.escape(missing[1])}\b)(?!\s*\|\s*default)"
    file = _file(template, language)
    return _found(compiled, file, rf"\{{\{{[^}}]*?{name}") or _found(compiled, file, name)


def _file(template: str, language: str) -> str:
    return f"{template}.{language}.mjml" if language else f"{template}.mjml"


def _here(text: str) -> str:
    return f"(?P<here>{re.escape(text)})" if text else ""


def _found(compiled: Compiled, first: str, pattern: str) -> tuple[str, int, int] | None:
    """Where the template's file, or a part that any may include, has `here`; nowhere for an empty pattern."""
    others = [file for file in compiled.sources.template_files if file.startswith("_")]
    for file in (first, *others) if pattern else ():
        text = read_source(compiled.sources.root, f"{TEMPLATES}/{file}")
        found = re.search(pattern, text) if isinstance(text, str) else None
        if found and isinstance(text, str):
            start = found.start("here")
            return f"{TEMPLATES}/{file}", text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    return None


def place_of_problem(compiled: Compiled, cadence: str, step: str, message: str) -> tuple[str, int, int]:
    """File, line and column of what a RenderProblem says of this step's letter; the step's, where nothing is nearer."""
    document = compiled.sources.cadences[cadence]
    for keyed in in_file_order(key_steps(compiled.files[cadence].steps)):
        if keyed.key == step and isinstance(keyed.body, EmailStep):
            mark = document.value_at((*keyed.path, "email"))
            found = _in_template(compiled, keyed.body.email, message)
            return found or (document.file, mark.line, mark.column)
    return document.file, 1, 1


def check_messages(compiled: Compiled, library: TemplateLibrary) -> Iterator[Finding]:
    """What `notify` and `task` steps say of a lead of whom little is known."""
    lead = {**{name: SAMPLES[name] for name in OF_EVERY_LEAD}, "custom": {}}
    for stem, file in compiled.files.items():
        for step in in_file_order(key_steps(file.steps)):
            for path, text in texts_of(step.body) if isinstance(step.body, NotifyStep | TaskStep) else ():
                try:
                    library.line(text).render({"lead": lead})
                except RenderProblem as problem:
                    yield _problem(compiled.sources.cadences[stem], (*step.path, *path), str(problem), full=False)
                except TemplateError:
                    continue

"""Every letter that can be sent, written for a lead of whom all is known, and for one of whom only the address is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nurture.authoring.cadence_file import EmailStep, NotifyStep
from nurture.authoring.sources import FORMS, TEMPLATES
from nurture.authoring.step_keys import KeyedStep, in_file_order, key_steps
from nurture.authoring.workspace import Compiled
from nurture.content.letters import Composer, LetterRequest, LinkStyle, RenderProblem
from nurture.content.templates import TemplateError, TemplateLibrary
from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding, Level
from nurture.documents.source import read_source
from nurture.domain.mailbox import Mailbox, read_mailbox
from nurture.settings import Settings
from nurture.store.lead_facts import LEAD_FIELDS, lead_view

CLIPPED_AT = 102 * 1024
"""Bytes of HTML from which Gmail shows only the beginning, without the way out at its end."""
NEARLY_CLIPPED_AT = 80 * 1024
_SOME_DAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
_URL = "https://mail.example/x"
_MISSING = re.compile(r"^([\w.]+) is missing and has no default$")
_SAMPLES: Mapping[str, Any] = {
    "email": "zoe@example.com",
    "stage": "lead",
    "fit": "A",
    "language": "en",
    "timezone": "Europe/Berlin",
    "country": "DE",
    "created_at": _SOME_DAY,
}
_OF_EVERY_LEAD = ("email", "stage", "created_at")


@dataclass(frozen=True, kw_only=True)
class _Letter:
    """A letter to be tried: its texts stand at `path`, at the keys of `lines`."""

    document: Document
    path: Path
    template: str
    lines: Mapping[Path, str]
    per_lead: bool = False
    addresses: Mapping[str, Any] = field(default_factory=dict)


def check_rendering(compiled: Compiled, library: TemplateLibrary) -> Iterator[Finding]:
    """What goes wrong only when a letter is written. Templates that do not compile are someone else's finding."""
    settings = compiled.sources.settings
    if settings is None:
        return
    composer = Composer(library)
    for letter in _letters(compiled):
        for full in (True, False):
            lead = _lead(library, letter.template, settings, full=full)
            context = {**_context(settings, full=full), "lead": lead, **letter.addresses}
            yield from _bad_lines(letter, library, context, full=full)
            yield from _bad_letter(compiled, letter, composer, context, settings, full=full)


def _letters(compiled: Compiled) -> Iterator[_Letter]:
    for stem, file in compiled.files.items():
        document = compiled.sources.cadences[stem]
        for step in in_file_order(key_steps(file.steps)):
            if isinstance(step.body, EmailStep):
                yield _letter_of_step(document, step, step.body)
    document_of_forms = compiled.sources.special.get(FORMS)
    if document_of_forms is None:
        return
    for name, offer in compiled.offers.items():
        yield _Letter(
            document=document_of_forms,
            path=("offers", name),
            template=offer.email,
            lines={("subject",): offer.subject},
            addresses={"offer_url": _URL, "offer": {"name": offer.name, "kind": offer.kind}},
        )
    for name, form in compiled.forms.items():
        if form.confirm is not None:
            yield _Letter(
                document=document_of_forms,
                path=("forms", name, "confirm"),
                template=form.confirm.template,
                lines={("subject",): form.confirm.subject},
                addresses={"confirm_url": _URL},
            )


def _letter_of_step(document: Document, step: KeyedStep, body: EmailStep) -> _Letter:
    lines: dict[Path, str] = {("preheader",): body.preheader} if body.preheader else {}
    if isinstance(body.subject, str):
        lines[("subject",)] = body.subject
    else:
        lines |= {("subject", arm): text for arm, text in body.subject.items()}
    per_lead = body.compile == "per_lead"
    return _Letter(document=document, path=step.path, template=body.email, lines=lines, per_lead=per_lead)


def _lead(library: TemplateLibrary, template: str, settings: Settings, *, full: bool) -> dict[str, Any]:
    """A lead as the engine shows it to templates: with every field, or with those that nobody lacks."""
    samples = {name: _SAMPLES.get(name, f"Some {name}") for name in LEAD_FIELDS}
    if full:
        return lead_view({**samples, "custom": _custom(library, template, settings)})
    return lead_view({**dict.fromkeys(LEAD_FIELDS), **{name: samples[name] for name in _OF_EVERY_LEAD}, "custom": {}})


def _custom(library: TemplateLibrary, template: str, settings: Settings) -> dict[str, Any]:
    samples: dict[str, Any] = {"number": 42, "boolean": True, "date": "2026-01-05", "datetime": "2026-01-05T09:00:00Z"}
    declared = {name: kind if isinstance(kind, str) else "text" for name, kind in (settings.fields or {}).items()}
    try:
        used = library.variables(template)
    except TemplateError:
        used = frozenset()
    asked = {name.split(".")[2]: "text" for name in used if name.startswith("lead.custom.")}
    return {name: samples.get(kind, "sample") for name, kind in {**asked, **declared}.items()}


def _context(settings: Settings, *, full: bool) -> dict[str, Any]:
    workspace = settings.workspace
    person = {"name": "Ben Okafor", "first_name": "Ben", "email": "ben@example.com", "timezone": "Europe/Berlin"}
    titled = {**person, "title": "Account executive", "phone": "+49 30 1", "meeting_url": _URL}
    sender = _sender(settings)
    return {
        "owner": titled if full else {},
        "sender": {"name": sender.name, "email": sender.address, "first_name": sender.name.partition(" ")[0]},
        "workspace": {
            "name": workspace.name,
            "postal_address": workspace.postal_address,
            "public_url": workspace.public_url,
            "language": workspace.language,
            "timezone": workspace.timezone,
        },
    }


def _sender(settings: Settings) -> Mailbox:
    return read_mailbox(settings.senders[settings.sending.sender].from_)


def _bad_lines(letter: _Letter, library: TemplateLibrary, context: dict[str, Any], *, full: bool) -> Iterator[Finding]:
    for path, text in letter.lines.items():
        try:
            library.line(text).render(context)
        except RenderProblem as problem:
            yield _problem(letter.document, (*letter.path, *path), str(problem), full=full)
        except TemplateError:
            continue


def _bad_letter(
    compiled: Compiled,
    letter: _Letter,
    composer: Composer,
    context: Mapping[str, Any],
    settings: Settings,
    *,
    full: bool,
) -> Iterator[Finding]:
    sender = _sender(settings)
    request = LetterRequest(
        template=letter.template,
        subject="A letter",
        language=settings.workspace.language,
        per_lead=letter.per_lead,
        context=context,
        from_name=sender.name,
        from_address=sender.address,
        to_address="zoe@example.com",
        message_id="1.check@mail.example",
        date=_SOME_DAY,
        links=LinkStyle(unsubscribe_url=_URL, preferences_url=_URL),
    )
    try:
        size = len(composer.compose(request).html.encode())
    except TemplateError:
        return
    except RenderProblem as problem:
        place = _in_template(compiled, letter.template, str(problem))
        if place is None:
            yield _problem(letter.document, (*letter.path, "email"), str(problem), full=full)
        else:
            yield _said(place, str(problem), full=full)
        return
    if size > NEARLY_CLIPPED_AT:
        level: Level = "error" if size > CLIPPED_AT else "warning"
        message = f"HTML of {size // 1024} KB: Gmail clips at {CLIPPED_AT // 1024} KB, with the way out at its end"
        yield Finding(
            file=f"{TEMPLATES}/{letter.template}.mjml", line=1, column=1, level=level, code="clipped", message=message
        )


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


def _in_template(compiled: Compiled, template: str, message: str) -> tuple[str, int, int] | None:
    """Where the template, or a part of it, speaks of the field that the problem names."""
    missing = _MISSING.match(message)
    if missing is None:
        return None
    others = [file for file in compiled.sources.template_files if file.startswith("_")]
    for file in (f"{template}.mjml", *others):
        text = read_source(compiled.sources.root, f"{TEMPLATES}/{file}")
        found = re.search(rf"\b{re.escape(missing[1])}\b(?!\s*\|\s*default)", text) if isinstance(text, str) else None
        if found and isinstance(text, str):
            start = found.start()
            return f"{TEMPLATES}/{file}", text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    return None


def check_messages(compiled: Compiled, library: TemplateLibrary) -> Iterator[Finding]:
    """What `notify` steps say of a lead of whom little is known."""
    lead = {**{name: _SAMPLES[name] for name in _OF_EVERY_LEAD}, "custom": {}}
    for stem, file in compiled.files.items():
        for step in in_file_order(key_steps(file.steps)):
            if isinstance(step.body, NotifyStep):
                try:
                    library.line(step.body.message).render({"lead": lead})
                except RenderProblem as problem:
                    document = compiled.sources.cadences[stem]
                    yield _problem(document, (*step.path, "message"), str(problem), full=False)
                except TemplateError:
                    continue

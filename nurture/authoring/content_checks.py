"""Every template compiled, and every subject, preheader and message read as the Jinja that it is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from nurture.authoring.cadence_file import EmailStep, NotifyStep, TaskStep
from nurture.authoring.sources import FORMS, TEMPLATES, template_name
from nurture.authoring.step_keys import in_file_order, key_steps
from nurture.authoring.workspace import Compiled
from nurture.content.names import TemplateNames
from nurture.content.templates import TemplateError, TemplateLibrary
from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding
from nurture.documents.source import read_source
from nurture.domain.cadence import Email


def check_content(compiled: Compiled, library: TemplateLibrary) -> Iterator[Finding]:
    """What is wrong inside of templates and lines."""
    yield from _templates(compiled, library)
    for document, path, text in _lines(compiled):
        try:
            library.line(text)
        except TemplateError as error:
            mark = document.inside(path, error.column - 1 if error.line == 1 else 0)
            yield document.finding(mark, "template", error.message)


def library_of(compiled: Compiled) -> TemplateLibrary:
    settings = compiled.sources.settings
    fields = settings.fields if settings is not None else None
    names = TemplateNames(custom=None if fields is None else frozenset(fields))
    return TemplateLibrary(compiled.sources.root / TEMPLATES, names=names)


def _templates(compiled: Compiled, library: TemplateLibrary) -> Iterator[Finding]:
    uses = _uses(compiled)
    for file in compiled.sources.template_files:
        name, _, language = file.removesuffix(".mjml").partition(".")
        if name.startswith("_") or (not language and template_name(file) is None):
            continue
        for per_lead in sorted(uses.get(name, {False})):
            try:
                library.compile(name, language=language or None, per_lead=per_lead)
            except TemplateError as error:
                line, column = _place(compiled, error)
                file = f"{TEMPLATES}/{error.file}"
                yield Finding(file=file, line=line, column=column, code="template", message=error.message)


def _place(compiled: Compiled, error: TemplateError) -> tuple[int, int]:
    """The error's own place; where it has none but the top of the file, that of what its message quotes."""
    quoted = re.search(r'"([^"]+)"', error.message)
    if (error.line, error.column) == (1, 1) and quoted:
        text = read_source(compiled.sources.root, f"{TEMPLATES}/{error.file}")
        place = text.find(quoted[1]) if isinstance(text, str) else -1
        if isinstance(text, str) and place >= 0:
            return text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
    return error.line, error.column


def _uses(compiled: Compiled) -> dict[str, set[bool]]:
    """template -> how steps want it compiled: once, per lead, or both."""
    uses: dict[str, set[bool]] = defaultdict(set)
    for cadence in compiled.cadences.values():
        for step in cadence.steps.values():
            if isinstance(step, Email):
                for arm in step.arms:
                    uses[step.template_of(arm)].add(step.per_lead)
    for offer in compiled.offers.values():
        uses[offer.email].add(False)
    return uses


def _lines(compiled: Compiled) -> Iterator[tuple[Document, Path, str]]:
    """Every text outside of templates that is filled in for a lead."""
    for stem, file in compiled.files.items():
        document = compiled.sources.cadences[stem]
        for step in in_file_order(key_steps(file.steps)):
            for path, text in texts_of(step.body):
                yield document, (*step.path, *path), text
    document_of_forms = compiled.sources.special.get(FORMS)
    if document_of_forms is None:
        return
    for name, offer in compiled.offers.items():
        yield document_of_forms, ("offers", name, "subject"), offer.subject
    for name, form in compiled.forms.items():
        if form.confirm is not None:
            yield document_of_forms, ("forms", name, "confirm", "subject"), form.confirm.subject


def texts_of(body: object) -> Iterator[tuple[Path, str]]:
    """The texts of a step that are filled in for a lead, and where in the step they stand."""
    if isinstance(body, NotifyStep):
        yield ("message",), body.message
    if isinstance(body, TaskStep):
        yield ("task",), body.task
    if isinstance(body, EmailStep):
        yield ("preheader",), body.preheader
        yield from by_arm(("subject",), body.subject)
        for name, said in (body.vars or {}).items():
            yield from by_arm(("vars", name), said)
        for language, locale in (body.locales or {}).items():
            yield from by_arm(("locales", language, "subject"), locale.subject)
            yield from by_arm(("locales", language, "preheader"), locale.preheader)


def by_arm(path: Path, said: str | Mapping[str, str] | None) -> Iterator[tuple[Path, str]]:
    """A text, or one for each arm, and where they stand."""
    if isinstance(said, str):
        yield path, said
    elif said is not None:
        for arm, text in said.items():
            yield (*path, arm), text

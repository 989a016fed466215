"""Mails that nobody would ever get, although nothing in the file is misspelled: `check` proves it from the files alone.

Only what holds for every lead is told. What depends on a lead's fields, or on how long others take, is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from heapq import heappop, heappush
from zoneinfo import ZoneInfo

from nurture.authoring.cadence_file import EmailStep
from nurture.authoring.cycles import onward_of, reachable
from nurture.authoring.samples import SOME_DAY
from nurture.authoring.step_keys import KeyedStep, in_file_order, key_steps
from nurture.authoring.workspace import Compiled
from nurture.calendar import Calendar
from nurture.content.attachments import read_attachment, read_attachments
from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding
from nurture.domain.cadence import Cadence, Email, Shift, Span, Step, StepKey, Wait, WaitUntil, Window
from nurture.domain.problem import Problem
from nurture.domain.spans import elapsed
from nurture.domain.timing import next_opening
from nurture.settings import CONFIG, Settings

NOTHING = timedelta(0)
_BEFORE_NOW = frozenset(
    {
        *("created_at", "consented_at", "contacted_at", "last_engaged_at", "stage_at"),
        *("email_verified_at", "phone_verified_at"),
    }
)
"""Date fields of a lead that never lie ahead."""


def never_sent(compiled: Compiled) -> Iterator[Finding]:
    """Windows that never open, steps that are always late or expired, files that can't go along."""
    if compiled.sources.settings is not None:
        yield from _closed(compiled, compiled.sources.settings)
    for stem, cadence in compiled.cadences.items():
        document = compiled.sources.cadences[stem]
        if cadence.max_late == NOTHING:
            yield _late(document, ("max_late",))
        for keyed in in_file_order(key_steps(compiled.files[stem].steps)):
            step = cadence.steps.get(keyed.key)
            if isinstance(step, Email) and isinstance(keyed.body, EmailStep):
                if step.max_late == NOTHING:
                    yield _late(document, (*keyed.path, "max_late"))
                yield from _expired(document, keyed, step, cadence)
                yield from _unattached(document, keyed, step, compiled)


def _late(document: Document, path: Path) -> Finding:
    message = "max_late: nothing is ever sent at the very second: give it some time, e.g. '2 days'"
    return document.finding(document.value_at(path), "max-late", message)


# --- windows


def _closed(compiled: Compiled, settings: Settings) -> Iterator[Finding]:
    """Windows that no hour of a year satisfies, each where it is written, with what it takes from the outer one."""
    config = compiled.sources.config
    places: list[tuple[Document, Path, Window]] = []
    if config is not None and config.holds(("sending", "window")):
        places.append((config, ("sending", "window"), settings.sending.window))
    for stem, cadence in compiled.cadences.items():
        document = compiled.sources.cadences[stem]
        if document.holds(("window",)):
            places.append((document, ("window",), cadence.window))
        for keyed in in_file_order(key_steps(compiled.files[stem].steps)):
            step = cadence.steps.get(keyed.key)
            if isinstance(step, Email) and step.window is not None:
                places.append((document, (*keyed.path, "window"), step.window))
    for document, path, window in places:
        if not _opens(window, settings):
            where = settings.workspace.country or "the workspace"
            message = f"this window never opens: all its days are holidays ({where}, {CONFIG}): add days"
            yield document.finding(document.value_at(path), "window", message)


def _opens(window: Window, settings: Settings) -> bool:
    """Whether it opens for a lead in the workspace's zone and country."""
    zone = ZoneInfo(settings.workspace.timezone)
    calendar = Calendar(settings.holidays.extra, settings.workspace.country)
    return next_opening(window, SOME_DAY, zone=zone, is_holiday=calendar.is_holiday(None)) is not None


# --- expiry


def _expired(document: Document, keyed: KeyedStep, step: Email, cadence: Cadence) -> Iterator[Finding]:
    if step.expires is None:
        return
    ends, field = _exactly(step.expires.offset), step.expires.field
    if ends is None:
        return
    begins = max(_earliest(step.key, field, cadence), default=None)
    if begins is not None and begins >= ends:
        goes = f"the mail goes {_said(begins)} {field} or later"
        message = f"it expires {_said(ends)} {field}, and {goes}: it is never sent: make it expire later"
        path = (*keyed.path, "expires", "offset")
        place = path if document.holds(path) else path[:-1]
        yield document.finding(document.value_at(place), "expires", message)


def _earliest(key: StepKey, field: str, cadence: Cadence) -> Iterator[timedelta]:
    """Lower bounds of the time between what the field holds and the step."""
    if field in _BEFORE_NOW:
        # the others may change while the lead waits
        yield _soonest(cadence, cadence.first).get(key, NOTHING) if field == "created_at" else NOTHING
    for wait in cadence.steps.values():
        if isinstance(wait, WaitUntil) and wait.field == field and wait.when is None and _must_pass(cadence, wait, key):
            ahead = _exactly(wait.offset)
            if ahead is not None:
                yield ahead + _soonest(cadence, wait.key)[key]


def _must_pass(cadence: Cadence, wait: Step, key: StepKey) -> bool:
    """Whether nobody comes to the step but by this wait."""
    if key not in reachable(cadence, wait.key):
        return False
    without = {each: step for each, step in cadence.steps.items() if each != wait.key}
    return key not in reachable(replace(cadence, steps=without))


def _soonest(cadence: Cadence, start: StepKey | None) -> Mapping[StepKey, timedelta]:
    """Every step that is come to from `start`, and the time that surely passes on the shortest way."""
    found: dict[StepKey, timedelta] = {}
    waiting: list[tuple[timedelta, StepKey]] = [(NOTHING, start)] if start is not None else []
    while waiting:
        so_far, key = heappop(waiting)
        if key in found or key not in cadence.steps:
            continue
        found[key] = so_far
        step = cadence.steps[key]
        for onward in onward_of(step):
            if onward is not None:
                heappush(waiting, (so_far + _at_least(step), onward))
    return found


def _at_least(step: Step) -> timedelta:
    if not isinstance(step, Wait) or step.when is not None:
        return NOTHING
    return elapsed(step.span) if _is_elapsed(step.span) else max(elapsed(step.span) - timedelta(days=1), NOTHING)


def _exactly(offset: Shift) -> timedelta | None:
    """The offset where it is plain time; None where a calendar decides."""
    if not _is_elapsed(offset.span):
        return None
    return -elapsed(offset.span) if offset.back else elapsed(offset.span)


def _is_elapsed(span: Span) -> bool:
    return span.at is None and span.unit != "business days"


def _said(offset: timedelta) -> str:
    """ "2 days after", "at"."""
    if not offset:
        return "at"
    hours = abs(offset) / timedelta(hours=1)
    amount, unit = (hours / 24, "days") if hours >= 48 else (hours, "hours") if hours >= 2 else (hours * 60, "minutes")
    return f"{amount:g} {unit} {'after' if offset > NOTHING else 'before'}"


# --- attachments


def _unattached(document: Document, keyed: KeyedStep, step: Email, compiled: Compiled) -> Iterator[Finding]:
    """Files that are not there, empty, too large or refused; then those that can't go together."""
    root, path, wrong = compiled.sources.root, (*keyed.path, "attachments"), False
    for number, name in enumerate(step.attachments):
        try:
            read_attachment(root, name)
        except Problem as problem:
            wrong = True
            yield document.finding(document.value_at((*path, number)), "attachment", str(problem))
    if not wrong:
        try:
            read_attachments(root, step.attachments)
        except Problem as problem:
            yield document.finding(document.key_at(path), "attachment", str(problem))

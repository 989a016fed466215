"""Cadence tests as values: what is given, what happens, what is expected. What is wrong is reported at its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nurture.authoring.reading import Reading
from nurture.authoring.test_file import EFFECTS, ENDS, HAPPENINGS, STEP_EVENTS, CaseBody, ExpectedBody, HappeningBody
from nurture.documents.document import Path
from nurture.documents.nearest import suggest
from nurture.documents.values import read_duration
from nurture.domain.addresses import Address, AddressProblem, read_address
from nurture.domain.conditions.vocabulary import GRADES, STAGES
from nurture.domain.event import Verdict
from nurture.domain.problem import Problem
from nurture.domain.stages import Stage
from nurture.store.lead_fields import CUSTOM, LEAD_FIELDS, read_custom_field, read_field, read_tag

WALL = "%Y-%m-%d %H:%M"
"""A moment as the files write it, on the lead's clock."""
DEFAULT_UNTIL = timedelta(days=60)
MOMENTS = ("created_at", "last_engaged_at", "contacted_at")
POINTS = ("score", "engagement")
LEAD_KEYS = ("email", "tags", "stage", "consent", "fit", "custom", *POINTS, *MOMENTS, *LEAD_FIELDS)
CHANGEABLE = ("stage", "tag", "untag", *LEAD_FIELDS)
_MOST_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class GivenLead:
    """The lead at the start. `fit`, `score` and `engagement` are None where they follow from the rules.

    `moments` are naive: what a clock on the lead's wall showed.
    """

    address: Address
    fields: Mapping[str, str] = field(default_factory=dict)
    custom: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    stage: Stage = Stage.LEAD
    consented: bool = True
    fit: str | None = None
    score: float | None = None
    engagement: float | None = None
    moments: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Happening:
    """`at`: elapsed since the start, or a time on the lead's wall. `name`: the step, or the event; by `kind`.

    `changes` (of `set`) are names and texts, "" to clear.
    """

    at: timedelta | datetime
    kind: str
    name: str = ""
    value: float | None = None
    props: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[tuple[str, str], ...] = ()
    link: str | None = None
    verdict: Verdict = Verdict.HUMAN
    bounce_class: str = "hard"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that the cadence does, or its end (`exit`, `completed`). `step` is known of what was really done."""

    kind: str
    value: Any
    at: str | None = None
    variant: str | None = None
    subject: str | None = None
    step: str | None = None

    def as_written(self) -> dict[str, Any]:
        """As an entry of `expect`."""
        entry = {"at": self.at, self.kind: self.value, "variant": self.variant, "subject": self.subject}
        return {name: value for name, value in entry.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class CadenceTest:
    """`start` is naive: a time on the lead's wall."""

    name: str
    lead: GivenLead
    start: datetime
    happenings: tuple[Happening, ...]
    expected: tuple[Line, ...]
    until: timedelta
    trigger: Mapping[str, Any] | None = None


def compile_test(reading: Reading, path: Path, case: CaseBody) -> CadenceTest | None:
    """The test that stands at `path`; None where its lead is no lead (which is reported)."""
    lead = read_given_lead(reading, (*path, "lead"), case.lead)
    start = wall_clock(case.start)
    until = DEFAULT_UNTIL if case.until is None else case.until
    happenings = tuple(
        _happening(reading, (*path, "events", number), body, start, until) for number, body in enumerate(case.events)
    )
    if lead is None:
        return None
    return CadenceTest(
        name=case.name,
        lead=lead,
        start=start,
        happenings=happenings,
        expected=tuple(map(_line, case.expect)),
        until=until,
        trigger=case.trigger,
    )


def wall_clock(text: str) -> datetime:
    return datetime.strptime(text, WALL)  # noqa: DTZ007  local to the lead, by definition of the format


def read_given_lead(reading: Reading, path: Path, data: Mapping[str, Any]) -> GivenLead | None:
    """The lead of a test, each key looked at; None where there is no address."""
    read = _LeadReader(reading, path)
    for key, value in data.items():
        read.key(key, value)
    if read.address is None:
        if "email" not in data:
            reading.report(path, "missing-key", "missing key 'email': a lead has an address")
        return None
    if set(POINTS) <= set(data):
        reading.report((*path, "score"), "lead", "score is fit and engagement together: give one of the two points")
    return GivenLead(address=read.address, **read.given)


class _LeadReader:
    """Gathers what a lead is given, key by key; what is no lead's is reported at its place."""

    def __init__(self, reading: Reading, path: Path) -> None:
        self._reading = reading
        self._path = path
        self._fields: dict[str, str] = {}
        self._custom: dict[str, str] = {}
        self._moments: dict[str, datetime] = {}
        self.address: Address | None = None
        self.given: dict[str, Any] = {"fields": self._fields, "custom": self._custom, "moments": self._moments}

    def key(self, key: str, value: Any) -> None:
        try:
            if key.startswith(CUSTOM):
                self._custom_field((*self._path, key), key.removeprefix(CUSTOM), value)
            elif key not in LEAD_KEYS:
                hint = suggest(key, LEAD_KEYS)
                self._reading.report((*self._path, key), "unknown-key", f"unknown key '{key}'{hint}", at_key=True)
            elif value is not None:
                self._known(key, value)
        except Problem as problem:
            self._reading.report((*self._path, key), "lead", str(problem))

    def _known(self, key: str, value: Any) -> None:
        if key == "email":
            self.address = _address(_text(key, value))
        elif key == "tags":
            self.given["tags"] = _tags(value)
        elif key == "stage":
            self.given["stage"] = Stage(_one_of(key, value, STAGES))
        elif key == "fit":
            self.given["fit"] = _one_of(key, value, [*GRADES, "unknown"])
        elif key == "consent":
            self.given["consented"] = _truth(key, value)
        elif key == "custom":
            for name, each in _mapping(key, value).items():
                self._custom_field((*self._path, key, name), name, each)
        elif key in POINTS:
            self.given[key] = _points(key, value)
        elif key in MOMENTS:
            self._moments[key] = _wall_clock(key, value)
        else:
            self._fields[key] = read_field(key, _text(key, value), country=self._fields.get("country"))

    def _custom_field(self, path: Path, name: str, value: Any) -> None:
        self._reading.field(path, CUSTOM + name)
        self._custom[name] = read_custom_field(name, as_text(value))


def _happening(reading: Reading, path: Path, body: HappeningBody, start: datetime, until: timedelta) -> Happening:
    kind = next((each for each in HAPPENINGS if getattr(body, each) is not None), "")
    at = read_duration(body.at) if not re.match(r"^\d{4}-", body.at) else wall_clock(body.at)
    since = at if isinstance(at, timedelta) else at - start
    if since < timedelta(0):
        reading.report((*path, "at"), "test", f"'{body.at}' lies before the start")
    elif since > until:
        late = f"'{body.at}' lies after the end: say e.g. 'until: 90 days'"
        reading.report((*path, "at"), "test", late, level="warning")
    return Happening(
        at=at,
        kind=kind,
        name=getattr(body, kind) if kind in (*STEP_EVENTS, "event") else "",
        value=body.value,
        props=body.props or {},
        changes=_changes(reading, (*path, "set"), body.set or {}),
        link=body.link,
        verdict=Verdict(body.verdict or Verdict.HUMAN),
        bounce_class=body.class_ or "hard",
    )


def _changes(reading: Reading, path: Path, fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What `set` changes; an unknown name or a value that its field can't take is reported."""
    changes = []
    for name, value in fields.items():
        text = as_text(value)
        try:
            if name.startswith(CUSTOM):
                reading.field((*path, name), name)
                read_custom_field(name.removeprefix(CUSTOM), text)
            elif name in LEAD_FIELDS:
                read_field(name, text)
            elif name == "stage":
                _one_of(name, value, STAGES)
            elif name in ("tag", "untag"):
                read_tag(text)
            else:
                hint = suggest(name, [*CHANGEABLE, "custom.…"])
                reading.report((*path, name), "unknown-field", f"unknown field '{name}'{hint}", at_key=True)
        except Problem as problem:
            reading.report((*path, name), "set", str(problem))
        changes.append((name, text))
    return tuple(changes)


def _line(body: ExpectedBody) -> Line:
    kind = next((each for each in (*EFFECTS, *ENDS) if getattr(body, each) is not None), "")
    at = wall_clock(body.at).strftime(WALL) if body.at is not None else None
    value: Any = getattr(body, kind, None)
    if kind == "set":
        value = {name: as_text(each) for name, each in value.items()}
    return Line(kind=kind, value=value, at=at, variant=body.variant, subject=body.subject)


def as_text(value: Any) -> str:
    """A plain value as a lead's fields hold it: text; nothing is a blank."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Problem(f"{key}: want text (put it in quotes)")
    return value


def _address(text: str) -> Address:
    try:
        return read_address(text)
    except AddressProblem as problem:
        raise Problem(f"email: '{text}' is no address: {problem}") from None


def _one_of(key: str, value: Any, choices: Any) -> str:
    if value not in list(choices):
        raise Problem(f"unknown {key} '{value}'{suggest(str(value), choices)}")
    return str(value)


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Problem("tags: want a list of texts, e.g. [guide]")
    return tuple(map(read_tag, value))


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Problem(f"{key}: want true or false")
    return value


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem(f"{key}: want a mapping (key: value)")
    return value


def _points(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_POINTS:
        raise Problem(f"{key}: want a number from 0 to {_MOST_POINTS}")
    return float(value)


def _wall_clock(key: str, value: Any) -> datetime:
    try:
        return wall_clock(_text(key, value))
    except ValueError:
        raise Problem(f"{key}: '{value}' is no moment: use e.g. '2026-11-02 10:00'") from None

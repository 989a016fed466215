"""A condition as a tree of frozen values, typed and checked, and the canonical text of it.

Whoever holds a tree may trust it: names are known, like is compared with like, every value is possible.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from nurture.domain.conditions.vocabulary import Kind
from nurture.domain.patterns import Pattern
from nurture.domain.spans import parse_duration

DECAYING = frozenset({"score", "engagement"})
Operator = Literal["==", "!=", "<", "<=", ">", ">="]
NEGATED: dict[Operator, Operator] = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
FLIPPED: dict[Operator, Operator] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A date or a time as written. A bare date is the whole UTC day from `start` to before `end`."""

    text: str
    start: datetime
    end: datetime | None = None


Value = str | float | bool | Moment


@dataclass(frozen=True, kw_only=True)
class LeadField:
    name: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class CustomField:
    """`kind` is how the value is read here: declared, or taken from what it is compared with.

    `of` "event": a property of the event that triggered the enrollment, `event.X`.
    """

    name: str
    kind: Kind
    of: Literal["custom", "event"] = "custom"


FieldOperand = LeadField | CustomField


@dataclass(frozen=True, kw_only=True)
class Days:
    """Elapsed days since a moment, or until it; exact to the second, so 1.5 days are more than 1."""

    direction: Literal["since", "until"]
    field: FieldOperand


@dataclass(frozen=True, kw_only=True)
class Always:
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Holds:
    """A truth value by itself."""

    field: FieldOperand


@dataclass(frozen=True, kw_only=True)
class Compare:
    """A field against a value, or against a field of the same kind. Missing on either side: false."""

    left: FieldOperand
    operator: Operator
    right: Value | FieldOperand


@dataclass(frozen=True, kw_only=True)
class CompareDays:
    left: Days
    operator: Operator
    right: float


@dataclass(frozen=True, kw_only=True)
class Among:
    """in, or `not in` (which is a comparison too: false where the field is missing)."""

    field: FieldOperand
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Missing:
    """is none, or is not none. An unknown fit and an empty text are missing."""

    field: FieldOperand
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class TextTest:
    """Ignores case. `pattern` is there for `matches` only."""

    test: Literal["contains", "starts_with", "matches"]
    field: FieldOperand
    needle: str
    pattern: Pattern | None = None


@dataclass(frozen=True, kw_only=True)
class HasTag:
    tag: str


@dataclass(frozen=True, kw_only=True)
class Happened:
    """Enough events of the kind, messages sent (`function` is "sent"), or tasks closed ("task").

    `since` is None where the place of the condition decides. `step` without `cadence` speaks of the own enrollment
    where there is one. `link` and `path` are globs (`*`, `?`).
    """

    function: str
    event: str
    step: str | None = None
    cadence: str | None = None
    link: str | None = None
    path: str | None = None
    within: str | None = None
    times: int = 1
    since: Literal["enrollment", "ever"] | None = None
    outcome: str | None = None
    """Of a `task` alone: how it was closed; None: however."""
    any_verdict: bool = False
    properties: tuple[tuple[str, str | float | bool], ...] = ()

    @property
    def within_span(self) -> timedelta | None:
        return None if self.within is None else parse_duration(self.within)


@dataclass(frozen=True, kw_only=True)
class Not:
    part: Tree


@dataclass(frozen=True, kw_only=True)
class And:
    parts: tuple[Tree, ...]


@dataclass(frozen=True, kw_only=True)
class Or:
    parts: tuple[Tree, ...]


Tree = Always | Holds | Compare | CompareDays | Among | Missing | TextTest | HasTag | Happened | Not | And | Or


def say(tree: Tree) -> str:
    """The canonical text: reading it gives the same tree."""
    match tree:
        case Or(parts=parts):
            return " or ".join(say(part) for part in parts)
        case And(parts=parts):
            return " and ".join(f"({say(part)})" if isinstance(part, Or) else say(part) for part in parts)
        case Not(part=part):
            return f"not ({say(part)})" if isinstance(part, Or | And) else f"not {say(part)}"
        case Always(holds=holds):
            return "true" if holds else "false"
        case Holds(field=field):
            return _say_field(field)
        case HasTag(tag=tag):
            return f"tag({_quoted(tag)})"
        case Happened():
            return _say_happened(tree)
        case TextTest(test=test, field=field, needle=needle):
            return f"{test}({_say_field(field)}, {_quoted(needle)})"
        case _:
            return _say_comparison(tree)


def _say_comparison(tree: Compare | CompareDays | Among | Missing) -> str:
    match tree:
        case Compare(left=left, operator=operator, right=right):
            other = _say_field(right) if isinstance(right, LeadField | CustomField) else _say_value(right)
            return f"{_say_field(left)} {operator} {other}"
        case CompareDays(left=left, operator=operator, right=number):
            return f"days_{left.direction}({_say_field(left.field)}) {operator} {_say_value(number)}"
        case Among(field=field, values=values, negated=negated):
            inside = ", ".join(map(_say_value, values))
            return f"{_say_field(field)} {'not in' if negated else 'in'} [{inside}]"
        case Missing(field=field, negated=negated):
            return f"{_say_field(field)} {'is not none' if negated else 'is none'}"


def _say_happened(test: Happened) -> str:
    given: list[tuple[str, str | float | None]] = [
        ("step", test.step),
        ("cadence", test.cadence),
        ("link", test.link),
        ("path", test.path if test.function == "did" else None),
        ("within", test.within),
        ("times", test.times if test.times != 1 else None),
        ("since", test.since),
        ("outcome", test.outcome),
        ("verdict", "any" if test.any_verdict and test.function != "bounced" else None),
        *test.properties,
    ]
    arguments = [f"{name}={_say_value(value)}" for name, value in given if value is not None]
    if test.function == "did":
        arguments.insert(0, _quoted(test.event))
    if test.function == "visited" and test.path is not None:
        arguments.insert(0, _quoted(test.path))
    return f"{test.function}({', '.join(arguments)})"


def _say_field(field: FieldOperand) -> str:
    return f"{field.of}.{field.name}" if isinstance(field, CustomField) else field.name


def _say_value(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case Moment(text=text):
            return _quoted(text)
        case _:
            return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    # separators and format characters (bidi marks, zero widths) are written out, so that a reader sees them
    if character != " " and unicodedata.category(character)[0] in "CZ":
        return f"\\U{ord(character):08x}"
    return character


def fields_in(tree: Tree) -> list[FieldOperand]:
    """Every field that the condition compares, as often as it does."""
    match tree:
        case And(parts=parts) | Or(parts=parts):
            return [field for part in parts for field in fields_in(part)]
        case Not(part=part):
            return fields_in(part)
        case Compare(left=left, right=right):
            return [left, right] if isinstance(right, LeadField | CustomField) else [left]
        case CompareDays(left=days):
            return [days.field]
        case Among(field=field) | Missing(field=field) | TextTest(field=field) | Holds(field=field):
            return [field]
    return []


def turns_with_time(tree: Tree) -> bool:
    """Whether it may become true, or false, though nothing happens: it counts days, or asks for what decays."""
    match tree:
        case And(parts=parts) | Or(parts=parts):
            return any(turns_with_time(part) for part in parts)
        case Not(part=part):
            return turns_with_time(part)
        case CompareDays():
            return True
        case Happened(within=within):
            return within is not None
    return any(isinstance(field, LeadField) and field.name in DECAYING for field in fields_in(tree))


def joined(kind: type[And] | type[Or], parts: Sequence[Tree]) -> Tree:
    """One flat node of several; nested ones of the same kind melt into it."""
    flat: list[Tree] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, And | Or) and isinstance(part, kind) else (part,))
    return flat[0] if len(flat) == 1 else kind(parts=tuple(flat))

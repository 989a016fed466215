"""Literals against the fields they are compared with: like with like, and only values that are possible."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from nurture.domain.conditions.tree import CustomField, FieldOperand, LeadField, Moment, Operator, Value
from nurture.domain.conditions.vocabulary import GRADES, STAGES, UNKNOWN_GRADE, Kind, Vocabulary, did_you_mean

Written = str | float | bool
"""A literal as it stands in the text."""

_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_TIME = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?$")
_ORDERED = ("<", "<=", ">", ">=")
_BY_TYPE = {
    "text": Kind.TEXT,
    "number": Kind.NUMBER,
    "boolean": Kind.TRUTH,
    "date": Kind.MOMENT,
    "datetime": Kind.MOMENT,
}


class Unlike(ValueError):
    """A line for a person; whoever knows the place adds it."""


def custom_field(name: str, vocabulary: Vocabulary) -> CustomField:
    """The field with its declared kind; `Kind.OPEN` where nothing is declared."""
    if vocabulary.custom is None:
        return CustomField(name=name, kind=Kind.OPEN)
    if name not in vocabulary.custom:
        nearest = did_you_mean(name, vocabulary.custom) or ": declare it under [fields] in config.toml"
        raise Unlike(f"unknown custom field 'custom.{name}'{nearest}")
    declared = vocabulary.custom[name]
    return CustomField(name=name, kind=Kind.CHOICE if isinstance(declared, list) else _BY_TYPE[declared])


def event_field(name: str) -> CustomField:
    """A property of the triggering event; nothing declares what it holds."""
    return CustomField(name=name, kind=Kind.OPEN, of="event")


def agree(
    field: FieldOperand, operator: Operator, written: Written, vocabulary: Vocabulary
) -> tuple[FieldOperand, Value]:
    """The field as it is read in this comparison, and the value; raises Unlike."""
    if field.kind is Kind.OPEN:
        field = replace(field, kind=_kind_of(written))
    if field.kind is Kind.CHOICE:
        return field, _choice(field, operator, written, _choices(field, vocabulary))
    return field, _READERS[field.kind](field, operator, written)


def agree_with_field(left: FieldOperand, right: FieldOperand) -> tuple[FieldOperand, FieldOperand]:
    """Both sides of one kind that can be compared; raises Unlike."""
    if left.kind is Kind.OPEN and right.kind is Kind.OPEN:
        return replace(left, kind=Kind.TEXT), replace(right, kind=Kind.TEXT)
    if left.kind is Kind.OPEN:
        left = replace(left, kind=right.kind)
    if right.kind is Kind.OPEN:
        right = replace(right, kind=left.kind)
    if left.kind is not right.kind:
        raise Unlike(
            f"{say_name(left)} is a {left.kind}, {say_name(right)} a {right.kind}: only like compares with like"
        )
    if left.kind not in (Kind.TEXT, Kind.NUMBER, Kind.MOMENT):
        raise Unlike(f"{say_name(left)} is a {left.kind}: compare it with a value, not with another field")
    return left, right


def say_name(field: FieldOperand) -> str:
    return f"{field.of}.{field.name}" if isinstance(field, CustomField) else field.name


def read_moment(text: str) -> Moment | None:
    """A date (the whole UTC day) or a time (UTC unless it says otherwise); None if it is neither."""
    try:
        if _DATE.match(text):
            start = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return Moment(text=text, start=start, end=start + timedelta(days=1))
        if _TIME.match(text):
            moment = datetime.fromisoformat(text)
            return Moment(text=text, start=moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC))
    except (ValueError, OverflowError):
        return None
    return None


def _kind_of(written: Written) -> Kind:
    """How a custom value is read against this literal."""
    if isinstance(written, bool):
        return Kind.TRUTH
    if isinstance(written, float):
        return Kind.NUMBER
    return Kind.TEXT if read_moment(written) is None else Kind.MOMENT


def _unlike(field: FieldOperand, written: Written, example: str) -> Unlike:
    return Unlike(f"{say_name(field)} is a {field.kind}, and {_show(written)} is not: {example}")


def _show(written: Written) -> str:
    if isinstance(written, bool):
        return "true" if written else "false"
    if isinstance(written, float):
        return f"{written:.15g}"
    return f'"{written}"' if len(written) <= 60 else f'"{written[:60]}…"'


def _text(field: FieldOperand, operator: Operator, written: Written) -> Value:
    if not isinstance(written, str):
        raise _unlike(field, written, f'put it in quotes, as in {say_name(field)} {operator} "{_show(written)}"')
    if not written:
        raise Unlike(f"an empty text counts as missing: write {say_name(field)} is none")
    return written


def _number(field: FieldOperand, operator: Operator, written: Written) -> Value:
    if isinstance(written, bool) or not isinstance(written, float):
        raise _unlike(field, written, f"write e.g. {say_name(field)} {operator} 50")
    return written


def _truth(field: FieldOperand, operator: Operator, written: Written) -> Value:
    if not isinstance(written, bool):
        raise _unlike(field, written, f"write {say_name(field)} == true")
    if operator in _ORDERED:
        raise Unlike(f"{say_name(field)} is a {field.kind}: compare it with == or !=")
    return written


def _moment(field: FieldOperand, operator: Operator, written: Written) -> Value:
    moment = read_moment(written) if isinstance(written, str) else None
    if moment is None:
        raise _unlike(
            field,
            written,
            f'write e.g. {say_name(field)} {operator} "2026-12-01", or days_since({say_name(field)}) < 30',
        )
    return moment


def _grade(field: FieldOperand, operator: Operator, written: Written) -> Value:
    if written == UNKNOWN_GRADE:
        if operator in _ORDERED:
            raise Unlike('"unknown" is no grade and has no order: write fit == "unknown"')
        return UNKNOWN_GRADE
    if not isinstance(written, str):
        raise _unlike(field, written, f'write e.g. {say_name(field)} {operator} "B"')
    if written not in GRADES:
        nearest = f": did you mean '{written.upper()}'?" if written.upper() in GRADES else ""
        raise Unlike(f"{_show(written)} is no grade{nearest or ': use A, B, C, D or unknown'}")
    return written


def _choices(field: FieldOperand, vocabulary: Vocabulary) -> tuple[str, ...]:
    """What a field of `Kind.CHOICE` may hold: the stages, or what config.toml declares."""
    if isinstance(field, LeadField):
        return STAGES
    declared = (vocabulary.custom or {}).get(field.name)
    return tuple(declared) if isinstance(declared, list) else ()


def _choice(field: FieldOperand, operator: Operator, written: Written, choices: tuple[str, ...]) -> Value:
    if operator in _ORDERED:
        raise Unlike(f"{say_name(field)} has no order: use ==, != or in")
    if not isinstance(written, str):
        raise _unlike(field, written, f'write e.g. {say_name(field)} {operator} "{choices[0] if choices else ""}"')
    if written not in choices:
        shown = ", ".join(choices[:12])
        raise Unlike(f"{say_name(field)} is never {_show(written)}{did_you_mean(written, choices) or f': use {shown}'}")
    return written


_READERS: dict[Kind, Callable[[FieldOperand, Operator, Written], Value]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.TRUTH: _truth,
    Kind.MOMENT: _moment,
    Kind.GRADE: _grade,
}


def text_field(field: FieldOperand) -> FieldOperand:
    """The field read as text, for `contains` and its kin; raises Unlike."""
    if field.kind is Kind.OPEN:
        return replace(field, kind=Kind.TEXT)
    if field.kind is Kind.CHOICE and isinstance(field, LeadField):
        raise Unlike(f"{say_name(field)} is a choice: use ==, != or in")
    if field.kind not in (Kind.TEXT, Kind.CHOICE):
        raise Unlike(f"{say_name(field)} is a {field.kind}, not a text")
    return field


def moment_field(field: FieldOperand) -> FieldOperand:
    """The field read as a moment, for `days_since` and `days_until`; raises Unlike."""
    if field.kind is Kind.OPEN:
        return replace(field, kind=Kind.MOMENT)
    if field.kind is not Kind.MOMENT:
        raise Unlike(f"{say_name(field)} is a {field.kind}, not a date: use e.g. days_since(last_engaged_at)")
    return field

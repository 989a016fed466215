"""A form's fields as they are shown and as they come back: cleaned, bounded and checked, each by its kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.characters import is_safe, trimmed
from nurture.domain.forms import Form, FormField
from nurture.store.lead_fields import LEAD_FIELDS, FieldProblem, read_field, read_phone

TEXT_AT_MOST = 200
ADDRESS_AT_MOST = 254
EMAIL = "email"
_NUMBER = re.compile(r"^[+-]?\d{1,15}(?:[.,]\d{1,6})?$")
_INPUT_TYPES = {"text": "text", "number": "text", "email": "email", "tel": "tel", "date": "date"}
_INPUT_MODES = {"number": "decimal", "email": "email", "tel": "tel"}
_AUTOCOMPLETE = {
    "email": "email",
    "first_name": "given-name",
    "last_name": "family-name",
    "company": "organization",
    "title": "organization-title",
    "phone": "tel",
    "country": "country",
}


@dataclass(frozen=True, kw_only=True)
class ShownField:
    """A field on the page, with what was typed and what is wrong with it."""

    id: str
    name: str
    label: str
    kind: str
    required: bool
    options: tuple[str, ...]
    value: str
    error: str
    input_type: str
    input_mode: str
    autocomplete: str
    limit: int


@dataclass(frozen=True, kw_only=True)
class ShownBox:
    """A consent box on the page; it is ticked only where the reader ticked it."""

    id: str
    name: str
    label: str
    required: bool
    ticked: bool
    error: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What came back. `answers` are valid values without the address; `errors` name what to say, by field."""

    typed: Mapping[str, str]
    answers: Mapping[str, str]
    consents: Mapping[str, str]
    errors: Mapping[str, str]


def form_fields(form: Form) -> tuple[FormField, ...]:
    """The form's fields; the address is asked for even where the file forgets it."""
    if any(field.name == EMAIL for field in form.fields):
        return form.fields
    return (FormField(name=EMAIL, label="E-mail", kind="email"), *form.fields)


def clean(text: str) -> str:
    """Text from outside as one line, without control and direction characters, and without padding."""
    return trimmed(" ".join("".join(char if is_safe(char) else " " for char in text).split()))


def read_answers(form: Form, submitted: Mapping[str, str], *, country: str | None) -> Reading:
    """Check every field by its kind. A field that the form does not have is not looked at."""
    typed: dict[str, str] = {}
    answers: dict[str, str] = {}
    errors: dict[str, str] = {}
    for field in form_fields(form):
        text = clean(submitted.get(field.name, ""))
        typed[field.name] = text[: TEXT_AT_MOST * 2]
        value, error = _read(field, text, country)
        if error:
            errors[field.name] = error
        elif value and field.name != EMAIL:
            answers[field.name] = value
    consents = {kind: box.text for kind, box in form.consents.items() if submitted.get(box_name(kind))}
    for kind, box in form.consents.items():
        if box.required and kind not in consents:
            errors[box_name(kind)] = "error_consent"
    return Reading(typed=typed, answers=answers, consents=consents, errors=errors)


def box_name(kind: str) -> str:
    return f"consent_{kind}"


def show_fields(
    form: Form, typed: Mapping[str, str], errors: Mapping[str, str], words: Mapping[str, str]
) -> list[ShownField]:
    """`errors` and `words` as keys and texts; labels that the file leaves out come from the field's name."""
    return [
        ShownField(
            id=f"field-{number}",
            name=field.name,
            label=field.label,
            kind=field.kind,
            required=field.required,
            options=field.options,
            value=typed.get(field.name, ""),
            error=_say(errors.get(field.name), words, _limit(field)),
            input_type=_INPUT_TYPES.get(field.kind, "text"),
            input_mode=_INPUT_MODES.get(field.kind, ""),
            autocomplete=_AUTOCOMPLETE.get(field.name, ""),
            limit=_limit(field),
        )
        for number, field in enumerate(form_fields(form), start=1)
    ]


def show_boxes(
    form: Form, consents: Mapping[str, str], errors: Mapping[str, str], words: Mapping[str, str]
) -> list[ShownBox]:
    return [
        ShownBox(
            id=f"consent-{kind}",
            name=box_name(kind),
            label=box.text,
            required=box.required,
            ticked=kind in consents,
            error=_say(errors.get(box_name(kind)), words, TEXT_AT_MOST),
        )
        for kind, box in form.consents.items()
    ]


def _say(error: str | None, words: Mapping[str, str], limit: int) -> str:
    return words[error].format(limit=limit) if error else ""


def _limit(field: FormField) -> int:
    return ADDRESS_AT_MOST if field.name == EMAIL else TEXT_AT_MOST


def _read(field: FormField, text: str, country: str | None) -> tuple[str, str]:
    """The value and no error, or no value and the error's key."""
    if field.kind == "checkbox":
        if not text and field.required:
            return "", "error_missing"
        return ("true" if text else "false"), ""
    if not text:
        return "", "error_missing" if field.required and field.kind != "hidden" else ""
    if len(text) > _limit(field):
        return "", "error_long"
    if field.name == EMAIL:
        return _read_email(text)
    value, error = _read_kind(field, text, country)
    if error or field.name not in LEAD_FIELDS:
        return value, error
    return _read_lead_field(field.name, value, country)


def _read_kind(field: FormField, text: str, country: str | None) -> tuple[str, str]:
    if field.kind in ("select", "radio"):
        return (text, "") if text in field.options else ("", "error_option")
    if field.kind == "number":
        return (text.replace(",", "."), "") if _NUMBER.match(text) else ("", "error_number")
    if field.kind == "tel":
        number = read_phone(text, country)
        return (number, "") if number is not None else ("", "error_tel")
    if field.kind == "date":
        return _read_date(text)
    return text, ""


def _read_lead_field(name: str, text: str, country: str | None) -> tuple[str, str]:
    """A country by its name, a phone as E.164: as the lead's column takes it."""
    try:
        return read_field(name, text, country=country), ""
    except FieldProblem:
        return "", f"error_{name}" if name in ("country", "language", "timezone") else "error_tel"


def _read_email(text: str) -> tuple[str, str]:
    try:
        return read_address(text).text, ""
    except AddressProblem:
        return "", "error_email"


def _read_date(text: str) -> tuple[str, str]:
    try:
        return date.fromisoformat(text).isoformat(), ""
    except ValueError:
        return "", "error_date"

"""The fields of a lead that come from outside, and how each is read: countries as ISO codes, phones as E.164 …"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Literal
from zoneinfo import available_timezones

import phonenumbers

from nurture.domain.characters import is_safe, is_safe_in_lines, trimmed
from nurture.domain.problem import Problem
from nurture.store.countries import country_code

LEAD_FIELDS = (
    "first_name",
    "last_name",
    "title",
    "company",
    "phone",
    "country",
    "timezone",
    "language",
    "source",
    "channel",
    "campaign",
    "offer",
    "persona",
    "partner",
    "owner",
    "external_id",
)
LONGEST_FIELD = 1_000
LONGEST_CUSTOM = 10_000
LONGEST_TAG = 100
MOST_CUSTOM_FIELDS = 500
"""A lead's custom fields: a file or a form can't grow the row without end."""

CUSTOM = "custom."
_CUSTOM_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_LANGUAGE = re.compile(r"([a-z]{2})(?:[-_][A-Za-z0-9]{2,8})*", re.IGNORECASE)
_LANGUAGE_NAMES = {
    "chinese": "zh",
    "czech": "cs",
    "danish": "da",
    "deutsch": "de",
    "dutch": "nl",
    "english": "en",
    "español": "es",
    "finnish": "fi",
    "français": "fr",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "italiano": "it",
    "japanese": "ja",
    "korean": "ko",
    "nederlands": "nl",
    "norwegian": "no",
    "polish": "pl",
    "polski": "pl",
    "portuguese": "pt",
    "português": "pt",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "turkish": "tr",
    "ukrainian": "uk",
}

Fault = Literal["unsafe_characters", "too_long", "unreadable"]


class FieldProblem(Problem):
    """A value that a field can't take. By `fault` an import knows whether the row is bad, or this value is left out."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def read_field(name: str, text: str, *, country: str | None = None) -> str:
    """A lead field's value as it is stored, "" for a blank. A phone without +NN is one of `country`.

    Raises FieldProblem.
    """
    value = trimmed(text)
    if not value:
        return ""
    if not is_safe(value):
        raise FieldProblem("unsafe_characters", f"{name}: control or direction characters are in it")
    if len(value) > LONGEST_FIELD:
        raise FieldProblem("too_long", f"{name}: longer than {LONGEST_FIELD} characters")
    reader = _READERS.get(name)
    if reader is None and name != "phone":
        return value
    read = reader(value) if reader is not None else read_phone(value, country)
    if read is None:
        raise FieldProblem("unreadable", f"{name}: '{value}' {_HINTS[name]}")
    return read


def read_custom_field(name: str, text: str) -> str:
    """A custom field's value; it may have several lines. Raises FieldProblem."""
    value = trimmed(text)
    if not is_safe_in_lines(value):
        raise FieldProblem("unsafe_characters", f"{CUSTOM}{name}: control or direction characters are in it")
    if len(value) > LONGEST_CUSTOM:
        raise FieldProblem("too_long", f"{CUSTOM}{name}: longer than {LONGEST_CUSTOM} characters")
    return value


def read_tag(text: str) -> str:
    """A tag as it is stored. Raises FieldProblem."""
    tag = trimmed(text)
    if not tag or len(tag) > LONGEST_TAG:
        raise FieldProblem("too_long", f"a tag has 1 to {LONGEST_TAG} characters")
    if not is_safe(tag):
        raise FieldProblem("unsafe_characters", "tag: control or direction characters are in it")
    return tag


def is_custom_name(name: str) -> bool:
    """What may stand after `custom.`."""
    return _CUSTOM_NAME.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def read_phone(text: str, country: str | None) -> str | None:
    """The number in E.164, or None; without +NN at its start it is one of `country`."""
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=4096)
def read_zone(text: str) -> str | None:
    """An IANA zone in its own spelling; CRMs write `america_slash_new_york` too."""
    return _zones().get(text.replace("_slash_", "/").replace(" ", "_").lower())


def read_language(text: str) -> str | None:
    """Two small letters: 'de', 'de-AT' and 'German' are 'de'."""
    match = _LANGUAGE.fullmatch(text)
    return match[1].lower() if match else _LANGUAGE_NAMES.get(text.lower())


@cache
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


_READERS: Mapping[str, Callable[[str], str | None]] = {
    "country": country_code,
    "timezone": read_zone,
    "language": read_language,
}
_HINTS = {
    "country": "is no country: use its name or its two letters, e.g. DE",
    "timezone": "is no time zone: use e.g. Europe/Berlin",
    "language": "is no language: use two letters, e.g. de",
    "phone": "is no phone number: use e.g. +49 30 123456",
}

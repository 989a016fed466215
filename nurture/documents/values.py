"""The kinds of values that files share: spans, caps, windows, zones, names. Read once here, trusted from then on."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, ValidationInfo, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from nurture.documents.nearest import suggest
from nurture.documents.strict import misplaced
from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.cadence import FrequencyCap, Span, Window
from nurture.domain.spans import elapsed, parse_cap, parse_clock, parse_duration, parse_rate, parse_span
from nurture.domain.windows import parse_window

LONGEST = timedelta(days=100 * 365)
"""Of all that is written; what is longer does not fit a calendar."""
Read = TypeVar("Read")
_WINDOW_KEYS = ("days", "hours", "timezone", "holidays")
_NAME = re.compile(r"^[a-z0-9_-]+$")
_SPAN_PATTERN = r"^\d+(\.\d+)? (minute|hour|day|week|business day)s?( at \d{1,2}:\d{2})?$"


@cache
def _zones() -> frozenset[str]:
    """Names of time zones: a walk over hundreds of files, so made once."""
    return frozenset(available_timezones())


def _known_zone(value: str) -> str:
    if value not in _zones():
        raise ValueError(f"unknown time zone '{value}': use a name such as 'Europe/Berlin'")
    return value


def _secret_reference(value: Any, info: ValidationInfo) -> Any:
    """`file:` paths become absolute, so that a secret is found from wherever the command runs."""
    if not isinstance(value, str):
        return value
    if not re.match(r"^(env|file):.+", value):
        raise ValueError("a secret is never written here: use 'env:NAME' or 'file:PATH'")
    root = (info.context or {}).get("root")
    if value.startswith("file:") and isinstance(root, Path):
        return f"file:{(root / value.removeprefix('file:')).absolute()}"
    return value


def _secret_or_text(value: Any, info: ValidationInfo) -> Any:
    is_reference = isinstance(value, str) and re.match(r"^(env|file):", value)
    return _secret_reference(value, info) if is_reference else value


def _cap(value: Any) -> Any:
    return read_cap(value) if isinstance(value, str) else _wants_text(value, "'1 per day'")


def read_cap(text: str) -> FrequencyCap:
    """'3 per 7 days', within bounds. Raises ValueError with a line for a person."""
    cap = _bounded(text, parse_cap, lambda read: read.within)
    if not cap.within:
        raise ValueError(f"'{text}': a stretch of nothing: use e.g. '1 per day'")
    return cap


def read_duration(text: str) -> timedelta:
    """'90 days', not negative and within bounds. Raises ValueError with a line for a person."""
    duration = _bounded(text, parse_duration, lambda read: read)
    if duration < timedelta(0):
        raise ValueError(f"'{text}' is negative: use e.g. '90 days'")
    return duration


def _bounded(text: str, parse: Callable[[str], Read], length: Callable[[Read], timedelta]) -> Read:
    try:
        read = parse(text)
        if abs(length(read)) <= LONGEST:
            return read
    except OverflowError:
        pass
    raise ValueError(f"'{_cut(text)}' is longer than {LONGEST.days // 365} years")


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _duration(value: Any) -> Any:
    return read_duration(value) if isinstance(value, str) else _wants_text(value, "'90 days'")


def _some_time(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("'0' is no time at all: use e.g. '14 days'")
    return value


def _rate(value: Any) -> Any:
    return parse_rate(value) if isinstance(value, str) else _wants_text(value, "'50 per second'")


def read_span(text: str) -> Span:
    """'3 business days' or '2 days at 09:00', within bounds. Raises ValueError with a line for a person."""
    return _bounded(text, parse_span, elapsed)


def _span(value: Any) -> Any:
    return read_span(value) if isinstance(value, str) else _wants_text(value, "'3 days'")


def _wants_text(value: Any, example: str) -> Any:
    """A domain value passes (a model's default); anything else is what someone wrote."""
    if isinstance(value, FrequencyCap | timedelta | Span):
        return value
    raise ValueError(f"'{value}': use e.g. {example}")


def _window(value: Any) -> Any:
    return value if isinstance(value, Window) else parse_window(_checked_window(value))


def _alert_hours(value: Any) -> Any:
    return value if isinstance(value, Window) else parse_window(_checked_window(value, zones=("rep",)))


def _checked_window(value: Any, zones: tuple[str, ...] = ()) -> Any:
    """A window as it was written, each key looked at alone so that its mistake stands at its place."""
    if not isinstance(value, dict):
        parse_window(value)
        return value
    for key, part in value.items():
        if key not in _WINDOW_KEYS:
            raise misplaced((key,), "unknown-key", f"unknown key '{key}'{suggest(key, _WINDOW_KEYS)}", at="key")
        try:
            if part == "rep" and part not in zones:
                raise ValueError("time zone 'rep' is for alerts: use 'lead', 'workspace' or e.g. 'Europe/Berlin'")
            _opens_some_time(parse_window({key: part}), key, part)
        except ValueError as error:
            raise misplaced((key,), "window", str(error), at="value") from None
    return value


def _opens_some_time(window: Window, key: str, part: Any) -> None:
    if key == "days" and not window.days:
        raise ValueError("a window without days never opens: use e.g. 'mon-fri'")
    if key == "hours" and window.opens == window.closes and str(part).replace(" ", "") != "00:00-24:00":
        raise ValueError(f"'{part}' never opens: for all day use '00:00-24:00'")


def _clock(value: str) -> str:
    parse_clock(value)
    return value


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"'{value}' is no name: use a to z, 0 to 9, '_' and '-'")
    return value


class OrText:
    """Says in the JSON Schema that a text is short for the value."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


Text = str
Zone = Annotated[str, AfterValidator(_known_zone)]
Clock = Annotated[str, AfterValidator(_clock)]
"""A time of day, '08:30'."""
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": _NAME.pattern})]
SecretRef = Annotated[
    str, BeforeValidator(_secret_reference), WithJsonSchema({"type": "string", "pattern": "^(env|file):.+"})
]
SecretOrText = Annotated[str, BeforeValidator(_secret_or_text)]
Cap = Annotated[
    FrequencyCap,
    BeforeValidator(_cap),
    WithJsonSchema({"type": "string", "pattern": r"^\d+ per (\d+ )?(minute|hour|day|week|month)s?$"}),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? (minute|hour|day|week|month|year)s?$"}),
]
SomeTime = Annotated[Duration, AfterValidator(_some_time)]
"""A duration that is more than nothing."""
SpanText = Annotated[Span, BeforeValidator(_span), WithJsonSchema({"type": "string", "pattern": _SPAN_PATTERN})]
PerSecond = Annotated[
    float,
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? per (second|minute|hour)$"}),
]
"""Messages a second, written '50 per second' or '600 per minute'."""
_ONE_DAY = r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_SOME_DAYS = rf"{_ONE_DAY}(\s*-\s*{_ONE_DAY})?"
_DAYS_SCHEMA = {"type": "string", "pattern": rf"^{_SOME_DAYS}(\s*,\s*{_SOME_DAYS})*$"}
_WINDOW_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"const": "any"},
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "days": {"anyOf": [_DAYS_SCHEMA, {"type": "array", "items": _DAYS_SCHEMA, "minItems": 1}]},
                    "hours": {"type": "string", "pattern": r"^\d{1,2}:\d{2}\s*-\s*\d{1,2}:\d{2}$"},
                    "timezone": {"type": "string"},
                    "holidays": {"enum": ["lead", "none"]},
                },
            },
        ]
    }
)
WindowText = Annotated[Window, BeforeValidator(_window), _WINDOW_SCHEMA]
AlertHours = Annotated[Window, BeforeValidator(_alert_hours), _WINDOW_SCHEMA]
"""A window that may be read in the rep's own zone (`timezone: rep`)."""
PartialWindow = Annotated[Any, AfterValidator(_checked_window), _WINDOW_SCHEMA]
"""A window as written; its missing keys come from the outer window when a cadence is compiled."""


def _web_link(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{value}' is no web address: use e.g. 'https://www.acme.example/thanks'")
    return value


WebLink = Annotated[str, AfterValidator(_web_link)]


def mail_domain(value: str) -> str:
    """As the address of a message has it: in ASCII, in lower case. Raises ValueError."""
    try:
        return read_address(f"somebody@{value}").domain
    except AddressProblem:
        raise ValueError(f"'{value}' is no domain that mail goes to: use e.g. 'gmail.com'") from None


MailDomain = Annotated[str, AfterValidator(mail_domain)]


def _host_name(value: str) -> str:
    if not re.match(r"^(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+$", value):
        raise ValueError(f"'{value}' is no domain: use e.g. 'bounces.acme.example'")
    return value


def _goal(value: str) -> str:
    if not re.match(r"^\d+ per (day|week|month|quarter|year)$", value):
        raise ValueError(f"'{value}' is no goal: use e.g. '400 per month'")
    return value


HostName = Annotated[str, AfterValidator(_host_name)]
Goal = Annotated[str, AfterValidator(_goal)]

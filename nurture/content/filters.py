"""The filters of templates, each bounded: no filter makes a long text out of a short one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Undefined
from jinja2.filters import do_title
from markupsafe import Markup

from nurture.content.problems import RenderProblem

VALUE_LIMIT = 20_000
"""Characters of any text that a template computes."""

# a width (`%99999999d`) is not among strftime's words here
_STYLE = re.compile(r"(?:[^%]|%-?[aAbBdHIjmMpSuUVwWyYZz%]){1,60}\Z")


def text_of(value: Any) -> str:
    """A value as plain text; markup (a `{% set %}` block) is read back into text. Missing values raise here."""
    if isinstance(value, Markup):
        value = value.unescape()
    elif not isinstance(value, str | int | float | date | Undefined):
        raise RenderProblem(f"a {type(value).__name__} can't be used as text")
    return bounded(str(value))


def bounded(text: str) -> str:
    if len(text) > VALUE_LIMIT:
        raise RenderProblem(f"a text grew past {VALUE_LIMIT:,} characters")
    return text


def default(value: Any, otherwise: Any = "", boolean: bool = False) -> Any:
    """`otherwise` where the value is missing (or, with `true`, false or blank)."""
    return otherwise if isinstance(value, Undefined) or value is None or (boolean and not value) else value


def _upper(value: Any) -> str:
    return bounded(text_of(value).upper())


def _lower(value: Any) -> str:
    return bounded(text_of(value).lower())


def _capitalize(value: Any) -> str:
    return bounded(text_of(value).capitalize())


def _title(value: Any) -> str:
    return bounded(do_title(text_of(value)))


def _trim(value: Any) -> str:
    return text_of(value).strip()


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sequence | Mapping) else len(text_of(value))


def _items(value: Any) -> list[Any]:
    if isinstance(value, Undefined):
        iter(value)  # raises, naming the field
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise RenderProblem(f"a {type(value).__name__} is not a list")
    found = list(value)
    if len(found) > VALUE_LIMIT:
        raise RenderProblem(f"a list of {len(found):,} is too long")
    return found


def _join(value: Any, separator: str = "") -> str:
    texts = [text_of(each) for each in _items(value)]
    glue = text_of(separator)
    if sum(map(len, texts)) + len(glue) * len(texts) > VALUE_LIMIT:
        raise RenderProblem(f"a text grew past {VALUE_LIMIT:,} characters")
    return glue.join(texts)


def _replace(value: Any, old: Any, new: Any) -> str:
    text, sought, put = text_of(value), text_of(old), text_of(new)
    if len(text) + text.count(sought) * len(put) > VALUE_LIMIT:
        raise RenderProblem(f"a text grew past {VALUE_LIMIT:,} characters")
    return text.replace(sought, put)


def _truncate(value: Any, length: int = 255, end: str = "…") -> str:
    text = str(value)
    if len(text) <= length:
        return text
    return text[: max(0, length - len(end))].rsplit(" ", 1)[0].rstrip() + end


def _first(value: Any) -> Any:
    return next(iter(_items(value)), "")


def _last(value: Any) -> Any:
    return (_items(value) or [""])[-1]


def _urlencode(value: Any) -> str:
    text = text_of(value)
    return text if text.isascii() and text.isalnum() else quote(text, safe="", errors="replace")


def _int(value: Any, otherwise: int = 0) -> int:
    return int(_float(value, otherwise))


def _float(value: Any, otherwise: float = 0.0) -> float:
    try:
        number = float(text_of(value))
    except ValueError:
        return otherwise
    return number if abs(number) < 1e15 else otherwise


def _number(value: Any) -> float:
    try:
        number = float(text_of(value))
    except ValueError:
        raise RenderProblem(f'"{text_of(value)[:40]}" is not a number') from None
    if not abs(number) < 1e15:
        raise RenderProblem("a number is out of range")
    return number


def _round(value: Any, digits: int = 0) -> float | int:
    rounded = round(_number(value), max(0, min(int(digits), 10)))
    return rounded if digits > 0 else int(rounded)


def _money(value: Any, currency: str = "EUR", digits: int = 2) -> str:
    """`1,234.50 EUR`; the digits and their grouping are English, the currency is said, never guessed."""
    return f"{_number(value):,.{max(0, min(int(digits), 6))}f} {text_of(currency)[:8]}"


def _moment(value: Any) -> datetime | date:
    if isinstance(value, datetime | date):
        return value
    text = text_of(value)
    try:
        return datetime.fromisoformat(text) if len(text) > 10 else date.fromisoformat(text)
    except ValueError:
        raise RenderProblem(f'"{text[:40]}" is not a date') from None


def _date(value: Any, style: str = "%-d %B %Y") -> str:
    """A date in strftime's words."""
    return _styled(_moment(value), style)


def _localtime(value: Any, timezone: Any = "UTC", style: str = "%A %-d %B, %H:%M") -> str:
    """A moment in a zone (`{{ event.starts_at | localtime(lead.timezone) }}`).

    A text without an offset is the reader's local time already, as `wait_until` reads it.
    """
    moment = _moment(value)
    try:
        zone = ZoneInfo(text_of(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RenderProblem(f'"{text_of(timezone)[:40]}" is not a time zone') from None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        return _styled(moment, style)
    return _styled(moment.astimezone(zone), style)


def _styled(moment: date, style: str) -> str:
    if not _STYLE.match(style):
        raise RenderProblem(f'"{style[:40]}" is not a format for dates, like "%-d %B %Y"')
    return bounded(moment.strftime(style))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "default": default,
    "d": default,
    "upper": _upper,
    "lower": _lower,
    "capitalize": _capitalize,
    "title": _title,
    "trim": _trim,
    "length": _length,
    "count": _length,
    "join": _join,
    "replace": _replace,
    "truncate": _truncate,
    "first": _first,
    "last": _last,
    "urlencode": _urlencode,
    "int": _int,
    "float": _float,
    "round": _round,
    "money": _money,
    "date": _date,
    "localtime": _localtime,
}

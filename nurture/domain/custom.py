"""Custom fields are text; this is what their text is when read as a number, a moment or a truth value.

Only what has one meaning is read, so that both databases and every country compare the same values:

- number: `80`, `-3.5`, `1,234,567`, `1,234.5`. Not `1,234` (one thousand here, a bit over one there), `1.234,5`, `1e3`;
- moment: `2026-07-20`, `2026-07-20 14:45`, `2026-07-20T14:45:00+02:00`; without an offset it is UTC;
- truth: `yes`, `no`, `true`, `false`, `y`, `n`, `on`, `off`, `1`, `0`, in either case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|\.\d+|\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?|\d{1,3},\d{3}\.\d+)", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII | re.IGNORECASE
)
_EXACT = 2**53
_TRUTH = {
    **dict.fromkeys(("yes", "true", "y", "on", "1"), True),
    **dict.fromkeys(("no", "false", "n", "off", "0"), False),
}


def read_custom(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """name -> text in; {"number": {name: 80}, "moment": {name: "2026-07-20T14:45:00Z"}, "truth": {name: true}} out.

    A name stands under each reading that its text has, and under none where it has none.
    """
    readings: dict[str, dict[str, Any]] = {"number": {}, "moment": {}, "truth": {}}
    for name, text in values.items():
        number, moment, truth = _read(text)
        if number is not None:
            readings["number"][name] = number
        if moment is not None:
            readings["moment"][name] = moment
        if truth is not None:
            readings["truth"][name] = truth
    return readings


def read_props(props: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The properties of an event, as `read_custom` reads fields, and under "text" as what each is said to be.

    None where it has none; a property that is neither text nor number nor truth value is left out.
    """
    texts = {name: _as_text(value) for name, value in props.items() if isinstance(value, str | int | float)}
    return {"text": texts, **read_custom(texts)} if texts else None


def _as_text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def read_number(text: str) -> int | float | None:
    """The number that this text is, or None; whole ones are int as long as a double holds them exactly."""
    text = text.strip()
    if len(text) > 400 or not _NUMBER.fullmatch(text):
        return None
    plain = text.replace(",", "")
    number = float(plain)
    if not math.isfinite(number):
        return None
    return int(number) if number == int(number) and abs(number) <= _EXACT else number


def read_moment(text: str) -> datetime | None:
    """The moment that this ISO date or time is, in UTC, or None."""
    text = text.strip()
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_truth(text: str) -> bool | None:
    return _TRUTH.get(text.strip().lower())


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[int | float | None, str | None, bool | None]:
    if len(text) > 400:  # none of the three is as long as that, and the cache stays small
        return None, None, None
    moment = read_moment(text)
    said = None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    return read_number(text), said, read_truth(text)

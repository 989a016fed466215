"""Stretches of time, caps and rates as people write them, read once at the door.

`3 days`, `5 business days`, `2 days at 09:00`; `1 per day`, `3 per 7 days`; `50 per second`.
"""

from __future__ import annotations

import re
from datetime import time, timedelta

from nurture.domain.cadence import FrequencyCap, Span

_UNITS = {"minute": "minutes", "hour": "hours", "day": "days", "week": "weeks", "business day": "business days"}
_SPAN = re.compile(
    r"^\s*(-?\d+(?:\.\d+)?)\s+(minute|hour|day|week|month|year|business day)s?(?:\s+at\s+(\d{1,2}:\d{2}))?\s*$"
)
_CAP = re.compile(r"^\s*(\d+)\s+per\s+(?:(\d+)\s+)?(minute|hour|day|week|month)s?\s*$")
_RATE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s+per\s+(second|minute|hour)\s*$")
_CLOCK = re.compile(r"^(\d{1,2}):(\d{2})$")
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


def parse_clock(value: str) -> time:
    """'09:00' -> time. Raises ValueError with a line for a person."""
    match = _CLOCK.match(value.strip())
    if not match or int(match[1]) > 23 or int(match[2]) > 59:
        raise ValueError(f"'{value}' is no time of day: use e.g. '09:00'")
    return time(int(match[1]), int(match[2]))


def parse_span(value: str) -> Span:
    """'3 days', '5 business days', '2 days at 09:00' -> Span. Raises ValueError with a line for a person."""
    match = _SPAN.match(value)
    if not match or match[2] in ("month", "year"):
        raise ValueError(f"'{value}' is no span: use e.g. '3 days', '4 business days' or '2 days at 09:00'")
    amount, unit, at = float(match[1]), _UNITS[match[2]], match[3]
    if amount < 0 or (unit == "business days" and amount != int(amount)):
        raise ValueError(f"'{value}': a wait is a positive number, and business days are whole")
    if at is not None and unit not in ("days", "weeks", "business days"):
        raise ValueError(f"'{value}': 'at HH:MM' goes with days, weeks or business days")
    if at is not None and amount != int(amount):
        raise ValueError(f"'{value}': with 'at HH:MM' days are whole")
    return Span(amount=amount, unit=unit, at=parse_clock(at) if at else None)  # type: ignore[arg-type]  # _UNITS


def parse_duration(value: str) -> timedelta:
    """An elapsed stretch; a month is 30 days and a year 365. Raises ValueError with a line for a person."""
    match = _SPAN.match(value)
    if not match or match[2] == "business day" or match[3]:
        raise ValueError(f"'{value}' is no duration: use e.g. '90 days' or '12 hours'")
    amount, unit = float(match[1]), match[2]
    if unit in _DAYS:
        return timedelta(days=amount * _DAYS[unit])
    return timedelta(seconds=amount * _SECONDS[unit])


def parse_cap(value: str) -> FrequencyCap:
    """'3 per 7 days' -> FrequencyCap. Raises ValueError with a line for a person."""
    match = _CAP.match(value)
    if not match or int(match[1]) == 0:
        raise ValueError(f"'{value}' is no cap: use e.g. '1 per day' or '3 per 7 days'")
    count, many, unit = int(match[1]), int(match[2] or 1), match[3]
    within = timedelta(days=many * _DAYS[unit]) if unit in _DAYS else timedelta(seconds=many * _SECONDS[unit])
    return FrequencyCap(count=count, within=within)


def parse_rate(value: str) -> float:
    """'600 per minute' -> 10.0 a second. Raises ValueError with a line for a person."""
    match = _RATE.match(value)
    if not match or float(match[1]) == 0:
        raise ValueError(f"'{value}' is no rate: use e.g. '50 per second' or '600 per minute'")
    return float(match[1]) / _SECONDS[match[2]]


def say_span(span: Span) -> str:
    """A span as it is written: '3 days', '1 business day', '2 days at 09:00'."""
    amount = int(span.amount) if span.amount == int(span.amount) else span.amount
    unit = span.unit.removesuffix("s") if amount == 1 else span.unit
    return f"{amount} {unit}" + (f" at {span.at:%H:%M}" if span.at else "")


def elapsed(span: Span) -> timedelta:
    """A span as a plain duration, a business day counting as a day; for bounds, never for due times."""
    unit = "days" if span.unit == "business days" else span.unit
    return timedelta(**{unit: span.amount})

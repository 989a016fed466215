"""A sending window as people write it: {days: mon-fri, hours: "09:00-17:00", timezone: lead, holidays: lead} or any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import available_timezones

from nurture.domain.cadence import ANY_TIME, Window
from nurture.domain.spans import parse_clock

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_KEYS = {"days", "hours", "timezone", "holidays"}


def parse_days(value: Any) -> frozenset[int]:
    """'mon-fri', 'mon, wed', 'sat-mon' or a list -> ISO weekdays (Monday is 1)."""
    parts = value if isinstance(value, list) else str(value).split(",")
    days: set[int] = set()
    for part in parts:
        first, _, last = (word.strip().lower()[:3] for word in str(part).partition("-"))
        if first not in _DAYS or (last and last not in _DAYS):
            raise ValueError(f"'{value}' are no days: use e.g. 'mon-fri' or 'mon, wed, fri'")
        start = _DAYS.index(first)
        length = (_DAYS.index(last) - start) % 7 if last else 0
        days.update((start + offset) % 7 + 1 for offset in range(length + 1))
    return frozenset(days)


def parse_window(value: Any, outer: Window = ANY_TIME) -> Window:
    """A window from its written form; keys that are not said come from `outer`. Raises ValueError for a person."""
    if value == "any":
        return ANY_TIME
    if not isinstance(value, dict):
        raise ValueError("a window is 'any' or {days, hours, timezone, holidays}")
    unknown = sorted(set(value) - _KEYS)
    if unknown:
        raise ValueError(f"unknown key '{unknown[0]}' in a window: use days, hours, timezone, holidays")
    window = outer
    if "days" in value:
        window = replace(window, days=parse_days(value["days"]))
    if "hours" in value:
        opens, dash, closes = str(value["hours"]).partition("-")
        if not dash:
            raise ValueError(f"'{value['hours']}' are no hours: use e.g. '09:00-17:00'")
        shut = "00:00" if closes.strip() == "24:00" else closes
        window = replace(window, opens=parse_clock(opens), closes=parse_clock(shut))
    if "timezone" in value:
        zone = str(value["timezone"])
        if zone not in ("lead", "workspace", "rep") and zone not in available_timezones():
            raise ValueError(f"unknown time zone '{zone}': use 'lead', 'workspace' or e.g. 'Europe/Berlin'")
        window = replace(window, timezone=zone)
    if "holidays" in value:
        if value["holidays"] not in ("lead", "none"):
            raise ValueError(f"holidays '{value['holidays']}': use 'lead' or 'none'")
        window = replace(window, holidays=value["holidays"])
    return window

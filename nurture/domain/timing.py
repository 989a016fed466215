"""When a thing may happen: local times, sending windows, waits, frequency caps, lateness. Pure arithmetic.

Every moment is aware UTC. A local time becomes a moment by one rule, `from_local`, and all else is built on it, so
summer time is dealt with in one place. Nothing here reads a clock: `now` is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from nurture.domain.cadence import FrequencyCap, Shift, Span, Window
from nurture.domain.country_zones import COUNTRY_ZONES
from nurture.domain.spans import parse_clock

IsHoliday = Callable[[date], bool]

HORIZON_DAYS = 400
"""How far `next_opening` looks: a year and a leap day, and some more."""

LONGEST_WAIT_DAYS = 3_660
"""No wait is longer than ten years: what is said to be longer ends then, so that no sum overflows."""

DAY = timedelta(days=1)
DATE_ONLY_AT = time(9, 0)
"""The hour that a date without a time means."""

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MOMENT = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[ T](?P<clock>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s?(?P<offset>Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)


def local(moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment as a clock on a wall in `zone` shows it."""
    return moment.astimezone(zone)


def from_local(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The first moment (UTC) at which clocks in `zone` show `at` on `day`, or, where they skip it, more than that.

    So in a summer-time gap the first moment after it counts, and in an overlap the first of the two.
    """
    wall = datetime.combine(day, at)
    early = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if early.astimezone(zone).replace(tzinfo=None) == wall:
        return early
    return _end_of_gap(wall, zone)


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """The transition that skips `wall`. zoneinfo does not tell transitions, so halve the gap to the second."""
    # fold 0 reads the wall with the offset before the gap, fold 1 with the one after: they enclose the transition.
    after = int(wall.replace(tzinfo=zone, fold=0, microsecond=0).timestamp())
    before = int(wall.replace(tzinfo=zone, fold=1, microsecond=0).timestamp())
    offset_after = datetime.fromtimestamp(after, zone).utcoffset()
    while after - before > 1:
        middle = (after + before) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset_after:
            after = middle
        else:
            before = middle
    return datetime.fromtimestamp(after, UTC)


def days_off(window: Window, is_holiday: IsHoliday) -> IsHoliday:
    """What of these holidays counts for waits in business days: all or none, as the cadence's window says."""
    return is_holiday if window.holidays == "lead" else _no_day


def _no_day(_: date) -> bool:
    return False


def next_opening(window: Window, moment: datetime, *, zone: ZoneInfo, is_holiday: IsHoliday) -> datetime | None:
    """`moment` itself when it lies inside the window, else the window's next opening.

    A window is open from its opening up to, not including, its close. One over midnight belongs to the day it opens
    on; opening and close alike mean the whole day. Holidays close it only where it says `holidays: lead`. None when
    it does not open within HORIZON_DAYS.
    """
    today = local(moment, zone).date()
    for ahead in range(-1, HORIZON_DAYS + 1):  # from yesterday, whose window may run over midnight
        day = today + ahead * DAY
        if day.isoweekday() not in window.days or (window.holidays == "lead" and is_holiday(day)):
            continue
        opens, closes = _open_on(window, day, zone)
        if opens < closes and moment < closes:
            return max(opens, moment)
    return None


def _open_on(window: Window, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The stretch that belongs to `day`; empty where a summer-time gap swallows it."""
    if window.opens == window.closes:
        return from_local(day, time(0), zone), from_local(day + DAY, time(0), zone)
    last_day = day if window.opens < window.closes else day + DAY
    return from_local(day, window.opens, zone), from_local(last_day, window.closes, zone)


def end_of_wait(span: Span, since: datetime, *, zone: ZoneInfo, is_holiday: IsHoliday) -> datetime:
    """When a wait that began at `since` is over; never before `since`.

    `3 days` is elapsed time (a day is 24 hours). `3 business days` is the third working day strictly after the local
    today, at the same local time. With `at`, it is that calendar (or working) day in `zone` at that time. Working
    days are Monday to Friday less holidays; pass an `is_holiday` that is always false where none count.
    """
    if span.unit == "business days":
        began = local(since, zone)
        day = _working_day(began.date(), _whole_days(span), is_holiday, step=DAY)
        return max(since, from_local(day, span.at or began.time(), zone))
    if span.at is not None:
        day = local(since, zone).date() + _whole_days(span) * DAY
        return max(since, from_local(day, span.at, zone))
    return since + min(timedelta(**{span.unit: min(span.amount, 1e7)}), LONGEST_WAIT_DAYS * DAY)


def shift(moment: datetime, by: Shift, *, zone: ZoneInfo, is_holiday: IsHoliday) -> datetime:
    """`-1 day` is 24 hours before; `-1 day at 09:00` the calendar day before at that time; `-2 business days` the
    second working day before, at the same local time.
    """
    if not by.back:
        nothing = not by.span.amount and by.span.at is None
        return moment if nothing else end_of_wait(by.span, moment, zone=zone, is_holiday=is_holiday)
    span, shown = by.span, local(moment, zone)
    if span.unit == "business days":
        day = _working_day(shown.date(), _whole_days(span), is_holiday, step=-DAY)
        return from_local(day, span.at or shown.time(), zone)
    if span.at is not None:
        return from_local(shown.date() - _whole_days(span) * DAY, span.at, zone)
    return moment - min(timedelta(**{span.unit: min(span.amount, 1e7)}), LONGEST_WAIT_DAYS * DAY)


def _whole_days(span: Span) -> int:
    days = span.amount * 7 if span.unit == "weeks" else span.amount
    return int(min(days, LONGEST_WAIT_DAYS))


def _working_day(day: date, count: int, is_holiday: IsHoliday, *, step: timedelta) -> date:
    """The `count`-th working day strictly after `day`, or before; without any (all holidays) it ends at its bound."""
    for _ in range(2 * LONGEST_WAIT_DAYS):
        if count <= 0:
            break
        day += step
        if day.isoweekday() <= 5 and not is_holiday(day):
            count -= 1
    return day


def check_weekday_time(text: str) -> tuple[int, time]:
    """'tuesday 09:00' -> the ISO weekday and the time of day. Raises ValueError for a person."""
    name, _, clock = text.strip().partition(" ")
    weekday = next((number for number, full in enumerate(_WEEKDAYS, 1) if name.lower() in (full, full[:3])), None)
    if weekday is None or not clock.strip():
        raise ValueError(f"'{text}' is no weekday and time: use e.g. 'tuesday 09:00'")
    return weekday, parse_clock(clock)


def next_weekday_time(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """'tuesday 09:00' or 'tue 09:00' -> the next one strictly after `now`. Raises ValueError for a person."""
    weekday, at = check_weekday_time(text)
    today = local(now, zone).date()
    ahead = (weekday - today.isoweekday()) % 7
    candidates = (from_local(today + (ahead + week * 7) * DAY, at, zone) for week in range(3))
    return next(moment for moment in candidates if moment > now)


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """'2026-12-01 16:00' -> the moment in `zone`. Raises ValueError with a line for a person."""
    moment = field_moment(text, zone)
    if moment is None:
        raise ValueError(f"'{text}' is no moment: use e.g. '2026-12-01 16:00'")
    return moment


def field_moment(text: str, zone: ZoneInfo) -> datetime | None:
    """The moment that a lead's field holds: a date (09:00 local), a local date and time, or one with its own offset.

    None for anything else: fields hold what people typed. Years outside 1900 to 2199 are taken for slips.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    try:
        day = date.fromisoformat(found["day"])
        at = time.fromisoformat(found["clock"]) if found["clock"] else DATE_ONLY_AT
        if not 1900 <= day.year < 2200:
            return None
        if found["offset"] is None:
            return from_local(day, at, zone)
        return datetime.fromisoformat(f"{found['day']}T{found['clock']}{found['offset']}").astimezone(UTC)
    except ValueError:
        return None


def caps_free_at(
    caps: Sequence[FrequencyCap], sent: Sequence[datetime], now: datetime
) -> tuple[datetime, FrequencyCap | None]:
    """`(now, None)` when every cap allows one more message, else the first moment when all do, and the cap that binds.

    Rolling: at a moment m the sends in (m - within, m] count. A send that a faster clock put after `now` counts too.
    """
    latest_first = sorted(sent, reverse=True)
    free_at, binding = now, None
    for cap in caps:
        if len(latest_first) < cap.count:
            continue
        cap_free_at = latest_first[cap.count - 1] + cap.within
        if cap_free_at > free_at:
            free_at, binding = cap_free_at, cap
    return free_at, binding


def lateness(now: datetime, late_from: datetime) -> timedelta:
    """How late it is, counted from the moment a step could first have gone out; nothing when that lies ahead."""
    return max(now - late_from, timedelta(0))


def zone_of(lead_timezone: str | None, country: str | None, workspace_timezone: str) -> ZoneInfo:
    """The lead's own zone, else its country's (of several the capital's), else the workspace's.

    What a lead's field holds is hostile: a name that is no IANA zone counts as none.
    """
    own = _zone_named(lead_timezone) if lead_timezone else None
    if own is not None:
        return own
    return ZoneInfo(COUNTRY_ZONES.get((country or "").strip().upper(), workspace_timezone))


@lru_cache(maxsize=4_096)
def _zone_named(name: str) -> ZoneInfo | None:
    # Looked up, not tried: ZoneInfo opens a file by this name, and "localtime" would be the server's own zone.
    known = _zone_names().get(name.strip().casefold())
    return ZoneInfo(known) if known is not None else None


@lru_cache(maxsize=1)
def _zone_names() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones() - {"localtime", "Factory"}}

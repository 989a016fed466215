"""What a patient doorkeeper would do: stare at a wall clock minute by minute. Slow, plain, and nothing of timing.py.

The clock's hands never go back. When summer time ends and the hour comes a second time they stand still until it is
over, so of an hour that comes twice the first counts; when it begins they jump, so what was skipped counts as reached
at once. Works for moments, windows and zone offsets on whole minutes, which zones have had since 1995.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from nurture.domain.cadence import FrequencyCap, Span, Window

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LONGEST_REPEATED_STRETCH = timedelta(hours=4)


def watch(moment: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Each minute from `moment` on, with what the hands show. Endless."""
    hands = datetime.min  # noqa: DTZ901  hands show no zone
    minute = moment - LONGEST_REPEATED_STRETCH
    while True:
        hands = max(hands, minute.astimezone(zone).replace(tzinfo=None))
        if minute >= moment:
            yield minute, hands
        minute += MINUTE


def first_time_shown(day: date, at: time, zone: ZoneInfo) -> datetime:
    wanted = datetime.combine(day, at)
    start = (wanted - timedelta(hours=30)).replace(tzinfo=ZoneInfo("UTC"))
    return next(minute for minute, hands in watch(start, zone) if hands >= wanted)


def is_open(window: Window, hands: datetime, is_holiday: Callable[[date], bool]) -> bool:
    """Whether today's window, or yesterday's that runs over midnight, is open."""
    today, clock = hands.date(), hands.time()
    if window.opens == window.closes:
        return _has_window(window, today, is_holiday)
    if window.opens < window.closes:
        return _has_window(window, today, is_holiday) and window.opens <= clock < window.closes
    since_evening = _has_window(window, today, is_holiday) and clock >= window.opens
    until_morning = _has_window(window, today - DAY, is_holiday) and clock < window.closes
    return since_evening or until_morning


def _has_window(window: Window, day: date, is_holiday: Callable[[date], bool]) -> bool:
    return day.isoweekday() in window.days and not (window.holidays == "lead" and is_holiday(day))


def next_opening(
    window: Window, moment: datetime, zone: ZoneInfo, is_holiday: Callable[[date], bool], *, days: int
) -> datetime | None:
    for minute, hands in watch(moment, zone):
        if is_open(window, hands, is_holiday):
            return minute
        if minute > moment + days * DAY:
            return None
    raise AssertionError("watch() never ends")


def end_of_wait(span: Span, since: datetime, zone: ZoneInfo, is_holiday: Callable[[date], bool]) -> datetime:
    """Tears a leaf off the calendar at each midnight until enough days have come, then waits for the hour."""
    began = since.astimezone(zone).replace(tzinfo=None)
    if span.unit != "business days" and span.at is None:
        minutes = {"minutes": 1, "hours": 60, "days": 24 * 60, "weeks": 7 * 24 * 60}[span.unit] * span.amount
        return next(minute for minute, _ in watch(since, zone) if (minute - since) >= minutes * MINUTE)
    left = span.amount * (7 if span.unit == "weeks" else 1)
    leaf = began.date()
    for minute, hands in watch(since, zone):
        while left > 0 and leaf < hands.date():
            leaf += DAY
            if span.unit != "business days" or (leaf.weekday() < 5 and not is_holiday(leaf)):
                left -= 1
        if left == 0 and hands >= datetime.combine(leaf, span.at or began.time()):
            return minute
    raise AssertionError("watch() never ends")


def shift_back(moment: datetime, span: Span, zone: ZoneInfo, is_holiday: Callable[[date], bool]) -> datetime:
    """Puts leaves of the calendar back, a day at a time, until enough days have gone."""
    shown = moment.astimezone(zone).replace(tzinfo=None)
    if span.unit != "business days" and span.at is None:
        minutes = {"minutes": 1, "hours": 60, "days": 24 * 60, "weeks": 7 * 24 * 60}[span.unit] * span.amount
        return moment - minutes * MINUTE
    left = span.amount * (7 if span.unit == "weeks" else 1)
    leaf = shown.date()
    while left > 0:
        leaf -= DAY
        if span.unit != "business days" or (leaf.weekday() < 5 and not is_holiday(leaf)):
            left -= 1
    return first_time_shown(leaf, span.at or shown.time(), zone)


def caps_free_at(caps: Sequence[FrequencyCap], sent: Sequence[datetime], now: datetime) -> datetime:
    minute = now
    while any(len([at for at in sent if minute - cap.within < at <= minute]) >= cap.count for cap in caps):
        minute += MINUTE
    return minute

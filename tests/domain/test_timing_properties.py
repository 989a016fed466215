"""What must hold at any time, anywhere, for any window: generated, and compared with the doorkeeper's reference.

NURTURE_TIMING_CASES raises the number of cases for each property; then they are drawn by chance, else always the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nurture.domain.cadence import FrequencyCap, Shift, Span, Window
from nurture.domain.timing import (
    caps_free_at,
    end_of_wait,
    field_moment,
    from_local,
    next_opening,
    next_weekday_time,
    shift,
    zone_of,
)
from tests.domain import timing_reference as doorkeeper

CASES = int(os.environ.get("NURTURE_TIMING_CASES", "250"))
RUN = Counter[str]()

bounded = settings(
    max_examples=CASES,
    deadline=None,
    derandomize="NURTURE_TIMING_CASES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

ZONES = [
    "UTC", "Europe/Berlin", "Europe/Lisbon", "America/New_York", "America/St_Johns", "America/Havana",
    "America/Sao_Paulo", "America/Caracas", "America/Scoresbysund", "Antarctica/Troll", "Antarctica/Casey",
    "Africa/Cairo", "Africa/Casablanca", "Asia/Gaza", "Asia/Beirut", "Asia/Tehran", "Asia/Kathmandu",
    "Asia/Pyongyang", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "Pacific/Kiritimati",
]  # fmt: skip
FIRST, LAST = datetime(1995, 1, 2, tzinfo=UTC), datetime(2040, 12, 30, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@cache
def days_of_change(zone: ZoneInfo) -> list[datetime]:
    """The days on which the zone's offset changes."""
    days = [FIRST + number * DAY for number in range((LAST - FIRST).days)]
    return [day for day in days if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset()]


@st.composite
def places(draw: st.DrawFn) -> tuple[ZoneInfo, datetime]:
    """A zone and a minute in it; half of them around a change of its offset, where the trouble is."""
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    changes = days_of_change(zone)
    if changes and draw(st.booleans()):
        around = draw(st.integers(-2 * 24 * 60, 3 * 24 * 60))
        return zone, draw(st.sampled_from(changes)) + around * MINUTE
    return zone, FIRST + draw(st.integers(0, (LAST - FIRST) // MINUTE)) * MINUTE


clock_times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 0, 1, 15, 29, 30, 59]))
windows = st.builds(
    Window,
    days=st.frozensets(st.integers(1, 7), min_size=1),
    opens=clock_times,
    closes=clock_times,
    holidays=st.sampled_from(["lead", "none"]),
)
spans = st.one_of(
    st.builds(Span, amount=st.integers(0, 9_000), unit=st.just("minutes")),
    st.builds(Span, amount=st.integers(0, 5), unit=st.sampled_from(["days", "hours"])),
    st.builds(Span, amount=st.integers(0, 5), unit=st.just("days"), at=clock_times),
    st.builds(Span, amount=st.integers(0, 5), unit=st.just("business days"), at=st.none() | clock_times),
)


@st.composite
def calendars(draw: st.DrawFn) -> Callable[[date], bool]:
    """One day in some, by its number; never so many that a window stays shut for weeks."""
    every, offset = draw(st.sampled_from([2, 3, 5, 11, 365])), draw(st.integers(0, 364))
    return lambda day: day.toordinal() % every == offset % every


def counted(name: str) -> None:
    RUN[name] += 1


def hands_at(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the doorkeeper's clock shows at a moment that lies between two minutes as well."""
    return next(doorkeeper.watch(moment, zone))[1]


@bounded
@given(place=places(), at=clock_times)
def test_a_local_time_is_the_first_moment_that_shows_it_or_more(place: tuple[ZoneInfo, datetime], at: time) -> None:
    zone, near = place
    day = near.date()
    assert from_local(day, at, zone) == doorkeeper.first_time_shown(day, at, zone)
    counted("from_local")


@bounded
@given(place=places(), window=windows, is_holiday=calendars())
def test_the_next_opening_is_the_doorkeepers(
    place: tuple[ZoneInfo, datetime], window: Window, is_holiday: Callable[[date], bool]
) -> None:
    zone, moment = place
    found = next_opening(window, moment, zone=zone, is_holiday=is_holiday)
    watched = doorkeeper.next_opening(window, moment, zone, is_holiday, days=21)
    if watched is None:
        assert found is None or found > moment + 21 * DAY
    else:
        assert found == watched
    counted("next_opening = reference")


@bounded
@given(place=places(), window=windows, is_holiday=calendars(), seconds=st.floats(0, 60), later=st.floats(0, 1))
def test_an_opening_is_never_early_never_outside_and_the_same_whenever_one_looks(
    place: tuple[ZoneInfo, datetime], window: Window, is_holiday: Callable[[date], bool], seconds: float, later: float
) -> None:
    zone, minute = place
    moment = minute + timedelta(seconds=seconds)

    def opening(of: datetime) -> datetime | None:
        return next_opening(window, of, zone=zone, is_holiday=is_holiday)

    found = opening(moment)
    assume(found is not None)
    assert found is not None
    assert found >= moment
    assert doorkeeper.is_open(window, hands_at(found, zone), is_holiday)
    assert opening(found) == found
    looked_between = moment + (found - moment) * later
    assert opening(looked_between) == found
    counted("next_opening")


@bounded
@given(place=places(), window=windows, is_holiday=calendars(), step=st.timedeltas(timedelta(0), timedelta(days=9)))
def test_openings_are_monotone(
    place: tuple[ZoneInfo, datetime], window: Window, is_holiday: Callable[[date], bool], step: timedelta
) -> None:
    zone, moment = place
    first = next_opening(window, moment, zone=zone, is_holiday=is_holiday)
    second = next_opening(window, moment + step, zone=zone, is_holiday=is_holiday)
    assume(first is not None and second is not None)
    assert first is not None
    assert second is not None
    assert first <= second
    counted("next_opening monotone")


@bounded
@given(place=places(), span=spans, is_holiday=calendars())
def test_a_wait_ends_when_the_doorkeeper_says(
    place: tuple[ZoneInfo, datetime], span: Span, is_holiday: Callable[[date], bool]
) -> None:
    zone, since = place
    until = end_of_wait(span, since, zone=zone, is_holiday=is_holiday)
    assert until == doorkeeper.end_of_wait(span, since, zone, is_holiday)
    assert until >= since
    counted("end_of_wait = reference")


@bounded
@given(place=places(), span=spans, is_holiday=calendars())
def test_a_moment_before_another_is_where_the_calendar_put_back_says(
    place: tuple[ZoneInfo, datetime], span: Span, is_holiday: Callable[[date], bool]
) -> None:
    zone, moment = place
    found = shift(moment, Shift(span=span, back=True), zone=zone, is_holiday=is_holiday)
    assert found == doorkeeper.shift_back(moment, span, zone, is_holiday)
    counted("shift back = reference")


@bounded
@given(place=places(), span=spans, is_holiday=calendars())
def test_a_moment_after_another_is_a_wait(
    place: tuple[ZoneInfo, datetime], span: Span, is_holiday: Callable[[date], bool]
) -> None:
    zone, moment = place
    found = shift(moment, Shift(span=span), zone=zone, is_holiday=is_holiday)
    nothing = not span.amount and span.at is None
    assert found == (moment if nothing else end_of_wait(span, moment, zone=zone, is_holiday=is_holiday))
    counted("shift ahead = wait")


@bounded
@given(place=places(), amount=st.integers(1, 8), at=st.none() | clock_times, is_holiday=calendars())
def test_business_days_end_on_a_working_day_after_today_with_as_many_between(
    place: tuple[ZoneInfo, datetime], amount: int, at: time | None, is_holiday: Callable[[date], bool]
) -> None:
    zone, since = place
    span = Span(amount=amount, unit="business days", at=at)
    began = since.astimezone(zone).date()
    ended = end_of_wait(span, since, zone=zone, is_holiday=is_holiday).astimezone(zone).date()
    assume(zone.key != "Pacific/Apia" or not began <= date(2011, 12, 30) <= ended)  # a working day that never was
    passed = [began + number * DAY for number in range(1, (ended - began).days + 1)]
    working = [day for day in passed if day.isoweekday() <= 5 and not is_holiday(day)]
    assert len(working) == amount
    assert working[-1] == ended
    counted("business days")


@bounded
@given(place=places(), span=spans, is_holiday=calendars(), step=st.timedeltas(timedelta(0), timedelta(days=4)))
def test_waits_of_hours_and_calendar_days_are_monotone(
    place: tuple[ZoneInfo, datetime], span: Span, is_holiday: Callable[[date], bool], step: timedelta
) -> None:
    """Business days are not, and by design: from Friday 10:00 one is Monday 10:00, from Saturday 09:00 Monday 09:00."""
    zone, since = place
    assume(span.unit != "business days" or span.at is not None)
    first = end_of_wait(span, since, zone=zone, is_holiday=is_holiday)
    assert first <= end_of_wait(span, since + step, zone=zone, is_holiday=is_holiday)
    counted("end_of_wait monotone")


@bounded
@given(
    place=places(),
    caps=st.lists(
        st.builds(FrequencyCap, count=st.integers(1, 4), within=st.timedeltas(timedelta(hours=1), timedelta(days=2))),
        max_size=3,
    ),
    ago=st.lists(st.integers(0, 4 * 24 * 60), max_size=8),
)
def test_caps_are_free_at_the_first_moment_at_which_all_are(
    place: tuple[ZoneInfo, datetime], caps: list[FrequencyCap], ago: list[int]
) -> None:
    _, now = place
    whole = [FrequencyCap(count=cap.count, within=cap.within // MINUTE * MINUTE) for cap in caps]
    sent = [now - minutes * MINUTE for minutes in ago]
    free_at, binding = caps_free_at(whole, sent, now)
    assert free_at == doorkeeper.caps_free_at(whole, sent, now)
    assert (binding is None) == (free_at == now)
    assert caps_free_at(whole, sent, free_at) == (free_at, None)
    counted("caps_free_at")


@bounded
@given(place=places(), weekday=st.integers(0, 6), at=clock_times)
def test_the_next_weekday_is_strictly_ahead_and_within_a_week(
    place: tuple[ZoneInfo, datetime], weekday: int, at: time
) -> None:
    zone, now = place
    name = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"][weekday]
    found = next_weekday_time(f"{name} {at:%H:%M}", now, zone)
    assert now < found <= now + timedelta(days=7, hours=25)
    assume(zone.key != "Pacific/Apia" or abs(found - datetime(2011, 12, 30, tzinfo=UTC)) > 2 * DAY)
    shown = found.astimezone(zone)
    assert shown.isoweekday() == weekday + 1
    assert shown.time() >= at
    counted("next_weekday_time")


@bounded
@given(text=st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(Z|[+-]\d\d:?\d\d)?", fullmatch=True))
def test_whatever_a_field_holds_is_a_moment_or_none(text: str) -> None:
    found = field_moment(text, ZoneInfo("Pacific/Apia"))
    assert found is None or found.utcoffset() == timedelta(0)
    counted("field_moment")


@bounded
@given(timezone=st.none() | st.text(), country=st.none() | st.text(max_size=3))
def test_whatever_a_lead_says_it_lives_in_a_zone(timezone: str | None, country: str | None) -> None:
    assert isinstance(zone_of(timezone, country, "Asia/Kathmandu"), ZoneInfo)
    counted("zone_of")


def test_the_number_of_cases_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Last in the file, so that it sees what the properties above ran."""
    with capsys.disabled():
        print(
            f"\ntiming: {sum(RUN.values()):,} cases: " + ", ".join(f"{name} {count:,}" for name, count in RUN.items())
        )

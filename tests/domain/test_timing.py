"""Time, in worked dates: each case is one that a person can check against a calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from nurture.domain.cadence import FrequencyCap, Shift, Window
from nurture.domain.country_zones import COUNTRY_ZONES
from nurture.domain.spans import parse_span
from nurture.domain.timing import (
    HORIZON_DAYS,
    caps_free_at,
    end_of_wait,
    field_moment,
    from_local,
    lateness,
    local,
    moment_of,
    next_opening,
    next_weekday_time,
    shift,
    zone_of,
)
from nurture.domain.windows import parse_window

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
APIA = ZoneInfo("Pacific/Apia")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")

OFFICE = parse_window({"days": "mon-fri", "hours": "09:00-17:00"})
OFFICE_WITH_HOLIDAYS = parse_window({"holidays": "lead"}, OFFICE)
FRIDAY_NIGHT = parse_window({"days": "fri", "hours": "22:00-02:00"})
HOLIDAYS = frozenset({date(2026, 4, 3), date(2026, 4, 6), date(2026, 12, 25), date(2027, 1, 1)})


def is_holiday(day: date) -> bool:
    return day in HOLIDAYS


def no_holiday(day: date) -> bool:
    return False


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    """A moment written as `zone`'s clocks show it; only for times that come exactly once."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "wall", "moment"),
    [
        (BERLIN, "2026-07-01 09:00", "2026-07-01 07:00"),
        (BERLIN, "2026-01-15 09:00", "2026-01-15 08:00"),
        # summer time begins: 02:00 to 03:00 is skipped, and 03:00 is the first moment after
        (BERLIN, "2026-03-29 01:59", "2026-03-29 00:59"),
        (BERLIN, "2026-03-29 02:00", "2026-03-29 01:00"),
        (BERLIN, "2026-03-29 02:30", "2026-03-29 01:00"),
        (BERLIN, "2026-03-29 03:00", "2026-03-29 01:00"),
        # summer time ends: 02:00 to 03:00 comes twice, and the first counts
        (BERLIN, "2026-10-25 01:59", "2026-10-24 23:59"),
        (BERLIN, "2026-10-25 02:30", "2026-10-25 00:30"),
        (BERLIN, "2026-10-25 03:00", "2026-10-25 02:00"),
        (NEW_YORK, "2026-03-08 02:30", "2026-03-08 07:00"),
        (NEW_YORK, "2026-11-01 01:30", "2026-11-01 05:30"),
        # half an hour is skipped and repeated
        (LORD_HOWE, "2026-10-04 02:15", "2026-10-03 15:30"),
        (LORD_HOWE, "2026-04-05 01:45", "2026-04-04 14:45"),
        # a day that begins at one in the morning, and a day that never was
        (SAO_PAULO, "2018-11-04 00:00", "2018-11-04 03:00"),
        (APIA, "2011-12-30 09:00", "2011-12-30 10:00"),
        (BERLIN, "2028-02-29 09:00", "2028-02-29 08:00"),
    ],
)
def test_a_local_time_is_one_moment(zone: ZoneInfo, wall: str, moment: str) -> None:
    asked = datetime.fromisoformat(wall)
    assert from_local(asked.date(), asked.time(), zone) == utc(moment)


def test_a_moment_shows_the_local_clock() -> None:
    assert local(utc("2026-10-25 01:30"), BERLIN).isoformat() == "2026-10-25T02:30:00+01:00"


@pytest.mark.parametrize(
    ("window", "moment", "opens"),
    [
        (OFFICE, at("2026-05-06 09:00"), at("2026-05-06 09:00")),
        (OFFICE, at("2026-05-06 16:59:59"), at("2026-05-06 16:59:59")),
        (OFFICE, at("2026-05-06 17:00"), at("2026-05-07 09:00")),
        (OFFICE, at("2026-05-06 08:59:59"), at("2026-05-06 09:00")),
        (OFFICE, at("2026-05-08 18:00"), at("2026-05-11 09:00")),  # Friday evening -> Monday
        (OFFICE, at("2026-03-27 18:00"), at("2026-03-30 09:00")),  # over the beginning of summer time
        (OFFICE, at("2026-10-23 18:00"), at("2026-10-26 09:00")),  # over its end
        (OFFICE, at("2028-02-28 18:00"), at("2028-02-29 09:00")),  # leap day, a Tuesday
        (OFFICE_WITH_HOLIDAYS, at("2026-04-02 18:00"), at("2026-04-07 09:00")),  # Good Friday, Easter Monday
        (OFFICE_WITH_HOLIDAYS, at("2026-12-24 18:00"), at("2026-12-28 09:00")),
        (OFFICE, at("2026-12-24 18:00"), at("2026-12-25 09:00")),  # who did not ask for holidays has none
        (FRIDAY_NIGHT, at("2026-05-08 21:00"), at("2026-05-08 22:00")),
        (FRIDAY_NIGHT, at("2026-05-09 01:00"), at("2026-05-09 01:00")),  # Saturday 01:00 belongs to Friday
        (FRIDAY_NIGHT, at("2026-05-09 02:00"), at("2026-05-15 22:00")),
        (FRIDAY_NIGHT, at("2026-05-08 01:00"), at("2026-05-08 22:00")),  # Thursday's night has no window
    ],
)
def test_a_window_opens_next(window: Window, moment: datetime, opens: datetime) -> None:
    assert next_opening(window, moment, zone=BERLIN, is_holiday=is_holiday) == opens


def test_a_window_over_midnight_runs_into_a_holiday_but_does_not_open_on_one() -> None:
    nights = parse_window({"hours": "22:00-02:00", "holidays": "lead"})
    christmas_morning, christmas_night = at("2026-12-25 01:00"), at("2026-12-25 23:00")
    assert next_opening(nights, christmas_morning, zone=BERLIN, is_holiday=is_holiday) == christmas_morning
    assert next_opening(nights, christmas_night, zone=BERLIN, is_holiday=is_holiday) == at("2026-12-26 22:00")


def test_a_window_at_night_stays_open_while_the_clock_goes_back() -> None:
    night = parse_window({"hours": "02:15-02:45"})
    second_pass = utc("2026-10-25 01:20")  # 02:20 again; the window had its half hour the first time
    assert next_opening(night, utc("2026-10-25 00:20"), zone=BERLIN, is_holiday=no_holiday) == utc("2026-10-25 00:20")
    assert next_opening(night, second_pass, zone=BERLIN, is_holiday=no_holiday) == at("2026-10-26 02:15")


def test_a_window_that_the_gap_swallows_does_not_open_that_night() -> None:
    night = parse_window({"hours": "02:15-02:45"})
    before = at("2026-03-29 01:00")
    assert next_opening(night, before, zone=BERLIN, is_holiday=no_holiday) == at("2026-03-30 02:15")


def test_the_whole_day_is_as_long_as_the_day_is() -> None:
    sunday = parse_window({"days": "sun", "hours": "00:00-24:00"})
    last_minute = at("2026-10-25 23:59")
    assert next_opening(sunday, at("2026-10-24 12:00"), zone=BERLIN, is_holiday=no_holiday) == at("2026-10-25 00:00")
    assert next_opening(sunday, last_minute, zone=BERLIN, is_holiday=no_holiday) == last_minute
    after = last_minute + timedelta(minutes=1)
    assert next_opening(sunday, after, zone=BERLIN, is_holiday=no_holiday) == at("2026-11-01 00:00")


def test_a_window_that_never_opens_says_so() -> None:
    asked: list[date] = []

    def always(day: date) -> bool:
        asked.append(day)
        return True

    assert next_opening(OFFICE_WITH_HOLIDAYS, at("2026-05-06 12:00"), zone=BERLIN, is_holiday=always) is None
    assert (max(asked) - min(asked)).days <= HORIZON_DAYS + 1


@pytest.mark.parametrize(
    ("span", "since", "until"),
    [
        ("3 days", at("2026-05-06 10:00"), at("2026-05-09 10:00")),
        ("1 day", at("2026-03-28 10:00"), at("2026-03-29 11:00")),  # 24 hours, not "the same time tomorrow"
        ("90 minutes", at("2026-05-06 10:00"), at("2026-05-06 11:30")),
        ("0.5 days", at("2026-05-06 10:00"), at("2026-05-06 22:00")),
        ("2 weeks", at("2026-05-06 10:00"), at("2026-05-20 10:00")),
        ("3 business days", at("2026-05-06 10:00"), at("2026-05-11 10:00")),  # Wednesday -> Monday
        ("1 business day", at("2026-05-08 10:00"), at("2026-05-11 10:00")),  # Friday -> Monday
        ("1 business day", at("2026-05-09 10:00"), at("2026-05-11 10:00")),  # Saturday -> Monday
        ("1 business day", at("2026-05-10 10:00"), at("2026-05-11 10:00")),  # Sunday -> Monday
        ("1 business day", at("2026-03-27 10:00"), at("2026-03-30 10:00")),  # the same local time, an hour less
        ("1 business day", at("2026-04-02 10:00"), at("2026-04-07 10:00")),  # over Easter
        ("1 business day at 08:30", at("2026-05-08 10:00"), at("2026-05-11 08:30")),
        ("2 days at 09:00", at("2026-05-06 23:30"), at("2026-05-08 09:00")),
        ("2 days at 09:00", at("2026-05-06 00:30"), at("2026-05-08 09:00")),
        ("1 day at 02:30", at("2026-03-28 12:00"), utc("2026-03-29 01:00")),  # skipped: the first moment after
        ("1 day at 02:30", at("2026-10-24 12:00"), utc("2026-10-25 00:30")),  # twice: the first
        ("1 week at 09:00", at("2026-05-06 12:00"), at("2026-05-13 09:00")),
        ("0 days at 09:00", at("2026-05-06 08:00"), at("2026-05-06 09:00")),
        ("0 days at 09:00", at("2026-05-06 10:00"), at("2026-05-06 10:00")),  # already past: at once
        ("1 day at 09:00", at("2028-02-28 12:00"), at("2028-02-29 09:00")),
    ],
)
def test_a_wait_ends(span: str, since: datetime, until: datetime) -> None:
    assert end_of_wait(parse_span(span), since, zone=BERLIN, is_holiday=is_holiday) == until


def test_a_calendar_day_is_the_leads() -> None:
    since = utc("2026-05-06 23:30")  # still the 6th in New York, already the 7th in Berlin
    wait = parse_span("1 day at 09:00")
    assert end_of_wait(wait, since, zone=NEW_YORK, is_holiday=no_holiday) == at("2026-05-07 09:00", NEW_YORK)
    assert end_of_wait(wait, since, zone=BERLIN, is_holiday=no_holiday) == at("2026-05-08 09:00")


@pytest.mark.parametrize(
    "span", ["999999999 weeks", "99999999999 minutes", "99999999 business days", "99999 days at 09:00"]
)
def test_a_wait_beyond_reason_is_bounded(span: str) -> None:
    since = utc("2026-05-06 10:00")
    assert since < end_of_wait(parse_span(span), since, zone=BERLIN, is_holiday=no_holiday) < utc("2047-01-01 00:00")


def test_a_country_of_holidays_does_not_hang_a_wait() -> None:
    since = utc("2026-05-06 10:00")
    assert end_of_wait(parse_span("1 business day"), since, zone=BERLIN, is_holiday=lambda day: True) > since


@pytest.mark.parametrize(
    ("text", "now", "moment"),
    [
        ("tuesday 09:00", at("2026-05-06 10:00"), at("2026-05-12 09:00")),
        ("tuesday 09:00", at("2026-05-12 08:59"), at("2026-05-12 09:00")),
        ("tuesday 09:00", at("2026-05-12 09:00"), at("2026-05-19 09:00")),  # the next one after now
        ("Sun 02:30", at("2026-03-28 12:00"), utc("2026-03-29 01:00")),
        ("sunday 02:30", utc("2026-10-25 00:45"), at("2026-11-01 02:30")),  # the second 02:30 is none
    ],
)
def test_the_next_weekday_at_an_hour(text: str, now: datetime, moment: datetime) -> None:
    assert next_weekday_time(text, now, BERLIN) == moment


@pytest.mark.parametrize(
    "text", ["tuesday", "someday 09:00", "09:00", "", "t 09:00", "tuesday 25:00", "tuesday 09:00 sharp"]
)
def test_no_weekday_and_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (weekday|time)"):
        next_weekday_time(text, at("2026-05-06 10:00"), BERLIN)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-01 16:00", at("2026-12-01 16:00")),
        ("2026-12-01T16:00:30", at("2026-12-01 16:00:30")),
        ("2026-12-01", at("2026-12-01 09:00")),
        (" 2028-02-29 ", at("2028-02-29 09:00")),
        ("2026-12-01T16:00:00Z", utc("2026-12-01 16:00")),
        ("2026-12-01T16:00:00.250+05:45", utc("2026-12-01 10:15:00.250")),
        ("2026-12-01 16:00 -0500", utc("2026-12-01 21:00")),
        ("2026-03-29 02:30", utc("2026-03-29 01:00")),
    ],
)
def test_a_field_holds_a_moment(text: str, moment: datetime) -> None:
    assert field_moment(text, BERLIN) == moment
    assert moment_of(text, BERLIN) == moment


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2027-02-29", "2026-13-01", "01.12.2026", "2026-12-01 25:00", "20261201", "0001-01-01", "9999-12-31",
     "2026-12-01 16:00 +99:99", "٢٠٢٦-12-01", "2026-12-01\n16:00", "2026-12-01 16:00\x00"],
)  # fmt: skip
def test_a_field_that_holds_rubbish_is_no_moment(text: str) -> None:
    assert field_moment(text, BERLIN) is None
    with pytest.raises(ValueError, match=r"use e\.g\. '2026-12-01 16:00'"):
        moment_of(text, BERLIN)


A_DAY = FrequencyCap(count=1, within=timedelta(days=1))
A_WEEK = FrequencyCap(count=3, within=timedelta(days=7))


def test_nobody_who_got_nothing_is_capped() -> None:
    now = utc("2026-05-06 10:00")
    assert caps_free_at([A_DAY, A_WEEK], [], now) == (now, None)
    assert caps_free_at([], [now], now) == (now, None)


def test_a_day_is_24_hours_to_the_second() -> None:
    sent = utc("2026-05-06 10:00:00")
    just_before, exactly = utc("2026-05-07 09:59:59"), utc("2026-05-07 10:00:00")
    assert caps_free_at([A_DAY], [sent], just_before) == (exactly, A_DAY)
    assert caps_free_at([A_DAY], [sent], exactly) == (exactly, None)


def test_the_cap_that_lasts_longest_binds() -> None:
    sent = [utc("2026-05-01 10:00"), utc("2026-05-03 10:00"), utc("2026-05-05 10:00")]
    assert caps_free_at([A_DAY, A_WEEK], sent, utc("2026-05-06 09:00")) == (utc("2026-05-08 10:00"), A_WEEK)
    assert caps_free_at([A_DAY], sent, utc("2026-05-06 09:00")) == (utc("2026-05-06 10:00"), A_DAY)


def test_more_sends_than_the_cap_allows_wait_for_as_many_to_pass() -> None:
    sent = [utc("2026-05-01 10:00") + timedelta(hours=hour) for hour in range(5)]  # a cap that was lowered since
    assert caps_free_at([A_WEEK], sent, utc("2026-05-02 00:00")) == (utc("2026-05-08 12:00"), A_WEEK)


def test_a_send_that_a_faster_clock_put_ahead_counts() -> None:
    now = utc("2026-05-06 10:00")
    assert caps_free_at([A_DAY], [now + timedelta(seconds=3)], now) == (utc("2026-05-07 10:00:03"), A_DAY)


def test_lateness_counts_from_then_and_is_never_less_than_nothing() -> None:
    assert lateness(utc("2026-05-06 10:00"), utc("2026-05-04 09:00")) == timedelta(days=2, hours=1)
    assert lateness(utc("2026-05-06 10:00"), utc("2026-05-07 10:00")) == timedelta(0)


@pytest.mark.parametrize(
    ("timezone", "country", "zone"),
    [
        ("America/Denver", "DE", "America/Denver"),
        (" europe/berlin ", "US", "Europe/Berlin"),
        (None, "US", "America/New_York"),
        (None, "RU", "Europe/Moscow"),
        (None, "BR", "America/Sao_Paulo"),
        (None, "AU", "Australia/Sydney"),
        (None, "CA", "America/Toronto"),
        (None, "KZ", "Asia/Almaty"),
        (None, "CN", "Asia/Shanghai"),
        (None, "UA", "Europe/Kyiv"),
        ("", "jp", "Asia/Tokyo"),
        (None, None, "Europe/Vienna"),
        (None, "ZZ", "Europe/Vienna"),
        ("../../../etc/passwd", "", "Europe/Vienna"),
        ("/etc/localtime", None, "Europe/Vienna"),
        ("localtime", None, "Europe/Vienna"),
        ("Europe", "FR", "Europe/Paris"),
        ("Europe/Berlin\x00", "FR", "Europe/Paris"),
        ("CET-1CEST", "FR", "Europe/Paris"),
    ],
)
def test_a_lead_lives_in_a_zone(timezone: str | None, country: str | None, zone: str) -> None:
    assert zone_of(timezone, country, "Europe/Vienna").key == zone


def test_every_country_has_a_zone_that_exists() -> None:
    assert len(COUNTRY_ZONES) == 250  # ISO 3166-1 has 249, and XK
    assert all(ZoneInfo(zone).key == zone for zone in COUNTRY_ZONES.values())
    assert all(len(code) == 2 and code.isupper() for code in COUNTRY_ZONES)


def test_a_time_with_seconds_inside_a_gap_ends_at_the_transition() -> None:
    assert from_local(date(2026, 3, 29), time(2, 30, 30, 5), BERLIN) == utc("2026-03-29 01:00")


@pytest.mark.parametrize(
    ("offset", "before"),
    [
        ("1 day", at("2026-11-19 09:00")),
        ("1 day at 15:00", at("2026-11-19 15:00")),
        ("2 business days", at("2026-11-18 09:00")),
        ("1 week", at("2026-11-13 09:00")),
        ("90 minutes", at("2026-11-20 07:30")),
        ("0 days at 07:00", at("2026-11-20 07:00")),
    ],
)
def test_an_offset_lies_before_its_moment(offset: str, before: datetime) -> None:
    by = Shift(span=parse_span(offset), back=True)
    assert shift(at("2026-11-20 09:00"), by, zone=BERLIN, is_holiday=no_holiday) == before


def test_a_day_before_is_24_hours_and_a_calendar_day_is_not() -> None:
    """On 25 October 2026 the clock is put back in the night before."""
    sunday = at("2026-10-25 12:00")
    elapsed, calendar = Shift(span=parse_span("1 day"), back=True), Shift(span=parse_span("1 day at 12:00"), back=True)
    assert shift(sunday, elapsed, zone=BERLIN, is_holiday=no_holiday) == at("2026-10-24 13:00")
    assert shift(sunday, calendar, zone=BERLIN, is_holiday=no_holiday) == at("2026-10-24 12:00")


def test_working_days_before_leave_out_holidays() -> None:
    tuesday = at("2026-04-07 10:00")
    by = Shift(span=parse_span("1 business day"), back=True)
    assert shift(tuesday, by, zone=BERLIN, is_holiday=is_holiday) == at("2026-04-02 10:00")

"""Public holidays by the lead's country, and the workspace's own days."""

from __future__ import annotations

from datetime import date

import pytest

from nurture.calendar import Calendar

CALENDAR = Calendar(["2026-12-24", "2026-12-31 DE"], workspace_country="DE")


@pytest.mark.parametrize(
    ("country", "day", "holiday"),
    [
        ("DE", date(2026, 12, 25), True),
        ("DE", date(2026, 4, 3), True),  # Good Friday
        ("US", date(2026, 4, 3), False),
        ("US", date(2026, 7, 3), True),  # the Fourth is a Saturday, and is observed on Friday
        ("DE", date(2026, 10, 31), False),  # in some of Germany's states only
        ("FR", date(2026, 7, 14), True),
        ("DE", date(2026, 7, 14), False),
        ("FR", date(2026, 12, 24), True),  # the workspace's own, everywhere
        ("DE", date(2026, 12, 31), True),  # and in one country
        ("FR", date(2026, 12, 31), False),
        (None, date(2026, 12, 31), True),  # a lead without a country has the workspace's
        ("", date(2026, 4, 3), True),
        (" de ", date(2026, 4, 3), True),
        ("ZZ", date(2026, 12, 25), False),  # an unknown country has the extra days only
        ("ZZ", date(2026, 12, 24), True),
        ("DE", date(2028, 2, 29), False),
    ],
)
def test_a_day_is_a_holiday_where_the_lead_lives(country: str | None, day: date, holiday: bool) -> None:
    assert CALENDAR.is_holiday(country)(day) is holiday


def test_without_any_country_there_are_no_holidays() -> None:
    assert not Calendar().is_holiday(None)(date(2026, 12, 25))


@pytest.mark.parametrize("country", ["HolidayBase", "__class__", "UK\x00", "../DE", "D" * 10_000])
def test_what_a_field_holds_is_never_looked_up_as_a_python_name(country: str) -> None:
    assert not CALENDAR.is_holiday(country)(date(2026, 12, 25))


def test_the_same_country_gets_the_same_answerer() -> None:
    assert CALENDAR.is_holiday("DE") is CALENDAR.is_holiday("de")


def test_far_years_have_no_known_holidays_and_no_error() -> None:
    assert not CALENDAR.is_holiday("DE")(date(3000, 12, 25))

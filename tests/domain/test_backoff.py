"""How long a deferred message rests between two attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nurture.domain.backoff import next_attempt

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def rest(attempt: int, chance: float) -> timedelta:
    return next_attempt(NOW, attempt=attempt, chance=chance) - NOW


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 240), (8, 240), (5_000, 240)]
)
def test_each_is_twice_the_one_before_up_to_four_hours(attempt: int, longest: int) -> None:
    assert rest(attempt, 0.0) == timedelta(minutes=longest) / 2
    assert rest(attempt, 0.5) == timedelta(minutes=longest) * 0.75
    assert timedelta(minutes=longest) * 0.99 < rest(attempt, 0.999) < timedelta(minutes=longest)

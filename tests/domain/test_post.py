"""A post is tried for about three days, never early, and not in step with others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nurture.domain.post import JITTER, LONGEST_ASKED, RETRIES, next_try

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def test_the_schedule_of_standard_webhooks() -> None:
    seconds = [
        round((next_try(NOON, attempt=n, chance=0) or NOON).timestamp() - NOON.timestamp()) for n in range(1, 10)
    ]
    assert seconds == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert next_try(NOON, attempt=10, chance=0) is None
    assert timedelta(days=3) < sum(RETRIES, timedelta(0)) < timedelta(days=3, hours=4)


def test_chance_only_lengthens_a_delay() -> None:
    for attempt in range(1, len(RETRIES) + 1):
        soonest, latest = (next_try(NOON, attempt=attempt, chance=chance) for chance in (0, 0.999))
        assert soonest == NOON + RETRIES[attempt - 1]
        assert latest is not None
        assert soonest < latest < NOON + RETRIES[attempt - 1] * (1 + JITTER)


def test_what_the_receiver_asks_is_waited_for_in_bounds() -> None:
    assert next_try(NOON, attempt=1, chance=0, asked=timedelta(minutes=2)) == NOON + timedelta(minutes=2)
    assert next_try(NOON, attempt=2, chance=0, asked=timedelta(minutes=2)) == NOON + timedelta(minutes=5)
    assert next_try(NOON, attempt=1, chance=0, asked=timedelta(days=900)) == NOON + LONGEST_ASKED

"""When a domain is judged ill, how long its mail waits, and when it is believed gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.domain_health import HELD_AT_MOST, LONGEST_PAUSE, give_up_moved, is_gone, is_ill, pause_length

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("replies", "hard", "ill"), [(19, 19, False), (20, 20, True), (199, 20, True), (200, 20, False), (1000, 101, True)]
)
def test_a_domain_is_ill_by_a_share_and_a_number(replies: int, hard: int, ill: bool) -> None:
    assert is_ill(replies=replies, hard=hard) is ill


def test_pauses_double_up_to_a_day() -> None:
    assert [pause_length(times) / HOUR for times in (1, 2, 3, 4, 5, 6, 7, 1000)] == [1, 2, 4, 8, 16, 24, 24, 24]


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 1_440))
def test_a_pause_never_brings_the_end_nearer_nor_moves_it_past_a_week(since: int, due: int, length: int) -> None:
    began, due_at = NOON - since * timedelta(minutes=1), NOON + due * timedelta(minutes=1)
    give_up_at = due_at + HOUR
    moved = give_up_moved(give_up_at, due_at=due_at, until=due_at + length * timedelta(minutes=1), since=began)
    assert give_up_at <= moved <= max(give_up_at, began + HELD_AT_MOST)
    assert moved - give_up_at <= LONGEST_PAUSE


@pytest.mark.parametrize(
    ("failures", "hours", "gone"), [(1, 100, False), (2, 100, False), (3, 71, False), (3, 72, True), (99, 1, False)]
)
def test_a_domain_is_gone_after_three_failures_over_three_days(failures: int, hours: int, gone: bool) -> None:
    assert is_gone(since=NOON, failures=failures, now=NOON + hours * HOUR) is gone

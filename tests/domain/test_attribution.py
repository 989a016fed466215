"""Five ways to share a sale, none of which loses a cent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.attribution import MODELS, split_cents

WON_AT = datetime(2026, 11, 30, tzinfo=UTC)


@given(
    cents=st.integers(0, 10**11),
    ages=st.lists(st.floats(0, 20_000), min_size=1, max_size=30),
    model=st.sampled_from(sorted(MODELS)),
)
def test_no_cent_is_lost_or_made(cents: int, ages: list[float], model: str) -> None:
    moments = sorted(WON_AT - timedelta(days=age) for age in ages)
    shares = split_cents(cents, MODELS[model](moments, WON_AT))
    assert sum(shares) == cents
    assert all(share >= 0 for share in shares)


@pytest.mark.parametrize(
    ("model", "shares"),
    [
        ("first", [100, 0, 0, 0]),
        ("last", [0, 0, 0, 100]),
        ("linear", [25, 25, 25, 25]),
        ("position", [40, 10, 10, 40]),
        ("time-decay", [7, 13, 27, 53]),
    ],
)
def test_four_touches_a_week_apart(model: str, shares: list[int]) -> None:
    moments = [WON_AT - timedelta(weeks=weeks) for weeks in (3, 2, 1, 0)]
    assert split_cents(100, MODELS[model](moments, WON_AT)) == shares


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_single_touch_gets_it_all(model: str) -> None:
    assert split_cents(999, MODELS[model]([WON_AT], WON_AT)) == [999]

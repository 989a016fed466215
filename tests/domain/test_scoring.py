"""Points add up in any order, fade exactly, and obey their bounds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.lifecycle import AtMost, PointsRule
from nurture.domain.scoring import (
    EPOCH,
    Scored,
    add_points,
    bounded_fit,
    decay_exponent,
    engagement_at,
    grade,
    hot_until,
    matches,
    rule_names,
    say_bound,
    sums_of,
    worth_of,
)

HALF_LIFE = timedelta(days=14)
START = datetime(2026, 11, 2, 9, tzinfo=UTC)
CAPPED = PointsRule(event="clicked", points=20, at_most=AtMost(points=50))

moments = st.integers(0, 200 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))
lines = st.lists(st.tuples(moments, st.floats(-50, 50).map(lambda points: round(points, 2))), max_size=40)


def faded(booked: list[tuple[datetime, float]], now: datetime) -> float:
    """The plain sum that the two logarithms stand for."""
    return sum(points * 0.5 ** ((now - at) / HALF_LIFE) for at, points in booked)


def test_a_point_halves_with_each_half_life() -> None:
    gains, losses = sums_of([(START, 40.0)], HALF_LIFE)
    for halvings, points in ((0, 40.0), (1, 20.0), (2, 10.0), (3, 5.0)):
        now = START + halvings * HALF_LIFE
        assert engagement_at(gains, losses, now, half_life=HALF_LIFE, cap=60) == pytest.approx(points)


def test_nothing_yet_is_worth_nothing() -> None:
    assert engagement_at(None, None, START, half_life=HALF_LIFE, cap=60) == 0
    assert add_points(None, 0, START, HALF_LIFE) is None
    assert decay_exponent(HALF_LIFE, EPOCH) == 0


@given(lines, st.randoms(use_true_random=False), moments)
def test_the_order_of_events_does_not_matter(booked: list[tuple[datetime, float]], rng, now: datetime) -> None:
    shuffled = list(booked)
    rng.shuffle(shuffled)
    for one, other in zip(sums_of(booked, HALF_LIFE), sums_of(shuffled, HALF_LIFE), strict=True):
        assert one == other or one == pytest.approx(other, abs=1e-9)
    now += timedelta(days=200)
    gains, losses = sums_of(shuffled, HALF_LIFE)
    expected = min(60.0, max(0.0, faded(booked, now)))
    assert engagement_at(gains, losses, now, half_life=HALF_LIFE, cap=60) == pytest.approx(expected, abs=1e-6)


@given(lines, st.floats(1, 99), st.floats(0, 40))
def test_the_moment_until_which_a_lead_is_hot_is_exact(
    booked: list[tuple[datetime, float]], line: float, fit_points: float
) -> None:
    gains, losses = sums_of(booked, HALF_LIFE)
    until = hot_until(line, fit_points=fit_points, gains=gains, losses=losses, half_life=HALF_LIFE, cap=60)

    def score(now: datetime) -> float:
        return fit_points + engagement_at(gains, losses, now, half_life=HALF_LIFE, cap=60)

    later = START + timedelta(days=201)
    if until is None:
        assert score(later) < line + 1e-6
    elif fit_points >= line:
        assert until.year == 9999
    else:
        minute = timedelta(minutes=1)
        assert score(until + minute) < line <= score(until - minute)


def test_a_cap_that_cannot_reach_the_line_is_never_hot() -> None:
    gains, losses = sums_of([(START, 500.0)], HALF_LIFE)
    asked = {"gains": gains, "losses": losses, "half_life": HALF_LIFE, "cap": 60}
    assert hot_until(70, fit_points=5, **asked) is None
    assert hot_until(65, fit_points=5, **asked) is not None


def scored(day: float, *, number: int, booked: float | None = None, counts: bool = True) -> Scored:
    return Scored(event_id=number, at=START + timedelta(days=day), booked=booked, counts=counts)


FIRST = (START, 0)


def test_the_event_that_crosses_the_bound_gets_the_rest() -> None:
    events = [scored(day, number=day) for day in range(5)]
    assert worth_of(CAPPED, events, since=FIRST) == {0: 20, 1: 20, 2: 10, 3: 0, 4: 0}


def test_the_stretch_is_rolling_and_ends_after_seven_days() -> None:
    events = [scored(day, number=number) for number, day in enumerate((0, 1, 2, 7.001, 8.001))]
    # the first has left the stretch by the fourth, the second by the fifth
    assert worth_of(CAPPED, events, since=FIRST) == {0: 20, 1: 20, 2: 10, 3: 20, 4: 20}


def test_an_event_that_arrives_late_books_later_ones_again() -> None:
    known = [scored(1, number=1, booked=20), scored(2, number=2, booked=20), scored(3, number=3, booked=10)]
    late = scored(0.5, number=9)
    assert worth_of(CAPPED, [*known, late], since=(late.at, 9)) == {9: 20, 1: 20, 2: 10, 3: 0}


def test_earlier_events_stand_as_they_are_booked() -> None:
    known = [scored(0, number=1, booked=45)]  # under a rule that has changed since
    assert worth_of(CAPPED, [*known, scored(1, number=2)], since=(START + timedelta(days=1), 2)) == {2: 5}


def test_what_was_no_person_frees_its_place() -> None:
    events = [scored(0, number=1, booked=20, counts=False), *(scored(day, number=day + 1) for day in (1, 2, 3))]
    assert worth_of(CAPPED, events, since=FIRST) == {1: 0, 2: 20, 3: 20, 4: 10}


@given(st.lists(st.floats(0, 30), min_size=1, max_size=12, unique=True), st.randoms(use_true_random=False))
def test_bounded_points_do_not_depend_on_the_order_of_arrival(days: list[float], rng) -> None:
    events = [scored(day, number=number) for number, day in enumerate(days)]
    at_once = worth_of(CAPPED, events, since=FIRST)
    arriving = list(events)
    rng.shuffle(arriving)
    booked: dict[int, float] = {}
    for number in range(len(arriving)):
        here = [Scored(event_id=e.event_id, at=e.at, booked=booked.get(e.event_id)) for e in arriving[: number + 1]]
        booked |= worth_of(CAPPED, here, since=(arriving[number].at, arriving[number].event_id))
    assert booked == at_once
    for event in events:
        week = [e for e in events if event.at - timedelta(days=7) < e.at <= event.at]
        assert math.fsum(at_once[e.event_id] for e in week) <= 50 + 1e-9


def test_a_bound_on_losses_bounds_their_size() -> None:
    rule = PointsRule(event="ignored", points=-10, at_most=AtMost(points=15))
    assert worth_of(rule, [scored(day, number=day) for day in range(3)], since=FIRST) == {0: -10, 1: -5, 2: 0}


def test_rules_match_by_event_and_path() -> None:
    pricing = PointsRule(event="page viewed", points=10, path="/pricing*")
    assert matches(pricing, "page viewed", "/pricing/team")
    assert not matches(pricing, "page viewed", "/blog")
    assert not matches(pricing, "page viewed", None)
    assert not matches(pricing, "clicked", "/pricing")
    assert matches(PointsRule(event="page viewed", points=1), "page viewed", None)
    assert matches(PointsRule(event="page viewed", points=1, path="/a?c[1]"), "page viewed", "/abc[1]")


def test_rules_of_the_same_name_are_told_apart() -> None:
    rules = [PointsRule(event="clicked", points=points) for points in (1, 2, 3)]
    assert rule_names(rules) == ["clicked", "clicked (2)", "clicked (3)"]
    assert say_bound(AtMost(points=60)) == "at most 60 per week"


def test_grades() -> None:
    assert [grade(points, known=True) for points in (40, 30, 29.9, 20, 10, 9, 0)] == list("AABBCDD")
    assert grade(0, known=False) == "unknown"


def test_fit_stays_between_its_bounds_and_says_by_how_much() -> None:
    assert bounded_fit({"dach": 10, "size": 15}) == (25, 0)
    assert bounded_fit({"dach": 30, "size": 25}) == (40, -15)
    assert bounded_fit({"student": -20}) == (0, 20)
    assert bounded_fit({}) == (0, 0)

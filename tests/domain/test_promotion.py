"""Conditions of the lifecycle seen as trees: opens decide nothing, old news promotes nobody twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.domain.conditions import Condition, Vocabulary, parse_condition
from nurture.domain.promotion import (
    falling_line,
    fields_named,
    lately,
    may_promote,
    score_line,
    shows_interest,
    without_opens,
)


def read(text: str) -> Condition:
    return parse_condition(text, Vocabulary(segments={"dach": 'country in ["DE", "AT"]'}))


def test_a_condition_without_opens_needs_no_second_look() -> None:
    assert without_opens(read('clicked() or did("demo requested")')) is None


def test_opens_become_what_nobody_saw() -> None:
    blind = without_opens(read('opened(times=3) or clicked() and not did("opened")'))
    assert blind is not None
    assert blind.text == "false or clicked() and not false"


@pytest.mark.parametrize(
    ("text", "narrowed"),
    [
        ('did("demo requested")', 'did("demo requested", within="120.000000 minutes")'),
        ('clicked(within="30 minutes")', 'clicked(within="30 minutes")'),
        ('not clicked(within="3 days") and score >= 50', 'not clicked(within="120.000000 minutes") and score >= 50'),
    ],
)
def test_tests_of_events_look_no_further_back_than_asked(text: str, narrowed: str) -> None:
    condition = lately(read(text), timedelta(hours=2))
    assert condition.text == narrowed
    assert read(narrowed).tree == condition.tree


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("score >= 70", 70),
        ('score >= 70 or did("demo requested", within="7 days")', 70),
        ('fit >= "B" and (score > 40 or score >= 30)', 30),
        ("not score >= 70", None),
        ("engagement >= 20", None),
    ],
)
def test_the_hot_line_is_found_in_its_condition(text: str, line: float | None) -> None:
    assert score_line(read(text)) == line


def test_a_fall_is_computed_only_where_it_is_all_that_is_asked() -> None:
    assert falling_line(read("score < 35")) == 35
    assert falling_line(read('score < 35 and country == "DE"')) is None


def test_fields_are_found_wherever_they_stand() -> None:
    text = (
        'in_segment("dach") and custom.employees >= 50 or not contains(title, "intern") '
        "or days_since(created_at) < 5 and owner is none or prospect and clicked()"
    )
    named = {getattr(field, "name", None) for field in fields_named(read(text))}
    assert named == {"country", "employees", "title", "created_at", "owner", "prospect"}


def test_what_the_person_did_not_do_shows_no_interest() -> None:
    assert shows_interest("clicked")
    assert shows_interest("anything that track brings")
    assert not any(shows_interest(kind) for kind in ("bounced", "unsubscribed", "auto replied", "deal won"))
    assert may_promote("deal won")
    assert not may_promote("opened")

"""Who is told of: the fit gate, hysteresis and the cool-down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nurture.domain.alerts import LEADS_TO, STANDING, TAKEN, TRANSITIONS, AlertStatus, Answer
from nurture.domain.hot import HotFacts, may_alert, passes_gate, rearms
from nurture.domain.lifecycle import Hot

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOT = Hot(when="score >= 70", fit="B")
FACTS = HotFacts(stage="mql", fit="A", armed=True, told_at=None, has_standing=False)


def test_a_lead_that_fits_and_crosses_is_told() -> None:
    assert may_alert(HOT, FACTS, NOW)
    assert not may_alert(HOT, replace(FACTS, armed=False), NOW)


@pytest.mark.parametrize(("fit", "passes"), [("A", True), ("B", True), ("C", False), ("D", False), ("unknown", True)])
def test_the_fit_gate(fit: str, passes: bool) -> None:
    assert passes_gate(HOT, fit) is passes


def test_an_unknown_fit_is_kept_out_where_the_file_says_so() -> None:
    assert not passes_gate(replace(HOT, unknown_fit="block"), "unknown")
    assert passes_gate(replace(HOT, fit=None, unknown_fit="block"), "unknown")


def test_one_alert_in_a_cool_down_but_reasons_may_join_it() -> None:
    lately = replace(FACTS, told_at=NOW - timedelta(days=13))
    assert not may_alert(HOT, lately, NOW)
    assert may_alert(HOT, replace(lately, has_standing=True), NOW)
    assert may_alert(HOT, lately, NOW + timedelta(days=1))


@pytest.mark.parametrize("stage", ["visitor", "customer", "disqualified"])
def test_who_has_given_nothing_or_bought_is_not_hot(stage: str) -> None:
    assert not may_alert(HOT, replace(FACTS, stage=stage), NOW)


def test_the_line_is_news_again_from_fifteen_points_below() -> None:
    assert not rearms(HOT, 70, 55)
    assert rearms(HOT, 70, 54.9)


def test_every_answer_leads_somewhere_and_what_is_answered_stays() -> None:
    assert set(LEADS_TO) == set(Answer)
    assert set(TRANSITIONS) == set(AlertStatus)
    for status in STANDING:
        assert set(LEADS_TO.values()) - {AlertStatus.SNOOZED} <= TRANSITIONS[status]
    for status in set(AlertStatus) - {*STANDING, *TAKEN}:
        assert TRANSITIONS[status] == frozenset()

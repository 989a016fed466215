"""Cadences that want the same leads: told where it can be proved from the files, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.authoring.rivals import implies
from nurture.domain.conditions import Vocabulary, parse_condition
from tests.authoring.test_mistakes import WELCOME, root, seed

__all__ = ["root"]

OWN = 'segment: stage == "lead" and not tag("guide")\nenroll: current_and_future\npriority: 10\n'
"""What cadences/welcome.yaml says; cadences/guide-followup.yaml has `segment: guide_readers` and priority 50."""


def proved(one: str, other: str) -> bool:
    return implies(*(parse_condition(each, Vocabulary()).tree for each in (one, other)))


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ('stage == "lead" and tag("x")', 'stage == "lead"'),
        ('tag("x") and stage == "lead"', 'stage == "lead" and tag("x")'),
        ('stage == "lead"', 'stage in ["lead", "mql"]'),
        ('country in ["DE"]', 'country in ["DE", "AT"]'),
        ("score >= 80", "score > 40"),
        ("score > 40", "score >= 40"),
        ("score < 10 and fit is none", "score <= 10"),
        ('fit >= "B"', 'fit >= "C"'),
        ('fit < "C"', 'fit < "B"'),
        ("days_since(created_at) > 90", "days_since(created_at) > 30"),
        ('tag("x")', 'tag("x") or tag("y")'),
        ('(tag("x") or tag("y")) and score > 3', 'tag("y") or tag("x")'),
        ('tag("x")', "true"),
    ],
)
def test_what_surely_holds_is_proved_and_not_the_other_way_round(narrow: str, wide: str) -> None:
    assert proved(narrow, wide)
    assert proved(wide, narrow) == (set(narrow.split(" and ")) == set(wide.split(" and ")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('stage != "lead"', 'stage in ["mql"]'),
        ('country not in ["DE"]', 'country in ["AT"]'),
        ("score > 80", "engagement > 40"),
        ("score > 40", "score >= 80"),
        ("score >= 40", "score > 40"),
        ("score == 40", "score == 50"),
        ("score > 40", "score < 80"),
        ("days_since(created_at) > 90", "days_until(created_at) > 30"),
        ('not tag("x")', 'tag("x")'),
    ],
)
def test_what_may_be_false_is_not(one: str, other: str) -> None:
    assert not proved(one, other)


def said(root: Path) -> list[str]:
    return [str(each) for each in check_workspace(root).findings if each.code == "rivals"]


@pytest.mark.parametrize(
    ("head", "what"),
    [
        ('segment: tag("guide")\n', "it wants all the leads of cadence 'guide-followup' too"),
        ("segment: guide_readers and score > 3\n", ""),
        ('trigger: {event: x}\nsegment: tag("guide") and stage in ["lead"] and score > 3\n', ""),
        ("trigger: {event: x, where: event.y == 1}\n", ""),
        ("segment: guide_readers\nconcurrent: true\n", ""),
        ("segment: guide_readers\nstatus: draft\n", ""),
        ("segment: guide_readers\npriority: 51\n", ""),
        ("trigger: {event: x}\nsegment: guide_readers\n", "all its leads are wanted by cadence 'guide-followup' too"),
    ],
)
def test_live_cadences_of_equal_priority_are_told(root: Path, head: str, what: str) -> None:
    (root / "cadences/_segments.yaml").write_text('segments:\n  guide_readers: tag("guide") and stage == "lead"\n')
    seed(root, WELCOME, OWN, head.replace("guide_readers and", 'tag("guide") and'))
    assert [what in line for line in said(root)] == ([True] if what else [])


def test_two_that_start_by_one_event_are_told(root: Path) -> None:
    (root / "cadences/_segments.yaml").write_text('segments:\n  dach: country == "DE"\n')
    seed(root, WELCOME, OWN, "trigger: {event: x, where: event.y == 1}\n")
    seed(root, "cadences/guide-followup.yaml", "segment: guide_readers", "trigger: {event: x}")
    (line,) = said(root)
    assert line.startswith("cadences/welcome.yaml:3:10: warning: all its leads are wanted by cadence 'guide-followup'")

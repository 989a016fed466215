"""`check` with a database at hand: what the leads in it say to the findings, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.authoring.check import CheckReport, check_workspace
from nurture.authoring.lead_checks import asked_of_leads, smallest_lift
from nurture.documents.finding import Finding
from nurture.store.database import Database
from nurture.store.segments import Asking
from tests.authoring.test_mistakes import GUIDE, root, seed
from tests.engine.world import add_leads

__all__ = ["root"]

ASKING = Asking(now=datetime(2026, 11, 24, tzinfo=UTC), half_life=timedelta(days=14), engagement_cap=60)
PLAIN = "{{ lead.company }} and you"


def checked(root: Path, database: Database) -> CheckReport:
    with database.reading() as connection:
        return check_workspace(root, lambda found, compiled: asked_of_leads(found, compiled, connection, ASKING))


def of(report: CheckReport, code: str) -> list[Finding]:
    return [each for each in report.findings if each.code == code]


def test_a_field_without_a_default_is_told_with_how_many_lack_it(root: Path, database: Database) -> None:
    seed(root, GUIDE, "Too busy? The guide in 60 seconds", PLAIN)
    assert len(of(checked(root, database), "no-default")) == 1, "an empty database says nothing"
    add_leads(database, "a", "b", company="Acme")
    add_leads(database, "c", "d", "e", company="")
    (finding,) = of(checked(root, database), "no-default")
    assert finding.message.endswith("(3 of 5 lack it)")


def test_what_nobody_lacks_is_no_finding(root: Path, database: Database) -> None:
    seed(root, GUIDE, "Too busy? The guide in 60 seconds", PLAIN)
    add_leads(database, "a", "b", company="Acme")
    assert of(checked(root, database), "no-default") == []
    seed(root, GUIDE, PLAIN, "{{ lead.custom.plan }} and you")
    (finding,) = of(checked(root, database), "no-default")
    assert finding.message.endswith("(2 of 2 lack it)")


def test_a_test_on_too_few_leads_says_which_lift_it_would_see(root: Path, database: Database) -> None:
    assert of(checked(root, database), "small-test") == []
    add_leads(database, "a", "b")
    (finding,) = of(checked(root, database), "small-test")
    assert "a test of 2 arms among 0 leads would show no lift at all" in finding.message
    assert (finding.file, finding.level) == (GUIDE, "warning")


@pytest.mark.parametrize(("leads", "lift"), [(500, 0.6), (2_000, 0.3), (10_000, 0.134)])
def test_the_smallest_lift_is_that_of_two_proportions(leads: int, lift: float) -> None:
    """By the table: 8% against 12.8% needs about 500 a arm for four in five."""
    assert smallest_lift(leads) == pytest.approx(lift, rel=0.02)

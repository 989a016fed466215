"""_lifecycle.yaml and _forms.yaml as values."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

from nurture.authoring.workspace import load_workspace
from nurture.domain.cadence import Window
from nurture.domain.forms import ConsentBox, FormField, Offer
from nurture.domain.lifecycle import AtMost, FitRule, PointsRule, Route, StageRule

ACCEPTANCE = Path(__file__).parents[1] / "data" / "acceptance"


def test_the_lifecycle_of_the_acceptance_workspace() -> None:
    lifecycle = load_workspace(ACCEPTANCE).lifecycle
    assert lifecycle.stages[:2] == (
        StageRule(stage="lead"),
        StageRule(
            stage="mql",
            when='fit >= "B" and score >= 50',
            demote_when="score < 35",
            demote_after=timedelta(days=7),
        ),
    )
    assert lifecycle.fit[0] == FitRule(when='country in ["DE", "AT", "CH"]', points=10)
    assert lifecycle.engagement.points[0] == PointsRule(event="clicked", points=20, at_most=AtMost(points=60))
    assert lifecycle.engagement.points[3].name == "page viewed /pricing*"
    assert lifecycle.hot is not None
    assert (lifecycle.hot.fit, lifecycle.hot.hysteresis, lifecycle.hot.cool_down) == ("B", 15, timedelta(days=14))
    assert lifecycle.alert_hours == Window(
        days=frozenset({1, 2, 3, 4, 5}), opens=time(9), closes=time(18), timezone="rep"
    )
    assert lifecycle.routing == (Route(reps=("chloe",), when='country == "FR"'), Route(reps=("ben", "chloe")))


def test_the_form_and_the_offer_of_the_acceptance_workspace() -> None:
    workspace = load_workspace(ACCEPTANCE)
    form = workspace.forms["guide"]
    assert form.fields == (
        FormField(name="email", label="Email", kind="email"),
        FormField(name="first_name", label="First name"),
        FormField(name="company", label="Company", required=False),
        FormField(name="custom.employees", label="How many are you?", kind="number", required=False),
    )
    assert form.consents == {
        "email": ConsentBox(
            text="Send me the guide and up to three mails a week about reporting. I can leave at any time."
        )
    }
    assert form.tags == ("guide",)
    assert workspace.offers == {
        "reporting-guide": Offer(
            name="reporting-guide",
            kind="e-book",
            file="offers/reporting-guide.pdf",
            email="guide-delivery",
            subject="Here is your reporting guide",
        )
    }

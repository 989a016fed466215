"""Plain words for every reason code, and a ledger that adds up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.cadence import (
    ANY_TIME,
    Arm,
    Branch,
    Cadence,
    Email,
    Exit,
    Notify,
    Promote,
    Span,
    Step,
    Tag,
    Untag,
    Wait,
    WaitFor,
)
from nurture.domain.explain import (
    SENTENCES,
    ScoreLine,
    coming_step,
    say_decision,
    say_event,
    say_moment,
    say_step,
    score_lines,
)
from nurture.domain.reasons import Reason

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize("code", list(Reason))
def test_every_code_has_a_sentence_that_stands_without_any_detail(code: Reason) -> None:
    told = say_decision(code.value, {}, zone=BERLIN)
    assert told
    assert not set("{}[]?") & set(told)
    assert set(SENTENCES) == set(Reason)


@pytest.mark.parametrize(
    ("code", "detail", "told"),
    [
        ("capped", {"cap": "1 per day", "until": "2026-11-06T08:00:00+00:00"},
         "has had enough mail for now (1 per day); free again Fri 2026-11-06 09:00 CET"),
        ("waiting", {"span": "3 days", "until": "2026-11-08T08:00:00Z"},
         "waits 3 days, until Sun 2026-11-08 09:00 CET"),
        ("waiting", {"until": "soon"}, "waits, until soon"),
        ("exited", {"reason": "goal"}, "left the cadence: goal"),
        ("variant", {"arm": "a", "odds": 0.5}, "drew its variant: a at odds of 0.5"),
        ("sent", {"subject": "Hello [you] {name}", "variant": None}, "the mail was sent: “Hello [you] {name}”"),
        ("promoted", {"before": "lead", "after": "mql"}, "moved up from lead to mql"),
        ("tagged", {"untag": "guide"}, "no longer tagged guide"),
        ("paused", {"by": "trial"}, "paused while trial runs, which goes first"),
        ("from_the_future", {"x": 1}, "from_the_future"),
    ],
)  # fmt: skip
def test_sentences(code: str, detail: dict[str, object], told: str) -> None:
    assert say_decision(code, detail, zone=BERLIN) == told


def test_events_have_words_and_a_strange_name_is_told_as_it_is() -> None:
    assert say_event("clicked", {"link": "https://acme.example/[x]"}, zone=BERLIN) == "clicked https://acme.example/[x]"
    assert say_event("deal won", {"value": 900.0, "currency": "EUR"}, zone=BERLIN) == "bought, for 900 EUR"
    assert say_event("weird {name} [x]", {}, zone=BERLIN) == "weird {name} [x]"


def test_moments_are_told_in_the_readers_zone() -> None:
    assert say_moment(NOW, BERLIN) == "Thu 2026-11-05 09:00 CET"


STEPS: list[Step] = [
    Email(key="case", next=None, template="x", subjects={"": "Hi"}),
    Wait(key="w", next="case", span=Span(amount=1, unit="business days")),
    WaitFor(key="f", next=None, condition='clicked(step="case")', up_to=Span(amount=5, unit="days")),
    Branch(key="b", next=None, arms=(Arm(condition="score >= 80", next=None),)),
    Notify(key="n", next=None, to="sales", message="Hot"),
    Promote(key="p", next=None, stage="mql", when='clicked(step="case")'),
    Tag(key="t", next=None, tag="done"),
    Untag(key="u", next=None, tag="done"),
    Exit(key="e", next=None, reason="bored"),
]


def test_each_kind_of_step_can_be_told() -> None:
    assert [say_step(step) for step in STEPS] == [
        "the mail “case”",
        "a wait of 1 business day",
        'a wait of up to 5 days for clicked(step="case")',
        "a choice of paths by score >= 80",
        "a word to sales",
        'a move to mql (if clicked(step="case"))',
        "the tag done",
        "the loss of the tag done",
        "the exit bored",
    ]


def test_who_waits_is_told_what_comes_after_the_wait() -> None:
    cadence = Cadence(
        name="c", title="C", sender="anna", window=ANY_TIME, first="w", steps={step.key: step for step in STEPS}
    )
    assert coming_step(cadence, "w") is cadence.steps["case"]
    assert coming_step(cadence, "case") is cadence.steps["case"]
    assert coming_step(cadence, "f") is None
    assert coming_step(cadence, None) is None
    assert coming_step(cadence, "gone") is None


@given(
    fit=st.lists(st.floats(-20, 40), max_size=4),
    engagement=st.lists(st.tuples(st.floats(-30, 30), st.floats(0, 90)), max_size=12),
)
def test_the_lines_always_add_up_to_the_score(fit: list[float], engagement: list[tuple[float, float]]) -> None:
    fading = [ScoreLine(at=NOW - timedelta(days=age), points=points, reason="engagement") for points, age in engagement]
    decayed = sum(points * 0.5 ** (age / 14) for points, age in engagement)
    fit_points = min(40.0, max(0.0, sum(fit)))
    score = fit_points + min(60.0, max(0.0, decayed))
    booked = [*(ScoreLine(at=NOW, points=points, reason="fit") for points in fit), *fading]
    lines = score_lines(booked, engagement=fading, score=score, decayed=decayed, now=NOW)
    assert sum(line.points for line in lines) == pytest.approx(score, abs=0.006)


def test_what_faded_and_what_a_bound_took_are_lines_of_their_own() -> None:
    clicks = [ScoreLine(at=NOW - timedelta(days=14), points=100, reason="engagement: clicked") for _ in range(2)]
    fit = [ScoreLine(at=NOW, points=30, reason="fit: title")]
    lines = score_lines([*fit, *clicks], engagement=clicks, score=90, decayed=100, now=NOW)
    assert [(line.points, line.reason.split(" ")[0]) for line in lines] == [
        (30, "fit:"),
        (100, "engagement:"),
        (100, "engagement:"),
        (-100, "faded"),
        (-40, "bound"),
    ]

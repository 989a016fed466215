"""What happens next to one enrollment, told as facts and a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from nurture.domain.cadence import (
    ANY_TIME,
    Arm,
    Branch,
    Cadence,
    Email,
    Exit,
    FrequencyCap,
    Span,
    Tag,
    Wait,
    WaitFor,
    Window,
)
from nurture.domain.decide import Act, Await, Complete, Facts, GoOn, Later, Leave, Send, decide
from nurture.domain.enrollment import ExitReason
from nurture.domain.message import MessageStatus
from nurture.domain.reasons import Reason

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = Window(days=frozenset({1, 2, 3, 4, 5}), opens=time(9), closes=time(17), timezone="lead")
MONDAY_10 = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)  # 10:00 in Berlin
THREE_DAYS = Span(amount=3, unit="days")

STEPS = {
    "intro": Email(key="intro", next="pause", template="intro", subjects={"": "Hello"}),
    "pause": Wait(key="pause", next="fork", span=THREE_DAYS),
    "fork": Branch(
        key="fork",
        next="again",
        after="tag",
        arms=(Arm(condition="clicked()", next="case"), Arm(condition="opened()", next="tag")),
    ),
    "case": Email(key="case", next="tag", template="case", subjects={"": "Case"}, when="score > 1"),
    "again": WaitFor(key="again", next="tag", condition="replied()", up_to=THREE_DAYS),
    "tag": Tag(key="tag", next="stop", tag="done"),
    "stop": Exit(key="stop", next=None, reason="enough"),
}
CADENCE = Cadence(
    name="x", title="X", sender="anna", window=OFFICE, first="intro", steps=STEPS, goal="goal", exit="leave"
)


def facts(step: str | None = "intro", **changes: object) -> Facts:
    base = Facts(
        cadence=CADENCE,
        step=step,
        now=MONDAY_10,
        enrolled_at=MONDAY_10,
        since_at=MONDAY_10,
        zone=BERLIN,
        workspace_zone=BERLIN,
        is_holiday=lambda _: False,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_mail_in_its_window_goes() -> None:
    assert decide(facts()) == Send(step=STEPS["intro"])  # type: ignore[arg-type]


def test_a_mail_before_its_window_waits_for_the_opening() -> None:
    seven = MONDAY_10 - timedelta(hours=3)
    decision = decide(facts(now=seven, since_at=seven))
    assert isinstance(decision, Later)
    assert (decision.until, decision.code) == (datetime(2026, 11, 2, 8, tzinfo=UTC), Reason.OUT_OF_WINDOW)


def test_a_mail_on_friday_evening_waits_for_monday() -> None:
    friday = datetime(2026, 11, 6, 16, 30, tzinfo=UTC)
    decision = decide(facts(now=friday, since_at=friday))
    assert isinstance(decision, Later)
    assert decision.until == datetime(2026, 11, 9, 8, tzinfo=UTC)


def test_a_cap_holds_a_mail_back_and_says_which() -> None:
    caps = (FrequencyCap(count=1, within=timedelta(days=1)),)
    sent = MONDAY_10 - timedelta(hours=2)
    decision = decide(facts(caps=caps, sends=(sent,)))
    assert decision == Later(
        until=sent + timedelta(days=1),
        code=Reason.CAPPED,
        detail={"cap": "1 per 24 hours"},
        floor_at=sent + timedelta(days=1),
    )


def test_lateness_counts_from_the_first_chance_and_the_cadence_goes_on() -> None:
    late = MONDAY_10 + timedelta(days=2, hours=1)
    decision = decide(facts(now=late))
    assert isinstance(decision, GoOn)
    assert (decision.next, decision.since_at, decision.code) == ("pause", late, Reason.SKIPPED_LATE)
    assert isinstance(decide(facts(now=MONDAY_10 + timedelta(days=2))), Send)


def test_what_held_it_back_is_no_lateness() -> None:
    later = MONDAY_10 + timedelta(days=7)
    assert isinstance(decide(facts(now=later, floor_at=later - timedelta(hours=1))), Send)


def test_a_weekend_is_no_lateness() -> None:
    saturday = datetime(2026, 11, 7, 9, tzinfo=UTC)
    monday = datetime(2026, 11, 9, 9, tzinfo=UTC)
    assert isinstance(decide(facts(since_at=saturday, now=monday + timedelta(days=1))), Send)


def test_a_wait_counts_from_the_step_before_and_ends_on_time_however_late_one_looks() -> None:
    half = MONDAY_10 + timedelta(days=1)
    decision = decide(facts("pause", now=half))
    assert decision == Later(until=MONDAY_10 + timedelta(days=3), code=Reason.WAITING, detail={"span": "3 days"})
    assert decide(facts("pause", now=MONDAY_10 + timedelta(days=9))) == GoOn(
        next="fork", since_at=MONDAY_10 + timedelta(days=3)
    )


@pytest.mark.parametrize(
    ("holds", "next_step", "arm"),
    [
        (frozenset({"clicked()", "opened()"}), "case", "then"),
        (frozenset({"opened()"}), "tag", "elif 1"),
        (frozenset(), "again", "else"),
    ],
)
def test_a_branch_takes_the_first_arm_that_holds(holds: frozenset[str], next_step: str, arm: str) -> None:
    decision = decide(facts("fork", holds=holds))
    assert isinstance(decision, GoOn)
    assert (decision.next, decision.detail["arm"]) == (next_step, arm)


def test_wait_for_goes_on_at_once_or_when_time_is_up() -> None:
    assert isinstance(decide(facts("again")), Later)
    met = decide(facts("again", holds=frozenset({"replied()"})))
    assert isinstance(met, GoOn)
    assert met.since_at == MONDAY_10
    over = decide(facts("again", now=MONDAY_10 + timedelta(days=4)))
    assert isinstance(over, GoOn)
    assert over.since_at == MONDAY_10 + timedelta(days=3)


def test_a_false_when_skips_the_step() -> None:
    decision = decide(facts("case"))
    assert isinstance(decision, GoOn)
    assert (decision.next, decision.code) == ("tag", Reason.SKIPPED_WHEN)


def test_a_step_done_at_once_acts_and_the_end_completes() -> None:
    assert decide(facts("tag")) == Act(step=STEPS["tag"], since_at=MONDAY_10)  # type: ignore[arg-type]
    assert decide(facts("stop")) == Leave(reason="enough")
    assert decide(facts(None)) == Complete()


def test_the_goal_comes_before_a_reply_but_not_before_an_unsubscribe() -> None:
    holds = frozenset({"goal", "leave"})
    assert decide(facts(holds=holds, forced_exit=ExitReason.REPLIED)) == Leave(reason="goal")
    assert decide(facts(holds=holds, forced_exit=ExitReason.UNSUBSCRIBED)) == Leave(reason="unsubscribed")
    assert decide(facts(holds=frozenset({"leave"}))) == Leave(reason="condition")
    assert decide(facts(stage="customer")) == Leave(reason="stage", detail={"stage": "customer"})


def test_exits_act_while_a_message_is_under_way() -> None:
    assert decide(facts(message=MessageStatus.DEFERRED)) == Await()
    assert decide(facts(message=MessageStatus.DEFERRED, holds=frozenset({"goal"}))) == Leave(reason="goal")


@pytest.mark.parametrize("status", ["sent", "failed", "bounced", "unknown", "canceled"])
def test_every_outcome_lets_the_cadence_go_on(status: str) -> None:
    decision = decide(facts(message=MessageStatus(status)))
    assert decision == GoOn(next="pause", since_at=MONDAY_10)


def test_what_is_done_long_after_it_could_be_was_done_now() -> None:
    late = decide(facts("tag", now=MONDAY_10 + timedelta(hours=3)))
    assert late == Act(step=STEPS["tag"], since_at=MONDAY_10 + timedelta(hours=3))  # type: ignore[arg-type]
    soon = decide(facts("tag", now=MONDAY_10 + timedelta(seconds=30)))
    assert soon == Act(step=STEPS["tag"], since_at=MONDAY_10)  # type: ignore[arg-type]


def test_a_wait_that_ended_in_a_pause_is_done_with_the_pause() -> None:
    resumed = MONDAY_10 + timedelta(days=8)
    paused = decide(facts("pause", now=resumed, floor_at=resumed))
    assert isinstance(paused, GoOn)
    assert paused.since_at == resumed
    before = decide(facts("pause", now=resumed, floor_at=MONDAY_10 - timedelta(days=1)))
    assert isinstance(before, GoOn)
    assert before.since_at == MONDAY_10 + timedelta(days=3)


def test_a_sales_hold_stops_every_step_but_waits() -> None:
    until = MONDAY_10 + timedelta(days=5)
    held = decide(facts(held_until=until, held_by="claim"))
    assert isinstance(held, Later)
    assert (held.until, held.code) == (until, Reason.HELD)
    assert decide(facts("tag", held_until=until, held_by="claim")) == held
    assert isinstance(decide(facts("pause", held_until=until, now=MONDAY_10 + timedelta(days=4))), GoOn)


def test_goal_within_ends_it_when_its_time_is_over() -> None:
    cadence = replace(CADENCE, goal_within=Span(amount=60, unit="days"), window=ANY_TIME)
    assert decide(facts("pause", cadence=cadence, now=MONDAY_10 + timedelta(days=60))) == Leave(reason="goal_expired")

"""What a rep's answer does to the lead, once, whoever says it again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert

from nurture.domain.lifecycle import StageRule
from nurture.domain.problem import Problem
from nurture.store import tables as t
from nurture.store.alerts import alert_view
from nurture.store.suppressions import suppressed_among
from tests.pipeline.lifecycle_story import Story


@pytest.fixture
def zoe(story: Story) -> int:
    return story.lead(stage="mql")


@pytest.fixture
def alert_id(story: Story, zoe: int) -> int:
    story.event(zoe, "information requested")
    story.react()
    story.hand_over()
    (alert,) = story.rows(t.alert)
    return alert.id


def test_a_claim_holds_marketing_and_takes_the_lead(story: Story, zoe: int, alert_id: int) -> None:
    with story.database.transaction() as connection:
        connection.execute(
            insert(t.enrollment).values(
                lead_id=zoe,
                cadence="welcome",
                version="v",
                status="active",
                enrolled_at=story.now,
                due_at=story.now + timedelta(days=3),
            )
        )
    story.later(minutes=20)
    outcome = story.answer(alert_id, "claim", rep="chloe", note="  calling her today ")
    assert (outcome.result, outcome.status, outcome.by) == ("taken", "claimed", "chloe")
    lead = story.row(t.lead, zoe)
    assert (lead.hold_reason, lead.hold_until) == ("claim", story.now + timedelta(days=14))
    assert (lead.owner, lead.contacted_at) == ("chloe", None)
    (said,) = story.rows(t.alert_answer)
    assert (said.answer, said.rep, said.note, said.at) == ("claim", "chloe", "calling her today", story.now)
    (enrollment,) = story.rows(t.enrollment)
    assert enrollment.due_at == story.now


def test_the_same_answer_again_adds_nothing(story: Story, alert_id: int) -> None:
    for answer, said in (("claim", {}), ("meeting", {}), ("won", {"details": {"value": "12000", "currency": "eur"}})):
        assert story.answer(alert_id, answer, **said).result == "taken"
        assert story.answer(alert_id, answer, **said).result == "repeated"
    assert [row.answer for row in story.rows(t.alert_answer)] == ["claim", "meeting", "won"]


def test_who_comes_second_is_told_who_was_first(story: Story, alert_id: int) -> None:
    story.answer(alert_id, "claim", rep="chloe")
    for answer, reason in (("claim", None), ("reject", "timing"), ("won", None)):
        outcome = story.answer(alert_id, answer, rep="ben", reason=reason)
        assert (outcome.result, outcome.status, outcome.by) == ("late", "claimed", "chloe")
    story.answer(alert_id, "reject", rep="chloe", reason="budget")
    outcome = story.answer(alert_id, "won", rep="chloe")
    assert (outcome.result, outcome.status) == ("late", "rejected")
    assert story.answer(999_999, "claim").result == "gone"


def test_a_meeting_is_an_event_a_contact_and_a_hold(story: Story, zoe: int, alert_id: int) -> None:
    story.answer(alert_id, "meeting")
    lead = story.row(t.lead, zoe)
    assert (lead.hold_reason, lead.contacted_at) == ("meeting", story.now)
    (event,) = story.rows(t.event, kind="meeting booked")
    assert (event.source, event.source_id, event.verdict) == ("alert", f"{alert_id}:meeting", "human")
    assert story.react().alerts == 0  # the rep knows


def test_a_won_deal_makes_a_customer(story: Story, zoe: int, alert_id: int) -> None:
    story.answer(alert_id, "claim")
    story.answer(alert_id, "won", details={"value": "12,000.50", "currency": "eur"})
    (event,) = story.rows(t.event, kind="deal won")
    assert (event.value, event.currency) == (12000.5, "EUR")
    assert story.row(t.lead, zoe).hold_until is None
    assert story.react().promoted == 1
    assert story.row(t.lead, zoe).stage == "customer"


def test_without_a_condition_for_customers_the_reps_word_counts(story: Story, zoe: int, alert_id: int) -> None:
    story.with_rules(stages=(StageRule(stage="lead"), StageRule(stage="customer")))
    story.answer(alert_id, "won")
    assert story.stages(zoe) == [("mql", "customer", "by_hand")]


def test_a_lost_deal_goes_back_into_nurturing(story: Story, zoe: int, alert_id: int) -> None:
    story.answer(alert_id, "claim")
    story.answer(alert_id, "lost")
    story.react()
    lead = story.row(t.lead, zoe)
    assert (lead.stage, lead.hold_until) == ("lead", None)
    assert story.stages(zoe) == [("mql", "lead", "recycle")]


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        ("timing", "lead"),
        ("budget", "lead"),
        ("no_need", "lead"),
        ("not_a_fit", "disqualified"),
        ("competitor", "disqualified"),
        ("student", "disqualified"),
        ("wrong_person", "mql"),
        ("bad_data", "mql"),
        ("duplicate", "mql"),
    ],
)
def test_why_it_is_rejected_decides_where_the_lead_goes(
    story: Story, zoe: int, alert_id: int, reason: str, stage: str
) -> None:
    story.answer(alert_id, "claim")
    story.answer(alert_id, "reject", reason=reason, details={"who": "ask Ines"})
    lead = story.row(t.lead, zoe)
    assert (lead.stage, lead.hold_until) == (stage, None)
    assert story.rows(t.alert_answer)[-1].details == {"who": "ask Ines"}
    story.react()
    assert story.row(t.lead, zoe).stage == stage


def test_do_not_contact_ends_all_mail(story: Story, zoe: int, alert_id: int) -> None:
    with story.database.transaction() as connection:
        connection.execute(
            insert(t.message).values(
                intent_key="step:1:x:1",
                kind="step",
                lead_id=zoe,
                to_address="zoe@zoe.example",
                recipient_domain="zoe.example",
                sender="anna",
                payload={},
                status="queued",
                created_at=story.now,
                not_before=story.now,
            )
        )
    story.answer(alert_id, "reject", reason="do_not_contact")
    with story.database.reading() as connection:
        assert suppressed_among(connection, ["zoe@zoe.example"]) == {"zoe@zoe.example": "do_not_contact"}
    assert [row.status for row in story.rows(t.message, kind="step")] == ["canceled"]
    assert story.row(t.lead, zoe).consented_at is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("buy", {}),
        ("reject", {}),
        ("reject", {"reason": "bored"}),
        ("snooze", {"details": {"until": "tomorrow"}}),
        ("snooze", {"details": {"until": "2020-01-01T00:00:00Z"}}),
        ("snooze", {"details": {"until": "2026-11-05T10:00:00"}}),
        ("won", {"details": {"value": "much"}}),
        ("won", {"details": {"value": "-3"}}),
        ("won", {"details": {"value": "1e999"}}),
    ],
)
def test_what_makes_no_sense_changes_nothing(story: Story, alert_id: int, answer: str, said: dict[str, object]) -> None:
    with pytest.raises(Problem) as told:
        story.answer(alert_id, answer, **said)
    assert "\n" not in str(told.value)
    assert story.row(t.alert, alert_id).status == "open"
    assert story.rows(t.alert_answer) == []


def test_what_a_form_brings_is_kept_in_bounds(story: Story, alert_id: int) -> None:
    details = {f"field{number}": "x" * 9_000 for number in range(90)}
    story.answer(alert_id, "claim", note="y" * 90_000, details=details)
    (said,) = story.rows(t.alert_answer)
    assert (len(said.details), len(said.details["field0"]), len(said.note)) == (20, 500, 4_000)


def test_the_page_sees_the_alert_with_its_lead_and_answers(story: Story, zoe: int, alert_id: int) -> None:
    story.answer(alert_id, "claim", rep="chloe")
    with story.database.reading() as connection:
        view = alert_view(connection, alert_id)
        assert alert_view(connection, 999_999) is None
    assert view is not None
    assert (view.lead_id, view.email, view.status, view.rep) == (zoe, "zoe@zoe.example", "claimed", "chloe")
    assert (view.reasons, view.phone) == (("information requested",), None)
    assert [(said.answer, said.rep) for said in view.answers] == [("claim", "chloe")]


def test_a_note_may_hold_whatever_a_form_can_send(story: Story, alert_id: int) -> None:
    assert story.answer(alert_id, "claim", note="a\x00b\ud800 \U0001f600").result == "taken"
    assert story.rows(t.alert_answer)[0].note == "ab? \U0001f600"

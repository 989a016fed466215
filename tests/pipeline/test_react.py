"""What follows from events: a person's click promotes and alerts, a machine's does nothing, and signs revise both."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from nurture.domain.event import Verdict
from nurture.domain.lifecycle import AtMost, Engagement, FitRule, Hot, PointsRule, StageRule
from nurture.pipeline import react as stage
from nurture.store import tables as t
from nurture.store.consents import NewConsent, give_consent
from nurture.store.database import Database
from nurture.store.suppressions import suppressed_among
from nurture.store.unsubscribes import resubscribe, unsubscribe
from tests.pipeline.lifecycle_story import LIFECYCLE, MONDAY, Story


def test_a_persons_clicks_promote_and_alert_after_the_burst_window(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "clicked")
    assert story.react().promoted == 0
    assert story.row(t.lead, zoe).fit == "B"
    story.later(hours=1)
    last = story.event(zoe, "clicked")
    story.event(zoe, "page viewed", path="/pricing")
    report = story.react()
    assert (report.events, report.promoted, report.alerts) == (2, 1, 1)
    assert story.score(zoe) == pytest.approx(25 + 20 * 0.5 ** (1 / 24 / 14) + 20 + 11)
    (moved,) = story.rows(t.stage_history)
    assert (moved.after, moved.because, moved.event_id) == ("mql", 'fit >= "B" and score >= 50', last + 1)
    (alert,) = story.rows(t.alert)
    assert (alert.rule, alert.status, alert.due_at) == ("hot", "open", story.now + timedelta(seconds=90))
    story.later(seconds=89)
    assert story.hand_over().told == 0
    story.later(seconds=1)
    assert story.hand_over().told == 1
    assert story.row(t.lead, zoe).last_engaged_at == MONDAY + timedelta(hours=1)


@pytest.mark.parametrize("verdict", [Verdict.MACHINE, Verdict.PROBABLE])
def test_the_same_clicks_by_a_machine_do_nothing(story: Story, verdict: Verdict) -> None:
    zoe = story.lead()
    for _ in range(4):
        story.event(zoe, "clicked", verdict=verdict)
    story.event(zoe, "demo requested", verdict=verdict)
    story.event(zoe, "replied", verdict=verdict)
    report = story.react()
    assert (report.promoted, report.alerts) == (0, 0)
    assert story.score(zoe) == 25
    lead = story.row(t.lead, zoe)
    assert (lead.stage, lead.last_engaged_at, lead.hold_until) == ("lead", None, None)


def test_a_later_sign_takes_back_points_stage_and_alert_by_new_rows(story: Story) -> None:
    zoe = story.lead()
    clicks = [story.event(zoe, "clicked") for _ in range(3)]
    assert story.react().promoted == 1
    story.later(seconds=5)
    story.revise(*clicks)
    story.react()
    assert story.score(zoe) == 25
    assert story.stages(zoe) == [("lead", "mql", "promotion"), ("mql", "lead", "correction")]
    (alert,) = story.rows(t.alert)
    assert (alert.status, alert.due_at) == ("closed", None)
    booked = [line.points for line in story.rows(t.score_ledger, kind="engagement")]
    assert booked == [20, 20, 20, -20, -20, -20]
    lead = story.row(t.lead, zoe)
    assert (lead.last_engaged_at, lead.hot_armed) == (lead.consented_at, True)
    story.later(minutes=5)
    assert story.hand_over().told == 0


def test_what_a_person_did_beside_the_machine_stands(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "replied")
    story.event(zoe, "page viewed", path="/pricing")
    scanned = story.event(zoe, "clicked")
    story.react()
    assert story.stages(zoe) == [("lead", "mql", "promotion")]
    story.revise(scanned)
    story.react()
    assert story.score(zoe) == 25 + 25 + 11
    assert story.row(t.lead, zoe).stage == "mql"


def test_an_event_revised_before_anybody_looked_was_never_booked(story: Story) -> None:
    zoe = story.lead()
    story.revise(story.event(zoe, "clicked"))
    assert story.react().events == 2
    assert story.rows(t.score_ledger, kind="engagement") == []


def test_a_machine_that_turns_out_a_person_is_booked_like_one(story: Story) -> None:
    zoe = story.lead()
    clicks = [story.event(zoe, "clicked", verdict=Verdict.MACHINE) for _ in range(3)]
    story.react()
    story.revise(*clicks, verdict=Verdict.HUMAN)
    assert story.react().promoted == 1
    assert story.score(zoe) == 85


def test_an_alert_taken_back_is_raised_anew_where_a_person_was_there_too(story: Story) -> None:
    story.with_rules(hot=Hot(when="score >= 30", fit="B"))
    zoe = story.lead()
    story.event(zoe, "page viewed", path="/pricing")
    scanned = story.event(zoe, "clicked")
    story.react()
    story.revise(scanned)
    story.react()
    first, second = story.rows(t.alert, rule="hot")
    assert (first.status, second.status) == ("closed", "open")
    assert second.event_id == scanned - 1


# --- the ledger


def test_the_event_that_crosses_the_bound_gets_the_rest_and_the_ledger_says_so(story: Story) -> None:
    story.with_rules(engagement=Engagement(points=(PointsRule(event="clicked", points=20, at_most=AtMost(points=50)),)))
    zoe = story.lead()
    for _ in range(4):
        story.event(zoe, "clicked")
        story.react()
        story.later(minutes=1)
    booked = [(line.points, line.note) for line in story.rows(t.score_ledger, kind="engagement")]
    assert booked == [(20, None), (20, None), (10, "at most 50 per week"), (0, "at most 50 per week")]


def test_an_event_that_arrives_late_books_the_later_ones_again(story: Story) -> None:
    story.with_rules(engagement=Engagement(points=(PointsRule(event="clicked", points=20, at_most=AtMost(points=50)),)))
    in_order, late = story.lead("ines"), story.lead("lena")
    story.later(days=5)
    for day in range(4):
        story.event(in_order, "clicked", at=MONDAY + timedelta(days=day))
    for day in (1, 3, 0, 2):
        story.later(days=1)
        story.event(late, "clicked", at=MONDAY + timedelta(days=day))
        story.react()
    assert story.score(late) == story.score(in_order)
    ledger = story.rows(t.score_ledger, kind="engagement", lead_id=late)
    assert {"booked again: another event changed, at most 50 per week"} <= {line.note for line in ledger}


def test_a_revised_event_gives_its_place_under_the_bound_to_later_ones(story: Story) -> None:
    zoe = story.lead()
    clicks = []
    for _ in range(4):
        clicks.append(story.event(zoe, "clicked"))
        story.later(hours=1)
        story.react()
    story.revise(clicks[0])
    story.react()
    points = dict.fromkeys(clicks, 0.0)
    for line in story.rows(t.score_ledger, kind="engagement"):
        points[line.event_id] += line.points
    assert list(points.values()) == [0, 20, 20, 20]


def test_losses_count_against_gains_and_fade_with_them(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "clicked")
    story.event(zoe, "unsubscribed")
    story.react()
    assert story.score(zoe) == 25 + 5
    story.later(days=14)
    assert story.score(zoe) == 25 + 2.5


def test_a_time_that_lies_ahead_is_worth_its_points_and_no_more(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "replied", at=story.now + timedelta(days=28))
    story.react()
    assert story.score(zoe) == 50


def test_fit_follows_the_fields_by_corrections_and_keeps_its_bounds(story: Story) -> None:
    zoe = story.lead(title="Student")
    story.react()
    assert (story.row(t.lead, zoe).fit, story.score(zoe)) == ("D", 5)
    change = update(t.lead).where(t.lead.c.id == zoe)
    with story.database.transaction() as connection:
        connection.execute(change.values(custom={}, readings={}, rescore=True))
    story.react()
    assert story.score(zoe) == 0
    bounds = [(line.points, line.note) for line in story.rows(t.score_ledger, rule="bound")]
    assert bounds == [(10, "fit is 0 to 40")]
    with story.database.transaction() as connection:
        connection.execute(change.values(title=None, country=None, rescore=True))
    story.react()
    assert (story.row(t.lead, zoe).fit, story.score(zoe)) == ("unknown", 0)


def test_a_better_fit_promotes_without_an_event(story: Story) -> None:
    zoe = story.lead(custom={})
    for _ in range(2):
        story.event(zoe, "clicked")
    story.react()
    assert story.row(t.lead, zoe).stage == "lead"
    with story.database.transaction() as connection:
        readings = {"number": {"employees": 60}}
        values = {"custom": {"employees": "60"}, "readings": readings, "rescore": True}
        connection.execute(update(t.lead).values(values))
    assert story.react().promoted == 1


def test_other_rules_look_at_every_lead_again(story: Story) -> None:
    zoe = story.lead()
    story.react()
    story.with_rules(fit=(*LIFECYCLE.fit, FitRule(when='contains(email, "zoe")', points=5)))
    story.react()
    assert (story.row(t.lead, zoe).fit, story.score(zoe)) == ("A", 30)


def test_another_half_life_keeps_the_ledger_and_the_sums_agreed(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "clicked")
    story.event(zoe, "unsubscribed", at=story.now - timedelta(days=3))
    story.react()
    story.later(days=7)
    story.with_rules(engagement=Engagement(half_life=timedelta(days=7), points=LIFECYCLE.engagement.points))
    story.react()
    assert story.score(zoe) == pytest.approx(25 + 10 - 15 * 0.5 ** (10 / 7))


# --- stages


def test_the_highest_stage_whose_condition_holds_is_taken_at_once(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "clicked")
    story.event(zoe, "deal opened")
    story.react()
    assert story.stages(zoe) == [("lead", "opportunity", "promotion")]
    story.event(zoe, "demo requested")
    story.react()
    assert story.row(t.lead, zoe).stage == "opportunity"


def test_a_stage_asks_for_its_required_fields(story: Story) -> None:
    story.with_rules(stages=(StageRule(stage="mql", when="score >= 40", requires=("phone", "custom.employees")),))
    zoe = story.lead()
    story.event(zoe, "clicked")
    assert story.react().promoted == 0
    with story.database.transaction() as connection:
        connection.execute(update(t.lead).values(phone="+4930123456", rescore=True))
    assert story.react().promoted == 1


def test_opens_alone_promote_and_alert_nobody(story: Story) -> None:
    story.with_rules(
        stages=(StageRule(stage="mql", when="score >= 50"), StageRule(stage="sql", when="opened() or clicked()"))
    )
    zoe = story.lead()
    for _ in range(3):
        story.event(zoe, "opened")
    report = story.react()
    assert (report.promoted, report.alerts) == (0, 0)
    assert story.score(zoe) == 85
    story.event(zoe, "page viewed", path="/")  # a person is there, but of what it says, only opens hold
    story.react()
    assert story.row(t.lead, zoe).stage == "mql"
    story.event(zoe, "clicked")
    story.react()
    assert story.row(t.lead, zoe).stage == "sql"


def test_a_score_that_fell_long_enough_ago_demotes_and_the_fall_is_computed(story: Story) -> None:
    zoe = story.lead()
    for _ in range(2):
        story.event(zoe, "clicked")
    story.react()
    assert story.row(t.lead, zoe).stage == "mql"
    # 25 + 40·2^(−t/14) < 35 from day 28 on, and seven days more
    story.later(days=34.9)
    assert story.react().demoted == 0
    story.later(hours=3)
    assert story.react().demoted == 1
    assert story.stages(zoe)[-1] == ("mql", "lead", "demotion")


def test_a_score_that_recovers_in_time_keeps_its_stage(story: Story) -> None:
    zoe = story.lead()
    for _ in range(2):
        story.event(zoe, "clicked")
    story.react()
    story.later(days=32)
    story.react()
    assert story.row(t.lead, zoe).demote_since == MONDAY + timedelta(days=28)
    story.event(zoe, "clicked")
    story.react()
    story.later(minutes=10)
    story.react()
    assert story.row(t.lead, zoe).demote_since is None


def test_who_was_set_back_rises_by_what_is_new_only(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "demo requested")
    story.react()
    story.later(days=1)
    story.event(zoe, "deal opened")
    story.react()
    story.later(days=1)
    story.event(zoe, "deal lost")
    story.react()
    assert story.stages(zoe)[-1] == ("opportunity", "lead", "recycle")
    assert story.row(t.lead, zoe).hold_until is None
    story.later(days=1)
    story.event(zoe, "page viewed", path="/")
    story.react()
    assert story.row(t.lead, zoe).stage == "lead"
    story.event(zoe, "demo requested")
    story.react()
    assert story.row(t.lead, zoe).stage == "sql"


def test_a_stage_may_ask_for_an_alert(story: Story) -> None:
    story.with_rules(stages=(StageRule(stage="mql", when="score >= 40", alert="now"),), hot=None)
    zoe = story.lead()
    click = story.event(zoe, "clicked")
    assert story.react().alerts == 1
    (alert,) = story.rows(t.alert)
    assert (alert.rule, alert.reasons, alert.event_id) == ("stage mql", ["became mql"], click)


# --- hot


def test_an_alert_comes_again_only_after_a_fall_and_the_cool_down(story: Story) -> None:
    zoe = story.lead()

    def clicks(count: int) -> int:
        for _ in range(count):
            story.event(zoe, "clicked")
        made = story.react().alerts
        for alert in story.rows(t.alert, status="open"):
            story.answer(alert.id, "reject", reason="wrong_person")
        return made

    assert clicks(3) == 1
    story.later(days=8)
    assert clicks(1) == 0  # over the line again, but it has not been far below
    story.later(days=12)
    assert clicks(1) == 0  # past the cool-down, but 58 is not below 55
    story.later(days=14)
    assert story.score(zoe) < 55
    assert clicks(3) == 1


def test_the_cool_down_holds_after_a_steep_fall(story: Story) -> None:
    story.with_rules(engagement=Engagement(half_life=timedelta(days=2), points=LIFECYCLE.engagement.points))
    zoe = story.lead()
    for _ in range(3):
        story.event(zoe, "clicked")
    assert story.react().alerts == 1
    (alert,) = story.rows(t.alert)
    story.answer(alert.id, "reject", reason="wrong_person")
    for day, alerts in ((8, 0), (7, 1)):
        story.later(days=day)
        for _ in range(3):
            story.event(zoe, "clicked", source_id=f"{day}-{_}")
        assert story.react().alerts == alerts


def test_who_does_not_fit_is_no_alert_but_a_reply_always_is(story: Story) -> None:
    zoe = story.lead(custom={})
    for _ in range(3):
        story.event(zoe, "clicked")
    assert story.react().alerts == 0
    story.event(zoe, "replied")
    assert story.react().alerts == 1
    (alert,) = story.rows(t.alert)
    assert (alert.rule, alert.due_at) == ("replied", story.now)


def test_new_reasons_join_the_open_alert(story: Story) -> None:
    zoe = story.lead()
    for _ in range(3):
        story.event(zoe, "clicked")
    assert story.react().alerts == 1
    story.later(seconds=30)
    asked = story.event(zoe, "demo requested")
    assert story.react().alerts == 0
    (alert,) = story.rows(t.alert)
    assert alert.reasons == ["score 85 with: clicked", "demo requested"]
    assert (alert.due_at, alert.event_id) == (story.now, asked)
    assert story.hand_over().told == 1
    story.event(zoe, "information requested")
    story.react()
    assert story.hand_over().told == 1  # told again, at once
    assert [row.intent_key for row in story.rows(t.message)] == [f"alert:{alert.id}", f"alert:{alert.id}:2"]


def test_without_a_score_in_it_the_condition_itself_arms_again(story: Story) -> None:
    story.with_rules(hot=Hot(when='did("trial started", within="2 days")', cool_down=timedelta(0), always=()))
    zoe = story.lead()
    for day, alerts in ((0, 1), (1, 0), (3, 0), (0.1, 1)):
        story.later(days=day)
        story.event(zoe, "page viewed" if day == 3 else "trial started", path="/")
        assert story.react().alerts == alerts
        for alert in story.rows(t.alert, status="open"):
            story.answer(alert.id, "reject", reason="wrong_person")


# --- exits and holds


def a_queued_mail(story: Story, lead_id: int, enrollment_id: int, **changes: object) -> int:
    row = {
        "intent_key": f"step:{enrollment_id}:x:1",
        "kind": "step",
        "lead_id": lead_id,
        "enrollment_id": enrollment_id,
        "cadence": "welcome",
        "step": "x",
        "to_address": "zoe@zoe.example",
        "recipient_domain": "zoe.example",
        "sender": "anna",
        "payload": {},
        "status": "queued",
        "created_at": story.now,
        "not_before": story.now,
        "attempt": 0,
        "lease_epoch": 0,
        "visit": 1,
    }
    with story.database.transaction() as connection:
        made = insert(t.message).values(**(row | changes)).returning(t.message.c.id)
        return connection.execute(made).scalar_one()


@pytest.mark.parametrize(
    ("kind", "props", "reason"),
    [
        ("unsubscribed", {}, "unsubscribed"),
        ("complained", {}, "complained"),
        ("bounced", {"class": "hard"}, "bounced"),
    ],
)
def test_who_leaves_gets_nothing_more(story: Story, kind: str, props: dict[str, str], reason: str) -> None:
    zoe = story.lead()
    step = a_queued_mail(story, zoe, 1)
    asked = a_queued_mail(story, zoe, 2, kind="delivery", transactional="delivery")
    story.event(zoe, kind, props=props)
    story.react()
    with story.database.reading() as connection:
        assert suppressed_among(connection, ["zoe@zoe.example"]) == {"zoe@zoe.example": reason}
    assert (story.row(t.message, step).status, story.row(t.message, asked).status) == ("canceled", "queued")
    assert story.row(t.lead, zoe).last_engaged_at is None


def test_a_soft_bounce_changes_nothing(story: Story) -> None:
    zoe = story.lead()
    step = a_queued_mail(story, zoe, 1)
    story.event(zoe, "bounced", props={"class": "soft"})
    story.react()
    assert story.row(t.message, step).status == "queued"
    assert story.rows(t.suppression) == []


def test_who_came_back_before_anybody_looked_is_not_sent_away_again(story: Story) -> None:
    zoe = story.lead()
    with story.database.transaction() as connection:
        unsubscribe(connection, zoe, message_id=None, source="page", now=story.now)
    story.later(seconds=1)
    with story.database.transaction() as connection:
        assert resubscribe(connection, zoe, text="Yes, again", source="page", now=story.now)
    story.react()
    with story.database.reading() as connection:
        assert suppressed_among(connection, ["zoe@zoe.example"]) == {}


def test_a_reply_holds_cancels_its_own_mail_and_counts_as_contact(story: Story) -> None:
    zoe = story.lead()
    own, other = a_queued_mail(story, zoe, 1), a_queued_mail(story, zoe, 2)
    story.event(zoe, "replied", enrollment_id=1)
    story.react()
    lead = story.row(t.lead, zoe)
    assert (lead.hold_reason, lead.hold_until) == ("reply", story.now + timedelta(days=5))
    assert lead.contacted_at == story.now
    assert (story.row(t.message, own).status, story.row(t.message, other).status) == ("canceled", "queued")


def test_an_open_deal_holds_until_it_is_decided(story: Story) -> None:
    zoe = story.lead()
    story.event(zoe, "meeting booked")
    story.event(zoe, "replied")
    story.react()
    lead = story.row(t.lead, zoe)
    assert (lead.hold_reason, lead.hold_until) == ("meeting", story.now + timedelta(days=14))
    story.event(zoe, "deal won", value=12000.0, currency="EUR")
    story.react()
    lead = story.row(t.lead, zoe)
    assert (lead.hold_until, lead.stage) == (None, "customer")


def test_every_event_wakes_the_leads_enrollments(story: Story) -> None:
    zoe = story.lead()
    with story.database.transaction() as connection:
        connection.execute(
            insert(t.enrollment).values(
                lead_id=zoe,
                cadence="welcome",
                version="v",
                run="1",
                status="active",
                priority=50,
                concurrent=False,
                visit=1,
                enrolled_at=story.now,
                due_at=story.now + timedelta(days=3),
            )
        )
    story.event(zoe, "clicked")
    story.react()
    (enrollment,) = story.rows(t.enrollment)
    assert enrollment.due_at == story.now


# --- visitors


def test_a_visitor_is_not_scored_until_it_is_a_lead(story: Story) -> None:
    zoe = story.lead(stage="visitor", consented_at=None)
    for _ in range(3):
        story.event(zoe, "clicked")
    report = story.react()
    assert (report.promoted, report.alerts) == (0, 0)
    assert story.rows(t.score_ledger) == []
    with story.database.transaction() as connection:
        give_consent(connection, zoe, NewConsent(text="Yes", source="form"), now=story.now)
    assert story.react().promoted == 1
    assert story.score(zoe) == 85


def test_a_visitor_who_asks_for_a_demo_is_told_of(story: Story) -> None:
    zoe = story.lead(stage="visitor", consented_at=None)
    story.event(zoe, "demo requested")
    assert story.react().alerts == 1
    assert story.row(t.lead, zoe).stage == "visitor"


def test_many_events_are_drawn_in_batches(story: Story) -> None:
    leads = [story.lead(f"lead{number}") for number in range(3)]
    with story.database.transaction() as connection:
        rows = [
            {
                "lead_id": leads[number % 3], "kind": "page viewed", "path": "/", "at": story.now, "props": {},
                "recorded_at": story.now, "verdict": "human", "source": "load", "source_id": str(number),
            }
            for number in range(1100)
        ]  # fmt: skip
        connection.execute(insert(t.event), rows)
    assert story.react().events == 1100
    assert len(story.rows(t.score_ledger, kind="engagement")) == 1100


def test_two_workers_at_once_book_what_one_would(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "BATCH", 10)
    story = Story(database=postgres_database)
    leads = [story.lead(f"lead{number}") for number in range(4)]
    story.react()
    for number in range(120):
        story.event(leads[number % 4], "clicked", at=story.now - timedelta(hours=number))
    drawn: list[int] = []
    workers = [threading.Thread(target=lambda: drawn.append(story._react().events)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(drawn) == 120
    assert story._react().events == 0
    scores = {story.score(lead_id) for lead_id in leads}
    assert min(scores) >= 25 + 60 * 0.5 ** (7 / 14)
    alone = story.lead("alone")
    for number in range(0, 120, 4):
        story.event(alone, "clicked", at=story.now - timedelta(hours=number))
    story.react()
    assert story.score(alone) == story.score(leads[0])
    assert len([alert for alert in story.rows(t.alert) if alert.status == "open"]) == 5

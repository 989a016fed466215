"""`why` on both databases: one lead's past in order, what comes next and what stands in its way, its score."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, insert, update

from nurture.domain.cadence import ANY_TIME, Cadence, Email, Span, Wait
from nurture.domain.reasons import Reason
from nurture.domain.scoring import sums_of
from nurture.store import tables as t
from nurture.store.cadences import take_up, version_of
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.explain import Asked, Explanation, explain_lead

NOW = datetime(2026, 11, 16, 9, tzinfo=UTC)
BEGAN = NOW - timedelta(days=14)
ASKED = Asked(now=NOW, half_life=timedelta(days=14), engagement_cap=60, zone=ZoneInfo("Europe/Berlin"))
GUIDE = Cadence(
    name="guide",
    title="Guide",
    sender="anna",
    window=ANY_TIME,
    first="intro",
    steps={
        "intro": Email(key="intro", next="pause", template="x", subjects={"a": "Hello", "b": "Hi"}),
        "pause": Wait(key="pause", next="case", span=Span(amount=3, unit="days")),
        "case": Email(key="case", next=None, template="y", subjects={"": "Cases"}),
    },
)


@pytest.fixture
def zoe(database: Database) -> Database:
    """A lead with a cadence to run through and nothing done yet."""
    with database.transaction() as connection:
        take_up(connection, {"guide": GUIDE}, now=BEGAN)
        lead = {"id": 1, "email": "Zoe@example.com", "email_key": "zoe@example.com", "email_domain": "example.com"}
        lead |= {"stage": "lead", "fit": "B", "fit_points": 25, "owner": "ben", "custom": {}, "readings": {}}
        lead |= {"hot_armed": True, "rescore": False, "created_at": BEGAN}
        connection.execute(insert(t.lead).values(lead))
    return database


def why(database: Database) -> Explanation:
    with database.reading() as connection:
        found = explain_lead(connection, "zoe@example.com", ASKED)
    assert found is not None
    return found


def decide(connection: Connection, code: Reason, at: datetime, step: str | None = None, **detail: Any) -> None:
    cadence = "guide" if step else None
    new = NewDecision(lead_id=1, enrollment_id=1, cadence=cadence, step=step, code=code, at=at, detail=detail)
    record_decisions(connection, [new])


def enroll(connection: Connection, step: str | None, **fields: Any) -> None:
    row = {"id": 1, "lead_id": 1, "cadence": "guide", "version": version_of(GUIDE), "run": "1", "status": "active"}
    row |= {"priority": 50, "concurrent": False, "step": step, "visit": 1, "enrolled_at": BEGAN}
    connection.execute(insert(t.enrollment).values(row | fields))


def mail(connection: Connection, status: str, **fields: Any) -> None:
    row = {"id": 7, "intent_key": "m:7", "kind": "step", "lead_id": 1, "enrollment_id": 1, "cadence": "guide"}
    row |= {"step": "intro", "variant": "a", "subject": "Hello", "to_address": "zoe@example.com", "visit": 1}
    row |= {"recipient_domain": "example.com", "sender": "anna", "payload": {}, "status": status, "attempt": 1}
    row |= {"created_at": BEGAN, "not_before": BEGAN, "lease_epoch": 1}
    connection.execute(insert(t.message).values(row | fields))


def score(connection: Connection, *lines: tuple[str, float, datetime, str]) -> None:
    """Lines of the ledger, and the sums that the lead row keeps of them."""
    for kind, points, at, rule in lines:
        row = {"lead_id": 1, "at": at, "kind": kind, "rule": rule, "points": points}
        connection.execute(insert(t.score_ledger).values(row))
    gains, losses = sums_of([(at, points) for kind, points, at, _ in lines if kind == "engagement"], ASKED.half_life)
    connection.execute(update(t.lead).values(gains=gains, losses=losses))


def test_nobody_has_this_address(database: Database) -> None:
    with database.reading() as connection:
        assert explain_lead(connection, "nobody@example.com", ASKED) is None


class TestThePast:
    def test_decisions_deeds_moves_and_answers_in_the_order_of_time(self, zoe: Database) -> None:
        with zoe.transaction() as connection:
            mail(connection, "sent")
            decide(connection, Reason.SENT, BEGAN + timedelta(minutes=1), "intro")
            decide(connection, Reason.ENROLLED, BEGAN)
            event = {"lead_id": 1, "kind": "clicked", "at": BEGAN + timedelta(hours=1), "recorded_at": NOW, "props": {}}
            event |= {"link": "https://acme.example/", "cadence": "guide", "step": "intro", "source": "web"}
            connection.execute(insert(t.event).values(event | {"verdict": "human", "source_id": "1"}))
            connection.execute(insert(t.event).values(event | {"verdict": "machine", "source_id": "2"}))
            connection.execute(insert(t.event).values(event | {"verdict": "human", "source_id": "3", "kind": "opened"}))
            moved_at = BEGAN + timedelta(hours=2)
            move = {"lead_id": 1, "at": moved_at, "before": "lead", "after": "mql", "kind": "promotion"}
            connection.execute(insert(t.stage_history).values(move | {"because": "score >= 50"}))
            decide(connection, Reason.PROMOTED, moved_at, before="lead", after="mql", because="score >= 50")
            consent = {"lead_id": 1, "at": BEGAN - timedelta(hours=1), "before": "visitor", "after": "lead"}
            connection.execute(insert(t.stage_history).values(consent | {"kind": "consent", "because": "form guide"}))
            alert = {"id": 3, "lead_id": 1, "rep": "ben", "to": "sales", "channel": "email", "status": "rejected"}
            alert |= {"rule": "hot", "reasons": [], "evidence": {}, "routed_by": "", "created_at": moved_at}
            connection.execute(insert(t.alert).values(alert))
            answer = {"alert_id": 3, "at": BEGAN + timedelta(hours=3), "answer": "reject", "reason": "timing"}
            connection.execute(insert(t.alert_answer).values(answer | {"rep": "ben", "details": {}}))
        assert [(each["code"], each["text"]) for each in why(zoe).past] == [
            ("consent", "moved from visitor to lead, because form guide"),
            ("enrolled", "entered the cadence"),
            ("sent", "the mail was sent, variant a: “Hello”"),
            ("clicked", "clicked https://acme.example/"),
            ("promoted", "moved up from lead to mql, because score >= 50"),
            ("answered", "ben answered: reject (timing)"),
        ]


class TestWhatComesNext:
    def test_a_wait_tells_what_follows_it_and_when(self, zoe: Database) -> None:
        ends = NOW + timedelta(days=2)
        with zoe.transaction() as connection:
            enroll(connection, "pause", due_at=ends, ready_at=ends, blocked_by="waiting")
        (coming,) = why(zoe).next
        assert coming == {
            "at": ends,
            "cadence": "guide",
            "step": "case",
            "blocked_by": "waiting",
            "text": "the mail “case”: Wed 2026-11-18 10:00 CET, when the wait is over",
        }

    def test_a_cap_stands_in_the_way(self, zoe: Database) -> None:
        free = NOW + timedelta(hours=5)
        with zoe.transaction() as connection:
            enroll(connection, "intro", due_at=free, ready_at=free, blocked_by="capped")
        (coming,) = why(zoe).next
        assert (coming["at"], coming["step"], coming["blocked_by"]) == (free, "intro", "capped")
        assert coming["text"].endswith(", because the lead has had enough mail for now")

    def test_a_cadence_that_goes_first_pauses_it(self, zoe: Database) -> None:
        with zoe.transaction() as connection:
            enroll(connection, "intro", status="paused", due_at=BEGAN, blocked_by="paused")
        (coming,) = why(zoe).next
        assert (coming["blocked_by"], coming["at"]) == ("paused", BEGAN)

    def test_what_is_due_goes_at_the_next_pass(self, zoe: Database) -> None:
        with zoe.transaction() as connection:
            enroll(connection, "intro", due_at=BEGAN)
        (coming,) = why(zoe).next
        assert (coming["blocked_by"], coming["text"]) == (None, "the mail “intro”: at the next pass")

    @pytest.mark.parametrize(
        ("status", "blocked_by", "told"),
        [
            ("queued", None, "the mail “intro”: on its way, now"),
            ("sending", None, "the mail “intro”: on its way, now"),
            ("deferred", "deferred", "the mail “intro”: tried, and again from Mon 2026-11-16 11:00 CET (451 busy)"),
        ],
    )
    def test_a_mail_under_way(self, zoe: Database, status: str, blocked_by: str | None, told: str) -> None:
        with zoe.transaction() as connection:
            later = NOW + timedelta(hours=1)
            deferred = {"not_before": later, "reply": "451 busy"} if status == "deferred" else {}
            mail(connection, status, **deferred)
            enroll(connection, "intro", message_id=7)
        (coming,) = why(zoe).next
        assert (coming["blocked_by"], coming["text"]) == (blocked_by, told)

    def test_the_end_comes_next(self, zoe: Database) -> None:
        with zoe.transaction() as connection:
            enroll(connection, None, due_at=BEGAN)
        (coming,) = why(zoe).next
        assert (coming["step"], coming["text"]) == (None, "the end of the cadence: at the next pass")

    def test_what_has_ended_has_no_next(self, zoe: Database) -> None:
        with zoe.transaction() as connection:
            enroll(connection, "intro", status="exited", exit_reason="goal")
        assert why(zoe).next == []


class TestTheScore:
    def test_it_adds_up_with_what_faded(self, zoe: Database) -> None:
        """25 of fit; 40 clicked a half-life ago is 20 now; 10 for today's form."""
        with zoe.transaction() as connection:
            score(
                connection,
                ("fit", 25, BEGAN, "title"),
                ("engagement", 40, BEGAN, "clicked"),
                ("engagement", 10, NOW, "form submitted"),
            )
        found = why(zoe)
        assert [(each["points"], each["reason"]) for each in found.score] == [
            (25, "fit: title"),
            (40, "engagement: clicked"),
            (10, "engagement: form submitted"),
            (-20, "faded since (engagement halves with time)"),
        ]
        assert (found.lead["score"], found.lead["engagement"]) == (55, 30)

    def test_the_cap_is_a_line(self, zoe: Database) -> None:
        with zoe.transaction() as connection:
            score(connection, ("fit", 25, NOW, "title"), ("engagement", 90, NOW, "clicked"))
        found = why(zoe)
        assert found.score[-1]["points"] == -30
        assert found.lead["score"] == sum(each["points"] for each in found.score) == 85

    def test_losses_never_make_engagement_negative(self, zoe: Database) -> None:
        with zoe.transaction() as connection:
            score(connection, ("fit", 25, NOW, "title"), ("engagement", -15, NOW, "unsubscribed"))
        found = why(zoe)
        assert (found.lead["engagement"], found.lead["score"]) == (0, 25)


def test_who_it_is(zoe: Database) -> None:
    with zoe.transaction() as connection:
        score(connection, ("fit", 25, NOW, "title"))
        connection.execute(insert(t.suppression).values(address_key="zoe@example.com", reason="unsubscribed", at=NOW))
    assert why(zoe).lead == {
        "email": "Zoe@example.com",
        "stage": "lead",
        "fit": "B",
        "engagement": 0,
        "score": 25,
        "owner": "ben",
        "suppression": "unsubscribed",
    }
    with zoe.transaction() as connection:
        connection.execute(update(t.suppression).values(lifted_at=NOW, lifted_note="asked"))
    assert why(zoe).lead["suppression"] is None

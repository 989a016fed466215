"""The guarded moves of a message: each stands on the owner and epoch it was claimed with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, select, update

from nurture.domain.message import MessageKind, MessageStatus
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.due_mail import due_messages
from nurture.store.erasure import erase_lead
from nurture.store.message_views import resolve_as_resend
from nurture.store.messages import NewMessage, queue_message
from nurture.store.outbox import (
    Dotted,
    Lease,
    Outcome,
    claim,
    end_leases,
    mark_dotted,
    record_outcomes,
    settle_unknown,
)
from nurture.store.suppressions import suppress

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(minutes=2)
MINE = Lease(owner="me", until=LATER)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.transaction() as open_connection:
        yield open_connection


def make(connection: Connection, number: int = 1, kind: MessageKind = MessageKind.STEP) -> int:
    """A lead with consent, an active enrollment, and its queued message."""
    lead = {"email": f"zoe{number}@example.com", "email_key": f"zoe{number}@example.com", "email_domain": "example.com"}
    defaults = {"custom": {}, "readings": {}, "stage": "lead", "fit": "unknown", "fit_points": 0.0}
    flags = {"hot_armed": True, "rescore": False, "consented_at": NOW, "created_at": NOW}
    lead_id = connection.execute(insert(t.lead).values(**lead, **defaults, **flags)).inserted_primary_key[0]
    place = {"cadence": "x", "version": "v", "run": "1", "status": "active", "visit": 1, "priority": 50}
    enrollment = connection.execute(
        insert(t.enrollment).values(lead_id=lead_id, concurrent=False, enrolled_at=NOW, step="s", **place)
    )
    enrollment_id = enrollment.inserted_primary_key[0]
    new = NewMessage(
        intent_key=f"step:{enrollment_id}:s:1",
        kind=kind,
        to_address=lead["email"],
        sender="anna",
        lead_id=lead_id,
        enrollment_id=enrollment_id,
    )
    message_id = queue_message(connection, new, now=NOW)
    connection.execute(update(t.enrollment).where(t.enrollment.c.id == enrollment_id).values(message_id=message_id))
    return message_id


def dotted(message_id: int, epoch: int = 1) -> Dotted:
    return Dotted(message_row=message_id, epoch=epoch, subject="Hello", link_set="abc", links=("https://a.example",))


def outcome(message_id: int, status: MessageStatus = MessageStatus.SENT, epoch: int = 1) -> Outcome:
    return Outcome(message_row=message_id, epoch=epoch, status=status, reply_class="accepted", reply="250 ok")


def status_of(connection: Connection, message_id: int) -> str:
    found = connection.scalar(select(t.message.c.status).where(t.message.c.id == message_id))
    assert found is not None
    return str(found)


def mark(connection: Connection, *marks: Dotted, owner: str = "me") -> set[int]:
    return {row for row, _ in mark_dotted(connection, marks, owner=owner, now=NOW, lease_until=LATER)}


def test_an_intent_is_unique(connection: Connection) -> None:
    message_id = make(connection)
    again = NewMessage(intent_key="step:1:s:1", kind=MessageKind.STEP, to_address="zoe1@example.com", sender="anna")
    assert queue_message(connection, again, now=NOW) == message_id


@pytest.mark.parametrize("kind", MessageKind)
def test_whatever_it_is_it_is_tried_for_two_days(connection: Connection, kind: MessageKind) -> None:
    make(connection, kind=kind)
    assert [row.give_up_at for row in due_messages(connection, now=NOW, limit=1)] == [NOW + timedelta(days=2)]


def test_a_message_is_claimed_by_one(connection: Connection) -> None:
    message_id = make(connection)
    assert [row.id for row in due_messages(connection, now=NOW, limit=10)] == [message_id]
    assert claim(connection, {message_id: "1@acme.example"}, MINE) == [message_id]
    assert claim(connection, {message_id: "1@acme.example"}, Lease(owner="other", until=LATER)) == []
    assert due_messages(connection, now=NOW, limit=10) == []


def test_the_dot_needs_the_owner_the_epoch_and_a_reader_who_stayed(connection: Connection) -> None:
    one, two, three, four = (make(connection, number) for number in range(1, 5))
    claim(connection, {each: f"{each}@acme.example" for each in (one, two, three, four)}, MINE)
    assert mark(connection, dotted(one), owner="other") == set()
    assert mark(connection, dotted(one, epoch=2)) == set()
    suppress(connection, "zoe2@example.com", reason="unsubscribed", now=NOW)
    connection.execute(update(t.lead).where(t.lead.c.email == "zoe3@example.com").values(consented_at=None))
    connection.execute(update(t.enrollment).where(t.enrollment.c.message_id == four).values(status="exited"))
    assert mark(connection, dotted(one), dotted(two), dotted(three), dotted(four)) == {one}
    assert mark(connection, dotted(one)) == set(), "one dot an attempt"
    assert connection.scalar(select(t.link_set.c.urls)) == ["https://a.example"]


def test_of_two_claims_of_one_owner_only_the_last_may_end_and_tell(connection: Connection) -> None:
    """Its lease was lost and the message claimed anew while the first attempt was still speaking."""
    message_id = make(connection)
    claim(connection, {message_id: "1@acme.example"}, MINE)
    end_leases(connection, now=NOW, grace=timedelta(0), dead_owners_only="other")
    assert claim(connection, {message_id: "1@acme.example"}, MINE) == [message_id]
    marks = [dotted(message_id), dotted(message_id, epoch=2)]
    assert mark_dotted(connection, marks, owner="me", now=NOW, lease_until=LATER) == {(message_id, 2)}
    stale, last = outcome(message_id), outcome(message_id, epoch=2)
    assert record_outcomes(connection, [stale, last], owner="me", now=NOW) == [last]


def test_what_was_never_spoken_is_no_attempt(connection: Connection) -> None:
    message_id = make(connection)
    for _ in range(3):
        claim(connection, {message_id: "1@acme.example"}, MINE)
        epoch = connection.scalar(select(t.message.c.lease_epoch)) or 0
        given_back = replace(outcome(message_id, epoch=epoch), status=MessageStatus.DEFERRED, is_counted=False)
        record_outcomes(connection, [replace(given_back, not_before=NOW)], owner="me", now=NOW)
    assert connection.scalar(select(t.message.c.attempt)) == 0


def test_a_suppressed_domain_stops_it_too(connection: Connection) -> None:
    message_id = make(connection)
    claim(connection, {message_id: "1@acme.example"}, MINE)
    suppress(connection, "@example.com", reason="by_hand", now=NOW)
    assert mark(connection, dotted(message_id)) == set()


def test_what_a_person_just_asked_for_reaches_who_unsubscribed_but_not_who_complained(connection: Connection) -> None:
    one = make(connection, 1, MessageKind.DELIVERY)
    two = make(connection, 2, MessageKind.DELIVERY)
    claim(connection, {one: "1@acme.example", two: "2@acme.example"}, MINE)
    suppress(connection, "zoe1@example.com", reason="unsubscribed", now=NOW)
    suppress(connection, "zoe2@example.com", reason="complained", now=NOW)
    assert mark(connection, dotted(one), dotted(two)) == {one}


@pytest.mark.parametrize("kind", MessageKind)
def test_nothing_ends_that_was_on_its_way_to_who_is_erased(connection: Connection, kind: MessageKind) -> None:
    message_id = make(connection, kind=kind)
    claim(connection, {message_id: "1@acme.example"}, MINE)
    erase_lead(connection, "zoe1@example.com", secret="a secret", now=NOW)
    assert mark(connection, dotted(message_id)) == set()
    assert status_of(connection, message_id) == "canceled"


def test_an_outcome_needs_the_epoch_and_wakes_the_enrollment(connection: Connection) -> None:
    message_id = make(connection)
    claim(connection, {message_id: "1@acme.example"}, MINE)
    mark(connection, dotted(message_id))
    assert record_outcomes(connection, [outcome(message_id, epoch=2)], owner="me", now=NOW) == []
    assert record_outcomes(connection, [outcome(message_id)], owner="other", now=NOW) == []
    assert len(record_outcomes(connection, [outcome(message_id)], owner="me", now=NOW)) == 1
    assert record_outcomes(connection, [outcome(message_id)], owner="me", now=NOW) == [], "twice changes nothing"
    row = connection.execute(select(t.message)).one()
    assert (row.status, row.sent_at, row.subject, row.lease_until) == ("sent", NOW, "Hello", None)
    assert connection.scalar(select(t.enrollment.c.due_at)) == NOW


def test_a_refusal_clears_the_dot_and_is_tried_again(connection: Connection) -> None:
    message_id = make(connection)
    claim(connection, {message_id: "1@acme.example"}, MINE)
    mark(connection, dotted(message_id))
    refused = Outcome(
        message_row=message_id,
        epoch=1,
        status=MessageStatus.DEFERRED,
        reply_class="soft",
        reply="451 later",
        not_before=LATER,
    )
    record_outcomes(connection, [refused], owner="me", now=NOW)
    row = connection.execute(select(t.message)).one()
    assert (row.status, row.dotted_at, row.not_before, row.ended_at) == ("deferred", None, LATER, None)
    assert connection.scalar(select(t.enrollment.c.due_at)) is None
    assert claim(connection, {message_id: "other@acme.example"}, MINE) == [message_id]
    row = connection.execute(select(t.message)).one()
    assert (row.attempt, row.lease_epoch, row.message_id) == (2, 2, "1@acme.example")


@pytest.mark.parametrize("dead_owner", [False, True])
def test_a_lease_that_ends_decides_by_the_dot(connection: Connection, dead_owner: bool) -> None:
    one, two = make(connection, 1), make(connection, 2)
    claim(connection, {one: "1@acme.example", two: "2@acme.example"}, MINE)
    mark(connection, dotted(two))
    grace = timedelta(seconds=30)
    early, _ = end_leases(connection, now=LATER, grace=grace, dead_owners_only=None)
    assert early == [], "not before the grace is over"
    when, dead = (NOW, "successor") if dead_owner else (LATER + timedelta(seconds=31), None)
    again, unknown = end_leases(connection, now=when, grace=grace, dead_owners_only=dead)
    assert (again, [row.id for row in unknown]) == ([one], [two])
    assert (status_of(connection, one), status_of(connection, two)) == ("deferred", "unknown")
    assert end_leases(connection, now=when, grace=grace, dead_owners_only=dead) == ([], [])
    assert mark(connection, dotted(one)) == set(), "whoever lost the lease writes no dot"


def test_a_late_reply_of_the_same_attempt_settles_unknown(connection: Connection) -> None:
    message_id = make(connection)
    claim(connection, {message_id: "1@acme.example"}, MINE)
    mark(connection, dotted(message_id))
    end_leases(connection, now=NOW, grace=timedelta(0), dead_owners_only="successor")
    assert len(record_outcomes(connection, [outcome(message_id)], owner="me", now=LATER)) == 1
    assert status_of(connection, message_id) == "sent"


def test_a_persons_deed_settles_unknown_and_nothing_else(connection: Connection) -> None:
    one, two = make(connection, 1), make(connection, 2)
    claim(connection, {one: "1@acme.example"}, MINE)
    mark(connection, dotted(one))
    end_leases(connection, now=NOW, grace=timedelta(0), dead_owners_only="successor")
    settle_unknown(connection, [one, two], now=LATER)
    assert (status_of(connection, one), status_of(connection, two)) == ("sent", "queued")


def test_what_a_person_sends_again_needs_no_enrollment_but_still_a_reader_who_stayed(connection: Connection) -> None:
    one, two = make(connection, 1), make(connection, 2)
    claim(connection, {one: "1@acme.example", two: "2@acme.example"}, MINE)
    mark(connection, dotted(one), dotted(two))
    end_leases(connection, now=NOW, grace=timedelta(0), dead_owners_only="successor")
    connection.execute(update(t.enrollment).values(status="completed", message_id=None))
    much_later = NOW + timedelta(hours=1)
    for each in (one, two):
        resolve_as_resend(connection, each, now=much_later)
    suppress(connection, "zoe2@example.com", reason="unsubscribed", now=much_later)
    claim(connection, {one: "1@acme.example", two: "2@acme.example"}, MINE)
    epochs = dict(connection.execute(select(t.message.c.id, t.message.c.lease_epoch)).all())
    assert mark(connection, dotted(one, epochs[one]), dotted(two, epochs[two])) == {one}

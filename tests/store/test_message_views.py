"""The list of messages, and a person's decision on one whose outcome nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from nurture.domain.message import MessageStatus
from nurture.domain.problem import Problem
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.message_views import list_messages, parse_filters, resolve_as_resend, resolve_as_sent

NOW = datetime(2026, 11, 10, 9, tzinfo=UTC)
DOTTED = NOW - timedelta(hours=1)
LEASE_END = NOW - timedelta(minutes=40)


def add(connection: Connection, message_id: int, **fields: Any) -> None:
    row = {
        "id": message_id,
        "intent_key": f"m:{message_id}",
        "kind": "step",
        "lead_id": message_id,
        "cadence": "welcome",
        "step": "hello",
        "visit": 1,
        "to_address": f"{message_id}@example.com",
        "recipient_domain": "example.com",
        "sender": "anna",
        "payload": {},
        "status": "sent",
        "created_at": NOW - timedelta(days=1) + timedelta(minutes=message_id),
        "not_before": NOW,
        "attempt": 1,
        "lease_epoch": 3,
        **fields,
    }
    connection.execute(insert(t.message).values(row))


def add_unknown(connection: Connection, message_id: int, **fields: Any) -> None:
    lease = {"lease_owner": "gone", "lease_until": LEASE_END, "dotted_at": DOTTED, "ended_at": LEASE_END}
    give_up = NOW + timedelta(days=1) + timedelta(minutes=message_id)
    add(connection, message_id, **{"status": "unknown", "give_up_at": give_up, **lease, **fields})


def row(connection: Connection, message_id: int) -> Any:
    return connection.execute(select(t.message).where(t.message.c.id == message_id)).one()


class TestTheList:
    def test_newest_first_with_the_fields_of_the_command(self, database: Database) -> None:
        with database.transaction() as connection:
            add(connection, 1)
            add(connection, 2, variant="a", subject="Hello")
        with database.reading() as connection:
            found = list_messages(connection, [])
        assert [each["id"] for each in found] == [2, 1]
        assert set(found[0]) >= {
            "id", "email", "cadence", "step", "variant", "status", "subject", "message_id", "created_at", "sent_at",
            "reply",
        }  # fmt: skip
        assert found[0]["email"] == "2@example.com"

    @pytest.mark.parametrize(
        ("where", "ids"),
        [
            ('status == "unknown"', [3]),
            ("status=unknown", [3]),
            ("cadence != 'welcome'", [4, 3]),
            ('cadence == "welcome" and variant == "a"', [2]),
            ('cadence = ""', [4]),
            ("email == 1@example.com", [1]),
            ('subject == "Buy and save"', [2]),
        ],
    )
    def test_where(self, database: Database, where: str, ids: list[int]) -> None:
        with database.transaction() as connection:
            add(connection, 1)
            add(connection, 2, variant="a", subject="Buy and save")
            add(connection, 3, status="unknown", cadence="guide")
            add(connection, 4, kind="alert", cadence=None, step=None)
        with database.reading() as connection:
            assert [each["id"] for each in list_messages(connection, parse_filters(where))] == ids

    def test_limit(self, database: Database) -> None:
        with database.transaction() as connection:
            for message_id in range(1, 6):
                add(connection, message_id)
        with database.reading() as connection:
            assert [each["id"] for each in list_messages(connection, [], limit=2)] == [5, 4]

    @pytest.mark.parametrize(
        ("where", "told"),
        [
            ("", "cannot read it at column 1"),
            ("stage == 'lead'", "a message has no field 'stage'"),
            ("status == 'lost'", "no status 'lost': use queued, sending, sent"),
            ("status == 'sent' or status == 'unknown'", "cannot read it at column 18"),
            ("status == 'sent' and", "cannot read it at column 18"),
            ("status ==", "cannot read it at column 1"),
        ],
    )
    def test_what_cannot_be_read_is_one_line(self, where: str, told: str) -> None:
        with pytest.raises(Problem) as problem:
            parse_filters(where)
        assert told in str(problem.value)
        assert "\n" not in str(problem.value)


class TestResolve:
    def test_as_sent(self, database: Database) -> None:
        with database.transaction() as connection:
            add_unknown(connection, 1)
            resolve_as_sent(connection, 1, now=NOW)
            found = row(connection, 1)
        assert (found.status, found.sent_at, found.ended_at) == ("sent", DOTTED, NOW)

    def test_as_resend_it_is_the_same_intent_under_the_next_epoch(self, database: Database) -> None:
        with database.transaction() as connection:
            add_unknown(connection, 1)
            resolve_as_resend(connection, 1, now=NOW)
            found = row(connection, 1)
        assert (found.status, found.lease_epoch, found.attempt) == ("queued", 4, 1)
        assert (found.dotted_at, found.lease_until, found.ended_at) == (None, None, None)
        assert (found.not_before, found.resent_at) == (NOW, NOW)
        assert found.give_up_at == NOW + timedelta(days=2)

    def test_no_resend_while_the_attempt_may_still_be_under_way(self, database: Database) -> None:
        with database.transaction() as connection:
            add_unknown(connection, 1)
        for early in (timedelta(0), timedelta(minutes=29, seconds=59)):
            told = pytest.raises(Problem, match=r"^message 1: .* from 2026-11-10 08:50:00 UTC on$")
            with told, database.transaction() as connection:
                resolve_as_resend(connection, 1, now=LEASE_END + early)
        with database.transaction() as connection:
            assert row(connection, 1).status == "unknown"
            resolve_as_resend(connection, 1, now=LEASE_END + timedelta(minutes=30))

    def test_nothing_is_sent_again_to_who_was_erased(self, database: Database) -> None:
        with database.transaction() as connection:
            add_unknown(connection, 1)
            connection.execute(update(t.message).values(to_address=""))
        told = pytest.raises(Problem, match=r"^message 1: whoever it was for was erased")
        with told, database.transaction() as connection:
            resolve_as_resend(connection, 1, now=NOW)
        with database.transaction() as connection:
            resolve_as_sent(connection, 1, now=NOW)

    def test_it_may_be_marked_as_sent_at_any_time(self, database: Database) -> None:
        with database.transaction() as connection:
            add_unknown(connection, 1)
            resolve_as_sent(connection, 1, now=LEASE_END)

    @pytest.mark.parametrize("status", [each.value for each in MessageStatus if each is not MessageStatus.UNKNOWN])
    def test_nothing_but_an_unknown_one_is_resolved(self, database: Database, status: str) -> None:
        with database.transaction() as connection:
            add(connection, 1, status=status)
        for resolve in (resolve_as_sent, resolve_as_resend):
            with database.transaction() as connection, pytest.raises(Problem, match=f"^message 1 is {status}: "):
                resolve(connection, 1, now=NOW)

    def test_twice_is_refused(self, database: Database) -> None:
        with database.transaction() as connection:
            add_unknown(connection, 1)
            resolve_as_resend(connection, 1, now=NOW)
            with pytest.raises(Problem, match=r"^message 1 is queued: "):
                resolve_as_resend(connection, 1, now=NOW)

    def test_a_late_word_of_the_old_attempt_means_nothing_after_a_resend(self, database: Database) -> None:
        with database.transaction() as connection:
            add_unknown(connection, 1)
            old = row(connection, 1).lease_epoch
            resolve_as_resend(connection, 1, now=NOW)
            m = t.message.c
            late = update(t.message).where(m.id == 1, m.lease_epoch == old).values(status="sent")
            assert connection.execute(late).rowcount == 0

    def test_one_that_does_not_exist(self, database: Database) -> None:
        with database.transaction() as connection, pytest.raises(Problem, match=r"^message 9 does not exist: "):
            resolve_as_sent(connection, 9, now=NOW)

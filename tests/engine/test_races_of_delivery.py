"""Two who deliver, or who deliver while others decide, at once on PostgreSQL: neither waits for the other in a ring."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from nurture.domain.message import MessageStatus, ReplyClass
from nurture.pipeline.attendance import Attendance
from nurture.pipeline.domains import Domains
from nurture.store import tables as t
from nurture.store.domain_health import DomainPause, begin_pause, lock_pauses
from nurture.store.due_mail import due_messages
from nurture.store.outbox import Dotted, Lease, Outcome, claim, mark_dotted, renew
from nurture.store.presence import absent
from nurture.store.unsubscribes import unsubscribe
from tests.engine.test_races import Aside, waits_for_a_lock
from tests.engine.world import HEAD, MONDAY, World, add_leads, in_a_loop, make_root, open_world, steps
from tests.migrated import emptied

ROW: Any = SimpleNamespace(id=1, recipient_domain="shut.example", sender="anna")
PAIR = ("shut.example", "anna")


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[World]:
    """Two leads, each with a mail that is due."""
    emptied(postgres_url)
    root = make_root(tmp_path / "workspace", url=postgres_url, tour=HEAD + steps("mail:a"))
    opened = open_world(root, sole_worker=False)
    add_leads(opened.database, "zoe", "max")
    opened.stages.enroll()
    opened.stages.advance()
    yield opened
    opened.database.close()


def test_a_lease_is_renewed_without_waiting_for_what_is_being_marked(world: World) -> None:
    first, second = (row.id for row in world.rows(t.message, "id"))
    later = MONDAY + timedelta(minutes=2)
    with world.database.transaction() as connection:
        claim(connection, {first: "m1", second: "m2"}, Lease(owner="me", until=MONDAY + timedelta(minutes=1)))
    with world.database.transaction() as marking:
        mark = Dotted(message_row=first, epoch=1, subject="a", link_set=None, links=())
        assert mark_dotted(marking, [mark], owner="me", now=MONDAY, lease_until=MONDAY + timedelta(minutes=9))

        def renewing() -> None:
            with world.database.transaction() as connection:
                renew(connection, [second, first], Lease(owner="me", until=later))

        Aside(renewing).join()
        assert {row.id: row.lease_until for row in world.rows(t.message, "id", "lease_until")}[second] == later


def test_who_unsubscribes_does_not_wait_for_a_claim(world: World) -> None:
    (lead_id,) = [row.id for row in world.rows(t.lead, "id", "email_key") if row.email_key == "zoe@example.com"]
    with world.database.transaction() as claiming:
        assert len(due_messages(claiming, now=MONDAY, limit=10)) == 2

        def leaving() -> None:
            with world.database.transaction() as connection:
                unsubscribe(connection, lead_id, message_id=None, source="link", now=MONDAY)

        Aside(leaving).join()
    assert world.once().sent == 1
    assert sorted(row.status for row in world.rows(t.message, "status")) == ["canceled", "sent"]


def blocked(domains: Domains) -> tuple[list[Outcome], Any]:
    """A server's block of that sender, as the loop notes it at once; what its commit is told."""
    domains.note_block(ROW, "no", MONDAY)
    outcome = Outcome(
        message_row=1,
        epoch=1,
        status=MessageStatus.DEFERRED,
        reply_class=ReplyClass.BLOCK.value,
        reply="no",
        is_answer=True,
        not_before=MONDAY,
    )
    return [outcome], {outcome.claim: SimpleNamespace(row=ROW, is_trying=False)}


def test_a_pause_that_just_began_is_not_forgotten_where_a_claim_reads_what_was_before(world: World) -> None:
    domains = Domains()
    outcomes, held = blocked(domains)
    with world.database.transaction() as recording:
        domains.judge(recording, outcomes, held, MONDAY, lambda _: MONDAY)
        with world.database.reading() as claiming:
            domains.look_again(claiming)
    domains.committed()
    pause = domains.closed_to(ROW, MONDAY)
    assert pause is not None and pause.until > MONDAY


def test_nobody_tries_after_a_pause_that_another_just_made_longer(world: World) -> None:
    with world.database.transaction() as connection:
        begin_pause(connection, *PAIR, reply="no", now=MONDAY)
    later = MONDAY + timedelta(days=1)
    domains, barred = Domains(), []

    def claiming() -> None:
        with world.database.transaction() as connection:
            domains.look(connection, later)
            barred.extend(domains.gate([ROW], later).barred)

    with world.database.transaction() as recording:
        over = DomainPause(domain=PAIR[0], sender=PAIR[1], since=MONDAY, until=later, reply="no")
        lock_pauses(recording, [over])
        aside = Aside(claiming)
        waits_for_a_lock(world.database, aside)
        begin_pause(recording, *PAIR, reply="no", now=later)
    aside.join()
    assert barred == [ROW.id]


def test_links_that_are_being_left_are_left_though_the_pass_ends(world: World) -> None:
    left = []

    class Slow:
        address = SimpleNamespace(connections=2)
        connection_count = 0
        leaves = asyncio.Event()

        async def shrink(self) -> None:
            self.leaves.set()
            await asyncio.sleep(0.05)
            left.append(self)

    async def story() -> None:
        attendance, server = Attendance(world.database, "me"), Slow()
        attending = asyncio.create_task(attendance.attend({"primary": server}, at_least=0, close=False))  # type: ignore[dict-item]
        await server.leaves.wait()
        attending.cancel()
        await asyncio.sleep(0.1)
        attendance.end()

    in_a_loop(story)
    assert left


def test_a_drain_while_the_database_is_away_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliverer = world.stages.deliverer

    def away(*_: Any) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(deliverer, "_write_counts", away)

    async def story() -> None:
        await deliverer.attend()
        await deliverer.close()

    in_a_loop(story)
    with world.database.reading() as connection:
        assert absent(connection, [deliverer.owner]) == [deliverer.owner]

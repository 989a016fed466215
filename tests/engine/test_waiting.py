"""Messages that wait: for a pause, a hold or a server; and what they cost meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, update

from nurture.delivery.replies import Reply
from nurture.domain.message import MessageStatus, ReplyClass
from nurture.store import tables as t
from nurture.store.due_mail import due_messages
from nurture.store.enrollments import arrange, cancel_waiting, claim_due, end, paused_too_long
from nurture.store.events import wake_enrollments
from tests.engine.world import HEAD, MONDAY, World, add_leads, make_root, open_world, steps

GREY = Reply(klass=ReplyClass.SOFT, text="451 4.7.1 later")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a", "wait: 1 day", "mail:b")))
    add_leads(opened.database, "zoe")
    yield opened
    opened.database.close()


def test_a_pause_is_no_time_in_which_sending_failed_and_is_told_once(world: World) -> None:
    world.hop.refuse["zoe@example.com"] = GREY
    world.once()
    e = t.enrollment
    with world.database.transaction() as connection:
        connection.execute(update(e).values(status="paused", paused_at=MONDAY, blocked_by="paused"))
    world.hop.refuse.clear()
    for _ in range(3 * 24):
        world.advance(hours=1)
    assert world.decisions()["paused"] <= 1
    with world.database.transaction() as connection:
        arrange(connection, [1], now=world.clock())
    world.advance(hours=1)
    assert world.hop.arrived == [("zoe", "a")]


def test_a_hold_that_ends_early_lets_waiting_mail_go_and_is_told_once(world: World) -> None:
    world.stages.enroll()
    world.stages.advance()

    def hold(until: object) -> None:
        with world.database.transaction() as connection:
            connection.execute(update(t.lead).values(hold_until=until, hold_reason="claim"))
            wake_enrollments(connection, [1], now=world.clock())

    hold(MONDAY + timedelta(days=14))
    for _ in range(24):
        world.advance(hours=1)
    assert world.hop.arrived == []
    assert world.decisions()["held"] == 1
    hold(None)
    world.advance(hours=1)
    assert world.hop.arrived == [("zoe", "a")]


def test_mail_that_comes_late_keeps_its_distance_from_what_went_meanwhile(tmp_path: Path) -> None:
    config = '[limits]\nper_lead = ["1 per day"]\n'
    one = HEAD + "concurrent: true\n" + steps("mail:a")
    two = HEAD + "concurrent: true\n" + steps("wait: 25 hours", "mail:b")
    world = open_world(make_root(tmp_path / "workspace", config=config, one=one, two=two))
    add_leads(world.database, "zoe")
    world.hop.refuse["zoe@example.com"] = GREY
    world.once()
    for _ in range(24):
        world.advance(hours=1)
    world.hop.refuse.clear()
    m = t.message.c
    with world.database.transaction() as connection:
        connection.execute(update(t.message).where(m.step == "a").values(not_before=MONDAY + timedelta(hours=27)))
    for _ in range(4 * 24):
        world.advance(hours=1)
    times = sorted(kept.at for kept in world.hop.kept)
    assert sorted(subject for _, subject in world.hop.arrived) == ["a", "b"]
    assert times[1] - times[0] >= timedelta(days=1)
    world.database.close()


def test_superseded_is_told_and_leaves_nobody_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nurture.pipeline.advance.BATCH", 2)
    one, two = HEAD + "priority: 60\n" + steps("wait: 60 days"), HEAD + steps("mail:b")
    world = open_world(make_root(tmp_path / "workspace", one=one, two=two))
    add_leads(world.database, "zoe", "max", "ada", "eve", "bob")
    world.once()
    world.advance(days=15)
    ended = Counter(row.exit_reason for row in world.rows(t.enrollment, "exit_reason"))
    assert ended == {None: 5, "superseded": 5}
    assert world.decisions()["exited"] == 5
    world.database.close()


def test_no_look_reads_a_whole_table(world: World) -> None:
    """Each statement that runs every few seconds, or for each lead that leaves, has its index on SQLite."""
    plans: list[str] = []

    @event.listens_for(world.database.engine, "before_cursor_execute")
    def _plan(connection, _cursor, statement, parameters, _context, many):  # type: ignore[no-untyped-def]
        if statement.split()[0] in ("SELECT", "UPDATE"):
            given = parameters[0] if many else parameters
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", given)
            plans.extend(f"{row[3]}: {statement}" for row in rows)

    with world.database.transaction() as connection:
        claim_due(connection, now=MONDAY, limit=500)
        paused_too_long(connection, now=MONDAY, max_pauses={"v": timedelta(days=14)}, limit=500)
        due_messages(connection, now=MONDAY, limit=250)
        cancel_waiting(connection, [(1, 1), (2, 2)], now=MONDAY)
        end(connection, [1, 2], reason="goal", now=MONDAY)
        wake_enrollments(connection, [1], now=MONDAY)
    scans = [
        plan for plan in plans if plan.startswith(("SCAN message", "SCAN enrollment")) and "INDEX" not in plan[:60]
    ]
    assert scans == []
    assert MessageStatus.QUEUED == "queued"

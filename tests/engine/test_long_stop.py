"""After a long stop nothing old pours out: an unusual backlog is held, said, and let go by a person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from nurture.cli.main import app
from nurture.pipeline.deliver import AGAIN_S
from nurture.store import tables as t
from nurture.store.backlog import let_backlog_go
from nurture.store.pauses import backlogs
from tests.engine.world import HEAD, World, add_leads, in_a_loop, make_root, open_world, steps

TWO = HEAD + "max_late: 8 days\n" + steps("mail:first", "wait: 3 days", "mail:second")
FEW = "hold_over = 4\n"
NAMES = [f"lead{number}" for number in range(6)]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """Six leads who had the first mail; more than four of anything due at once is a backlog."""
    world = open_world(make_root(tmp_path / "w", url=database_url, config=FEW, welcome=TWO))
    add_leads(world.database, *NAMES)
    assert world.once().sent == 6
    yield world
    world.database.close()


def test_a_backlog_is_held_and_let_go(world: World) -> None:
    world.clock.advance(timedelta(days=7))
    assert world.once().sent == 0
    assert world.decisions()["held"] == 6
    world.clock.advance(timedelta(hours=5))
    assert world.once().sent == 0, "looked at again, and still held"
    with world.database.transaction() as connection:
        assert set(backlogs(connection)) == {"welcome"}
        assert let_backlog_go(connection, ["welcome"], now=world.clock()) == ["welcome"]
        assert let_backlog_go(connection, ["welcome"], now=world.clock()) == []
    assert world.once().sent == 6
    assert [subject for _, subject in world.hop.arrived[6:]] == ["second"] * 6


def test_what_is_too_late_when_it_is_let_go_is_left_out(world: World) -> None:
    world.clock.advance(timedelta(days=10))
    assert world.once().sent == 0
    world.clock.advance(timedelta(days=2))  # the second mail was due nine days ago, and may be eight late
    with world.database.transaction() as connection:
        let_backlog_go(connection, ["welcome"], now=world.clock())
    assert world.once().sent == 0
    assert world.decisions()["skipped_late"] == 6


def test_a_pass_that_slept_with_its_host_looks_before_it_claims_again(world: World) -> None:
    names = [f"other{number}" for number in range(6)]
    add_leads(world.database, *names)
    world.stages.enroll()
    world.stages.advance()
    with world.database.transaction() as connection:  # all but the first are due while the host sleeps
        due = update(t.message).where(t.message.c.status == "queued", t.message.c.lead_id > 7)
        connection.execute(due.values(not_before=world.clock() + timedelta(days=1)))

    async def sleeps(_: str) -> None:
        if len(world.hop.arrived) == 6:
            world.clock.advance(timedelta(days=2, hours=1))
            await asyncio.sleep(2 * AGAIN_S)  # it claims again while this one is under way

    world.hop.stalls = sleeps
    in_a_loop(world.stages.work("deliver"))
    assert len(world.hop.arrived) == 7, "the one that was under way"
    with world.database.reading() as connection:
        assert set(backlogs(connection)) == {"welcome"}


def test_new_leads_do_not_wait_for_an_old_backlog(world: World) -> None:
    world.clock.advance(timedelta(days=7))
    world.once()
    add_leads(world.database, "new")
    assert world.once().sent == 1
    assert world.hop.arrived[-1] == ("new", "first")
    world.advance(days=1)
    world.advance(days=1)
    assert world.advance(days=1).sent == 1, "and go on in their cadence"
    assert world.hop.arrived[-1] == ("new", "second")


def test_who_leaves_meanwhile_leaves(world: World) -> None:
    world.clock.advance(timedelta(days=7))
    world.once()
    with world.database.transaction() as connection:
        connection.execute(t.lead.update().where(t.lead.c.id == 1).values(stage="customer"))
    world.advance(hours=1)
    (left,) = [row for row in world.rows(t.enrollment, "id", "lead_id", "status") if row.status == "exited"]
    assert left.lead_id == 1


@pytest.mark.parametrize("days", [1.9, 7])
def test_a_short_stop_or_a_small_backlog_is_nothing_unusual(world: World, days: float) -> None:
    world.clock.advance(timedelta(days=2))
    world.once()  # at work until a day before the second mails are due
    if days > 2:
        with world.database.transaction() as connection:  # two are left: no backlog of more than four
            connection.execute(t.enrollment.update().where(t.enrollment.c.lead_id > 2).values(status="exited"))
    sent = 6 if days < 2 else 2
    assert world.advance(days=days).sent == sent


def test_a_first_pass_holds_nothing(tmp_path: Path) -> None:
    world = open_world(make_root(tmp_path / "w", config=FEW, welcome=TWO))
    add_leads(world.database, *NAMES)
    assert world.once().sent == 6


def test_mail_that_was_queued_before_the_stop_is_held_and_alerts_are_not(world: World) -> None:
    with world.database.transaction() as connection:
        old = t.message.c.kind == "step"
        connection.execute(t.message.update().where(old).values(status="queued", give_up_at=None, sent_at=None))
        for kind in ("alert", "confirmation"):
            connection.execute(
                t.message.insert().values(
                    kind=kind,
                    intent_key=kind,
                    lead_id=None,
                    sender="anna",
                    to_address="ben@acme.example",
                    recipient_domain="acme.example",
                    status="queued",
                    attempt=0,
                    lease_epoch=0,
                    created_at=world.clock(),
                    not_before=world.clock(),
                    payload={"alert": 1, "form": "none", "opt_in": 1},
                )
            )
    report = world.advance(days=7)
    assert (report.sent, report.failed) == (0, 2), "what is no cadence's was tried"
    states = {row.kind: row.status for row in world.rows(t.message, "id", "kind", "status")}
    assert states == {"step": "queued", "alert": "failed", "confirmation": "failed"}


def test_every_stage_that_an_engine_wakes_looks_first(world: World) -> None:
    world.clock.advance(timedelta(days=7))
    asyncio.run(_work(world, "advance"))
    with world.database.reading() as connection:
        assert set(backlogs(connection)) == {"welcome"}


async def _work(world: World, stage: str) -> None:
    await world.stages.work(stage)()


def test_release_and_why_speak_of_it(tmp_path: Path) -> None:
    world = open_world(make_root(tmp_path / "w", config=FEW, welcome=TWO))
    add_leads(world.database, *NAMES)
    world.once()
    world.advance(days=7)
    root = str(world.installation.root)
    told = CliRunner().invoke(app, ["why", "lead1@example.com", "--json", "--workspace", root])
    (comes,) = json.loads(told.stdout)["next"]
    assert comes["blocked_by"] == "held"
    assert "nurture release welcome" in comes["text"]
    listed = CliRunner().invoke(app, ["pause", "--workspace", root])
    assert "backlog:welcome" in listed.stdout
    assert "6 due" in listed.stdout
    mail = CliRunner().invoke(app, ["messages", "--workspace", root])
    assert "stopped: backlog:welcome" in mail.stderr
    released = CliRunner().invoke(app, ["release", "--workspace", root])
    assert "welcome: its backlog goes out" in released.stdout
    again = CliRunner().invoke(app, ["release", "--json", "--workspace", root])
    assert json.loads(again.stdout)["backlog"] == []

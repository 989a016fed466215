"""The soak in small, and that what it looks for would be found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from nurture.domain.message import MessageStatus
from nurture.store import tables as t
from soak.promises import Promises
from tests.conftest import DATA
from tests.engine.world import MONDAY, World, add_leads, make_root, open_world, steps

HEAD = "segment: stage == 'lead'\nenroll: current_and_future\nwindow: any\n"


def test_a_week_of_a_small_company_breaks_no_promise() -> None:
    command = [sys.executable, "-m", "soak", "--leads", "60", "--days", "8", "--step-minutes", "120"]
    done = subprocess.run(command, cwd=DATA.parent.parent, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("soak: 480 lead-days"), done.stdout


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(make_root(tmp_path / "workspace", welcome=HEAD + steps("mail:a", "wait: 30 days", "mail:b")))
    add_leads(opened.database, "zoe")
    opened.once()
    yield opened
    opened.database.close()


BREAKAGES = {
    "outside of its window": {"sent_at": MONDAY - timedelta(days=1)},
    "sent twice": {"step": "a"},
    "after its enrollment": {},
    "to a suppressed": {},
    "more than 1 in 1 day": {"sent_at": MONDAY + timedelta(hours=2)},
    "hangs": {},
}


@pytest.mark.parametrize("wrong", BREAKAGES)
def test_each_broken_promise_is_found(world: World, wrong: str) -> None:
    promises = Promises(world.database, world.hop)
    with world.database.transaction() as connection:
        e, m = t.enrollment, t.message
        connection.execute(update(m).values(sent_at=MONDAY))
        row = dict(connection.execute(m.select()).mappings().one())
        del row["id"]
        more = {"intent_key": "another", "status": MessageStatus.SENT.value, "message_id": "x", "step": "b"}
        match wrong:
            case "after its enrollment":
                connection.execute(update(e).values(status="exited", ended_at=MONDAY - timedelta(hours=1)))
            case "to a suppressed":
                key = "zoe@example.com"
                at = MONDAY - timedelta(hours=1)
                connection.execute(t.suppression.insert().values(address_key=key, reason="cold", at=at))
            case "hangs":
                connection.execute(update(e).values(due_at=None, message_id=None))
            case _:
                connection.execute(m.insert().values({**row, **more, **BREAKAGES[wrong]}))
    broken = promises.broken_by(world.clock() + timedelta(hours=3))
    assert any(wrong in line for line in broken), broken


def test_nothing_broken_nothing_found(world: World) -> None:
    world.advance(hours=1)
    with world.database.transaction() as connection:
        connection.execute(update(t.message).values(sent_at=MONDAY))
    assert Promises(world.database, world.hop).broken_by(world.clock()) == []

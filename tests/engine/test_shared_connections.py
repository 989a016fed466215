"""`connections` of a server holds over all workers, as the server counts them, and each of them gets its share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nurture.rehearsal.clock import VirtualClock
from nurture.store import tables as t
from tests.engine.test_two_workers import all_at_once
from tests.engine.world import HEAD, MONDAY, World, add_leads, in_a_loop, make_root, open_world, steps
from tests.migrated import emptied
from tests.receiving import Receiving, receiving

CONNECTIONS = 4
LEADS = 300


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiving]:
    with receiving(tmp_path / "mail", "--pace", "0.02") as running:
        yield running


@pytest.fixture
def workers(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    postgres_url: str,
    receiver: Receiving,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[World]]:
    monkeypatch.setattr("nurture.pipeline.deliver.CLAIM_AHEAD", 10)
    monkeypatch.setattr("nurture.pipeline.deliver.ATTEND_EVERY_S", 0.1)
    monkeypatch.setattr("nurture.store.slots.ASK_AGAIN_S", 0.1)
    emptied(postgres_url)
    root = make_root(tmp_path / "workspace", url=postgres_url, tour=HEAD + steps("mail:a"))
    config = (root / "config.toml").read_text()
    there = config.replace("port = 9\n", f"port = {receiver.port}\n")
    (root / "config.toml").write_text(there.replace("connections = 2", f"connections = {CONNECTIONS}"))
    clock = VirtualClock(MONDAY)
    opened = [open_world(root, clock=clock, sole_worker=False, in_memory=False) for _ in range(request.param)]
    add_leads(opened[0].database, *(f"lead{number}" for number in range(LEADS)))
    opened[0].stages.enroll()
    opened[0].stages.advance()
    yield opened
    for world in opened:
        world.database.close()


def sent_by(world: World) -> int:
    m = t.message.c
    with world.database.reading() as connection:
        mine = [m.lease_owner == world.stages.deliverer.owner, m.status == "sent"]
        return connection.scalar(select(func.count()).where(*mine)) or 0


def judge(workers: list[World], receiver: Receiving) -> None:
    arrived = receiver.received()
    assert len(arrived) == len({each["to"] for each in arrived}) == LEADS
    assert arrived[-1]["links"] == CONNECTIONS
    assert [row.status for row in workers[0].rows(t.message, "status")] == ["sent"] * LEADS


@pytest.mark.parametrize("workers", [2, 4, 6], indirect=True)
def test_workers_together_open_no_more_than_the_server_may_have(workers: list[World], receiver: Receiving) -> None:
    for world in workers:  # as daemons do before their first mail is due
        in_a_loop(world.stages.deliverer.attend)
    all_at_once(workers)
    judge(workers, receiver)
    assert sum(bool(sent_by(world)) for world in workers) > 1, "together"


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_who_comes_later_gets_a_share_of_what_the_first_had_all_of(workers: list[World], receiver: Receiving) -> None:
    first, second = workers
    sending = threading.Thread(target=first.once)
    sending.start()
    while sending.is_alive() and not any(each["links"] == CONNECTIONS for each in receiver.received()):
        time.sleep(0.01)
    while sending.is_alive() and not sent_by(second):
        second.once()
    sending.join()
    second.once()
    judge(workers, receiver)
    assert sent_by(first) and sent_by(second)

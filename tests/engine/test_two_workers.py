"""Two and four workers over one PostgreSQL: each message goes once, and a lead's cap holds across them."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.rehearsal.clock import VirtualClock
from nurture.store import tables as t
from tests.engine.world import HEAD, MONDAY, World, add_leads, make_root, open_world, steps
from tests.migrated import emptied

LEADS = 120
CADENCES = ("one", "two", "three")


@pytest.fixture(params=[2, 4])
def workers(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[World]]:
    # small batches, so that they meet often
    monkeypatch.setattr("nurture.pipeline.advance.BATCH", 30)
    monkeypatch.setattr("nurture.pipeline.enroll.BATCH", 30)
    monkeypatch.setattr("nurture.pipeline.deliver.CLAIM_AHEAD", 20)
    emptied(postgres_url)
    beside = HEAD + "concurrent: true\nmax_late: 20 days\n"
    cadences = {name: beside + steps(f"mail:{name}", "wait: 1 hour", f"mail:{name}-again") for name in CADENCES}
    config = '[limits]\nper_lead = ["1 per day", "3 per 7 days"]\n'
    root = make_root(tmp_path / "workspace", url=postgres_url, config=config, **cadences)
    clock = VirtualClock(MONDAY)
    opened = [open_world(root, clock=clock, sole_worker=False) for _ in range(request.param)]
    for world in opened:
        world.hop.address = replace(world.hop.address, connections=2 * request.param)
    add_leads(opened[0].database, *(f"lead{number}" for number in range(LEADS)))
    yield opened
    for world in opened:
        world.database.close()


def all_at_once(workers: list[World]) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(len(workers))

    def work(world: World) -> None:
        start.wait()
        try:
            world.once()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(world,)) for world in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_each_message_goes_once_and_the_cap_holds(workers: list[World]) -> None:
    first = workers[0]
    days = 0
    while days < 18:
        all_at_once(workers)
        first.clock.advance(timedelta(hours=24))
        days += 1
    assert Counter(row.status for row in first.rows(t.message, "status")) == {"sent": LEADS * len(CADENCES) * 2}
    assert Counter(row.status for row in first.rows(t.enrollment, "status")) == {"completed": LEADS * len(CADENCES)}
    arrived = [(each.to, each.at) for world in workers for each in world.hop.kept]
    once = Counter(pair for world in workers for pair in world.hop.arrived)
    assert set(once.values()) == {1}
    assert len(arrived) == LEADS * len(CADENCES) * 2
    assert all(world.hop.kept for world in workers), "all worked"
    times: dict[str, list[datetime]] = defaultdict(list)
    for to, at in sorted(arrived):
        times[to].append(at)
    for mine in times.values():
        assert all(later - earlier >= timedelta(days=1) for earlier, later in itertools.pairwise(mine))
        assert all(later - earlier >= timedelta(days=7) for earlier, later in zip(mine, mine[3:], strict=False))

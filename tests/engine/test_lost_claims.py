"""A claim was committed and its answer was lost: nobody speaks for the message, though its owner lives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from nurture.pipeline import deliver
from nurture.store import tables as t
from nurture.store.due import anything_due
from tests.engine.world import HEAD, World, add_leads, in_a_loop, make_root, open_world, steps
from tests.migrated import emptied

LOST = deliver.LEASE - deliver.LOST_AFTER


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = {} if request.param == "sqlite" else {"url": request.getfixturevalue("postgres_url")}
    if url:
        emptied(url["url"])
    opened = open_world(make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a"), **url), sole_worker=False)
    add_leads(opened.database, "zoe", "uwe")
    opened.stages.enroll()
    opened.stages.advance()
    yield opened
    opened.database.close()


def claim(world: World, *ids: int, until: timedelta, **given: Any) -> None:
    m = t.message
    lease = {"lease_owner": world.stages.deliverer.owner, "lease_until": world.clock() + until, "lease_epoch": 1}
    with world.database.transaction() as connection:
        connection.execute(update(m).where(m.c.id.in_(ids)).values(status="sending", **lease, **given))


def is_due(world: World, now: datetime) -> bool:
    own = world.stages.deliverer.lost_claims()
    with world.database.reading() as connection:
        return anything_due(connection, "deliver", now=now, reps=[], grace=deliver.LEASE_GRACE, own=own)


def statuses(world: World) -> list[str]:
    return [row.status for row in world.rows(t.message, "status")]


def test_it_goes_in_the_first_pass_after_ten_seconds(world: World) -> None:
    first, second = (row.id for row in world.rows(t.message, "id"))
    claim(world, first, second, until=deliver.LEASE)
    assert not is_due(world, world.clock()), "they may have been claimed a moment ago"
    in_a_loop(world.stages.deliverer.deliver)
    assert statuses(world) == ["sending", "sending"]
    claim(world, first, until=LOST)
    claim(world, second, until=LOST, dotted_at=world.clock())
    assert is_due(world, world.clock())
    in_a_loop(world.stages.deliverer.deliver)
    assert statuses(world) == ["sent", "sending"], "of what has its mark nobody knows whether the end was written"
    assert not is_due(world, world.clock())


def test_a_pass_that_lasts_finds_it_once_its_lease_was_not_renewed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TAKE_UP_EVERY_S", 0.01)
    first, second = world.rows(t.message, "id", "to_address")
    with world.database.transaction() as connection:
        later = world.clock() + timedelta(hours=1)
        connection.execute(update(t.message).where(t.message.c.id == second.id).values(not_before=later))

    async def stall(recipient: str) -> None:
        if recipient == first.to_address:
            claim(world, second.id, until=LOST)
            async with asyncio.timeout(20):
                while statuses(world)[1] != "sent":
                    await asyncio.sleep(0.01)

    world.hop.stalls = stall
    in_a_loop(world.stages.deliverer.deliver)
    assert statuses(world) == ["sent", "sent"]

"""Who enters a cadence while others do, or while it is edited: its limits hold, and its version is the one in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from nurture.pipeline import enroll as enrolling
from nurture.pipeline.advance import _Batch
from nurture.store import tables as t
from nurture.store.cadences import in_force, take_up, version_of
from nurture.store.entries import lock_entrance
from nurture.store.trials import take_up_trial
from tests.engine.test_races import Aside, waits_for_a_lock
from tests.engine.world import HEAD, MONDAY, World, add_leads, make_root, open_world, steps
from tests.migrated import emptied

BY_STEP = HEAD.replace('segment: stage == "lead"\nenroll: current_and_future\n', "")
ENTERS = HEAD + "concurrent: true\n" + steps("enroll: other", "wait: 90 days")
STAYS = steps("wait: 90 days")
Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, postgres_url: str) -> Iterator[Make]:
    made: list[World] = []

    def begin(*leads: str, **cadences: str) -> World:
        emptied(postgres_url)
        made.append(open_world(make_root(tmp_path / "workspace", url=postgres_url, **cadences), sole_worker=False))
        add_leads(made[0].database, *leads)
        made[0].stages.enroll()
        return made[0]

    yield begin
    for world in made:
        world.database.close()


def versions_in_other(world: World) -> list[str]:
    return [row.version for row in world.rows(t.enrollment, "cadence", "version") if row.cadence == "other"]


def in_other(world: World) -> int:
    return len(versions_in_other(world))


def advance_one(world: World, meanwhile: Callable[[], Any]) -> None:
    """One enrollment takes its steps, and that is not committed yet."""
    with world.database.transaction() as connection:
        batch = _Batch(connection, world.stages.rules, MONDAY)
        assert batch.claim(1) == 1
        batch.walk()
        batch.write()
        meanwhile()


@pytest.mark.parametrize("limit", ["enroll_limit: 1 per day", "account: {at_once: 1}"])
def test_two_who_put_others_into_a_cadence_keep_its_limits(make: Make, limit: str) -> None:
    world = make("zoe", "max", one=ENTERS, other=BY_STEP + limit + "\n" + STAYS)
    beside: list[Aside] = []

    def meanwhile() -> None:
        beside.append(Aside(world.stages.advance))
        waits_for_a_lock(world.database, beside[0])

    advance_one(world, meanwhile)
    beside[0].join()
    assert in_other(world) == 1


def test_the_limit_counts_who_is_put_in_while_others_are_enrolled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    other = HEAD.replace("lead", "mql") + "enroll_limit: 3 per day\n" + STAYS
    world = make("zoe", "max", one=ENTERS, other=other)
    add_leads(world.database, "ada", "eve", stage="mql")
    real = enrolling.candidates

    def slow(cadence: Any, *args: Any, **named: Any) -> Any:
        if cadence.name == "other" and not in_other(world):
            world.stages.advance()
        return real(cadence, *args, **named)

    monkeypatch.setattr(enrolling, "candidates", slow)
    world.stages.enroll()
    assert in_other(world) == 3


def test_nobody_is_put_into_a_version_that_an_edit_just_replaced(make: Make) -> None:
    world = make("zoe", one=ENTERS, other=BY_STEP + STAYS)
    beside: list[Aside] = []

    def meanwhile() -> None:
        beside.append(Aside(lambda: world.edit(other=BY_STEP + steps("wait: 80 days"))))
        waits_for_a_lock(world.database, beside[0])

    advance_one(world, meanwhile)
    beside[0].join()
    current = version_of(world.stages.workspace.cadences["other"])
    assert versions_in_other(world) == [current]


def test_an_edit_of_the_cadence_whose_step_enrolls_dies_of_nothing(make: Make) -> None:
    world = make("zoe", one=ENTERS, other=BY_STEP + STAYS)
    with world.database.transaction() as connection:
        batch = _Batch(connection, world.stages.rules, MONDAY)
        batch.claim(1)
        beside = Aside(lambda: world.edit(one=HEAD + "concurrent: true\n" + steps("enroll: other", "wait: 80 days")))
        waits_for_a_lock(world.database, beside)
        batch.walk()
        batch.write()
    beside.join()
    assert in_other(world) == 0
    world.clock.advance(timedelta(minutes=1))
    world.stages.advance()
    assert in_other(world) == 1


def test_who_enrolls_at_the_entrance_may_wait_for_leads_of_who_comes_by_a_step(make: Make) -> None:
    other = HEAD.replace('stage == "lead"', 'stage == "lead" and title == "CTO"')
    world = make("zoe", "max", one=ENTERS, other=other + "enroll_limit: 9 per day\n" + STAYS)
    with world.database.transaction() as connection:
        batch = _Batch(connection, world.stages.rules, MONDAY)
        batch.claim(2)
        connection.execute(update(t.lead).where(t.lead.c.email == "max@example.com").values(title="CTO"))
        with world.database.transaction() as enrolling_now:
            assert lock_entrance(enrolling_now, world.stages.workspace.cadences["other"], patiently=True)
            batch.walk()
            batch.write()
    assert in_other(world) == 0, "they knock again"
    world.clock.advance(timedelta(minutes=1))
    world.stages.advance()
    assert in_other(world) == 2


def test_who_is_to_be_put_into_a_cadence_while_it_is_edited_is_put_in_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make("zoe", one=ENTERS, other=BY_STEP + STAYS)
    with world.database.reading() as connection:
        before = {name: (state.version, state.cadence) for name, state in in_force(connection).items()}
    world.edit(other=BY_STEP + steps("wait: 80 days"))
    with monkeypatch.context() as patch:
        patch.setattr("nurture.pipeline.acting.current_cadences", lambda _: before)  # read before the edit
        world.stages.advance()
    assert in_other(world) == 0
    world.advance(hours=1)
    assert in_other(world) == 1


def test_a_trial_is_not_taken_up_where_an_edit_came_first(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make("zoe", other=HEAD + STAYS)
    world.edit(other=HEAD + "canary: 1\n" + steps("wait: 80 days"))
    with world.database.reading() as connection:
        before = in_force(connection)
    world.edit(other=HEAD + "canary: 1\n" + steps("wait: 70 days"))
    with world.database.transaction() as connection:
        monkeypatch.setattr("nurture.store.trials.in_force", lambda _: before)  # read before the second edit
        assert not take_up_trial(connection, "other", now=MONDAY)
        state = in_force(connection)["other"]
    assert state.trial is not None and state.trial.cadence == world.stages.workspace.cadences["other"]
    assert versions_in_other(world) == [state.version] == [before["other"].version]


def test_a_trial_of_a_cadence_that_was_removed_is_not_taken_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make("zoe", other=HEAD + STAYS)
    world.edit(other=HEAD + "canary: 1\n" + steps("wait: 80 days"))
    with world.database.transaction() as connection:
        before = in_force(connection)
        take_up(connection, {}, now=MONDAY)
        monkeypatch.setattr("nurture.store.trials.in_force", lambda _: before)  # read before it was removed
        assert not take_up_trial(connection, "other", now=MONDAY)
        assert in_force(connection) == {}

"""Cadences edited while leads are under way: nobody is stranded, skipped over, or written to twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.authoring.workspace import load_workspace
from nurture.store import tables as t
from nurture.store.cadences import moved_steps
from tests.engine.world import HEAD, World, add_leads, make_root, open_world, steps

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    opened: list[World] = []

    def open_with(*said: str, **more: str) -> World:
        root = make_root(tmp_path / "workspace", **(more or {"tour": HEAD + steps(*said)}))
        world = open_world(root)
        add_leads(world.database, "zoe")
        opened.append(world)
        return world

    yield open_with
    for world in opened:
        world.database.close()


def standing(world: World) -> list[tuple[str, str, str | None]]:
    return [(row.cadence, row.status, row.step) for row in world.rows(t.enrollment, "cadence", "status", "step")]


def subjects(world: World) -> list[str]:
    return [subject for _, subject in world.hop.arrived]


def test_a_mail_that_comes_round_again_is_passed_over_and_not_waited_for(make: Make) -> None:
    world = make("mail:a", "wait: 1 day", "mail:b", "wait: 2 days", "mail:c")
    world.once()
    world.edit(tour=HEAD + steps("mail:b", "mail:a", "mail:c"))
    world.once()
    assert subjects(world) == ["a", "b", "c"], "a, which was sent before b, is not sent again"
    assert [row[1] for row in standing(world)] == ["completed"]


def test_a_step_that_goes_while_its_mail_is_under_way_does_not_take_the_next_one_along(make: Make) -> None:
    pause = "wait: 2 days\n    id: pause"
    world = make("mail:a", pause, "mail:b")
    world.stages.enroll()
    world.stages.advance()
    world.edit(tour=HEAD + steps(pause, "mail:b"))
    world.once()
    assert subjects(world) == ["a"], "b waits for its two days"
    world.advance(days=2)
    assert subjects(world) == ["a", "b"]


def test_the_last_step_goes_while_its_mail_is_under_way(make: Make) -> None:
    world = make("mail:a")
    world.stages.enroll()
    world.stages.advance()
    world.edit(tour=HEAD + steps("mail:z"))
    world.once()
    assert subjects(world) == ["a"]
    assert [row[1] for row in standing(world)] == ["completed"]


@pytest.mark.parametrize("after", [("mail:a", "wait: 1 day", "mail:b"), ("mail:a", "mail:b")])
def test_a_wait_made_shorter_or_taken_out_ends_at_once_and_nobody_is_late(make: Make, after: tuple[str, ...]) -> None:
    world = make("mail:a", "wait: 10 days", "mail:b")
    world.once()
    world.advance(days=5)
    world.edit(tour=HEAD + steps(*after))
    world.once()
    assert subjects(world) == ["a", "b"]


def test_an_edit_does_not_excuse_who_was_late_already(make: Make) -> None:
    world = make("mail:a", "wait: 1 day", "mail:b")
    world.once()
    world.clock.advance(timedelta(days=6))  # nobody ran anything
    world.edit(tour=HEAD + steps("mail:a", "wait: 1 day", "mail:b", "tag: seen"))
    world.once()
    assert subjects(world) == ["a"]
    assert world.decisions()["skipped_late"] == 1


def test_a_step_that_is_gone_leads_on_along_its_own_path(tmp_path: Path) -> None:
    def letters(*names: str) -> str:
        return "".join(f"      - email: hello\n        id: {name}\n        subject: {name}\n" for name in names)

    fork = 'if: stage == "lead"\n    then:\n{then}    else:\n' + letters("other")
    own, less = letters("own", "more"), letters("own")
    root = make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a", fork.format(then=own), "mail:last"))
    before = load_workspace(root).cadences["tour"]
    (root / "cadences" / "tour.yaml").write_text(HEAD + steps("mail:a", fork.format(then=less), "mail:last"))
    after = load_workspace(root).cadences["tour"]
    assert moved_steps(before, after) == {"more": "last"}


def test_priority_that_changes_changes_who_runs(make: Make) -> None:
    one, two = HEAD + "priority: 60\n" + steps("wait: 9 days"), HEAD + "priority: 40\n" + steps("wait: 9 days")
    world = make(one=one, two=two)
    world.once()
    assert {row[0]: row[1] for row in standing(world)} == {"one": "active", "two": "paused"}
    world.edit(one=one.replace("60", "20"))
    assert {row[0]: row[1] for row in standing(world)} == {"one": "paused", "two": "active"}


def test_a_cadence_that_becomes_concurrent_no_longer_waits_for_others(make: Make) -> None:
    one, two = HEAD + "priority: 60\n" + steps("wait: 9 days"), HEAD + steps("mail:b")
    world = make(one=one, two=two)
    world.once()
    assert subjects(world) == []
    world.edit(two=two.replace("window: any", "window: any\nconcurrent: true"))
    world.once()
    assert subjects(world) == ["b"]


def test_a_cadence_that_is_taken_away_ends_and_lets_others_run(make: Make) -> None:
    one, two = HEAD + "priority: 60\n" + steps("mail:a", "wait: 9 days", "mail:c"), HEAD + steps("mail:b")
    world = make(one=one, two=two)
    world.once()
    assert subjects(world) == ["a"]
    (world.installation.root / "cadences" / "one.yaml").unlink()
    world.edit()
    world.once()
    assert subjects(world) == ["a", "b"]
    assert [tuple(row) for row in world.rows(t.enrollment, "status", "exit_reason")] == [
        ("exited", "removed"),
        ("completed", None),
    ]


def test_what_a_removed_cadence_asked_for_may_go_as_well(tmp_path: Path) -> None:
    """Its conditions name a field that is no longer declared: that must stop nobody else."""
    fields = '[fields]\nplan = "text"\n'
    one = HEAD + 'goal: custom.plan == "pro"\npriority: 60\n' + steps("wait: 1 day", "mail:a")
    root = make_root(tmp_path / "workspace", config=fields, one=one, two=HEAD + "concurrent: true\n" + steps("mail:b"))
    world = open_world(root)
    add_leads(world.database, "zoe")
    world.once()
    config = root / "config.toml"
    config.write_text(config.read_text().replace('plan = "text"', 'size = "number"'))
    (root / "cadences" / "one.yaml").unlink()
    world.edit()
    add_leads(world.database, "max")
    world.advance(days=1)
    assert sorted(world.hop.arrived) == [("max", "b"), ("zoe", "b")]
    world.database.close()

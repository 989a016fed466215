"""Whatever is done to daemons that send: nobody gets a mail twice, none is lost, and the undecided ones are told.

`make chaos` does more of it: `NURTURE_CHAOS_LEADS`, `NURTURE_CHAOS_FAULTS` and `NURTURE_CHAOS_SEED` say how much, and
which luck. `make chaos-mutations` takes out each guard in turn.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.faults import KINDS, PLACES, draw
from tests.chaos.ground import postgres_ground, sqlite_ground
from tests.chaos.havoc import Plan, wreak_havoc
from tests.chaos.mortal import GUARDS, without_guard

LEADS = int(os.environ.get("NURTURE_CHAOS_LEADS", "300"))
FAULTS = int(os.environ.get("NURTURE_CHAOS_FAULTS", "3"))
SEED = int(os.environ.get("NURTURE_CHAOS_SEED", "20261124"))
GROUNDS = {"sqlite": (sqlite_ground, 1), "postgresql": (postgres_ground, 3)}
CAUGHT_BY = {
    "dotted commit": Plan(leads=300, faults=6, workers=1, seed=1, kinds=("point",), points=("dot:after",)),
    "lease owner and epoch": Plan(leads=400, faults=8, workers=1, seed=1, kinds=("freeze",), points=("dotted:before",)),
    "suppression check": Plan(leads=400, faults=6, workers=1, seed=1, kinds=("leave",)),
    "unique key": Plan(leads=100, faults=3, workers=1, seed=1, kinds=("edit",)),
    "five seconds": Plan(leads=300, faults=3, workers=1, seed=1, kinds=("resend",)),
}
"""Each guard and the fault that catches its absence."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", GROUNDS)
def test_no_promise_is_broken(kind: str, tmp_path: Path) -> None:
    ground_of, workers = GROUNDS[kind]
    with ExitStack() as stack:
        ground = stack.enter_context(ground_of())
        verdict = wreak_havoc(tmp_path, Plan(leads=LEADS, faults=FAULTS, workers=workers, seed=SEED, ground=ground))
    print(f"\n{verdict.table}")
    assert verdict.broken == {}, verdict
    assert sum(verdict.statuses.values()) == LEADS
    assert verdict.faults.total() + verdict.missed.total() == FAULTS


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS if "NURTURE_CHAOS_GUARDS" in os.environ else ["suppression check"])
def test_without_a_guard_a_promise_is_broken(guard: str, tmp_path: Path) -> None:
    plan = CAUGHT_BY[guard]
    plan.without = guard
    verdict = wreak_havoc(tmp_path, plan)
    caught = ", ".join(f"{name} {count}" for name, count in verdict.broken.items())
    print(f"\nwithout the guard '{guard}', {verdict.faults.total()} x {', '.join(plan.kinds)}: {caught or 'nothing'}")
    assert set(verdict.broken) & {"twice", "lost", "untold", "after leaving"}, verdict


@pytest.mark.parametrize("guard", [guard for guard in GUARDS if guard != "unique key"])
def test_each_guard_stands_where_it_is_taken_out(guard: str) -> None:
    module = GUARDS[guard][0].replace(".", "/")
    source = (Path(__file__).parents[2] / f"{module}.py").read_text()
    assert without_guard(source, guard) != source


def test_the_same_seed_draws_the_same_faults_and_each_at_each_place() -> None:
    drawn = draw(count=200, seed=7, kinds=KINDS)
    assert drawn == draw(count=200, seed=7, kinds=KINDS)
    assert drawn != draw(count=200, seed=8, kinds=KINDS)
    assert {fault.name for fault in drawn} == {(kind, at) for kind in KINDS for at in PLACES.get(kind, [""])}
    assert len(drawn) == 200

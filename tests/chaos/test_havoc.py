"""Whatever is done to daemons that send: nobody gets a mail twice, none is lost, and the undecided ones are told.

`make chaos` does more of it: `NURTURE_CHAOS_LEADS`, `NURTURE_CHAOS_FAULTS` and `NURTURE_CHAOS_SEED` say how much, and
which luck.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.havoc import FAULTS, Plan, wreak_havoc
from tests.chaos.mortal import GUARDS, without_guard

LEADS = int(os.environ.get("NURTURE_CHAOS_LEADS", "300"))
FAULTS_EACH = int(os.environ.get("NURTURE_CHAOS_FAULTS", "5"))
SEED = int(os.environ.get("NURTURE_CHAOS_SEED", "20261124"))
ALL_GUARDS = "NURTURE_CHAOS_LEADS" in os.environ
CAUGHT_BY = {
    "dotted commit": Plan(leads=300, faults=6, workers=1, seed=1, kinds=("point",), points=("dot:after",)),
    "lease owner and epoch": Plan(leads=400, faults=8, workers=1, seed=1, kinds=("freeze",)),
    "suppression check": Plan(leads=400, faults=6, workers=1, seed=1, kinds=("leave",)),
    "unique key": Plan(leads=100, faults=3, workers=1, seed=1, kinds=("edit",), goes_on=True),
}
"""Each guard and the fault that catches its absence."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_promise_is_broken(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    plan = Plan(leads=LEADS, faults=FAULTS_EACH, workers=1, seed=SEED)
    if kind == "postgresql":
        plan.url, plan.workers = request.getfixturevalue("postgres_url"), 3
    verdict = wreak_havoc(tmp_path, plan)
    print(f"\n{kind}, seed {SEED}: {verdict}")
    assert verdict.broken == []
    assert sum(verdict.statuses.values()) == LEADS
    assert set(verdict.faults) <= set(FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS if ALL_GUARDS else ["suppression check"])
def test_without_a_guard_a_promise_is_broken(guard: str, tmp_path: Path) -> None:
    plan = CAUGHT_BY[guard]
    plan.without = guard
    verdict = wreak_havoc(tmp_path, plan)
    print(f"\nwithout the {guard}, {plan.kinds}: {verdict}")
    assert verdict.broken != []


@pytest.mark.parametrize("guard", [guard for guard in GUARDS if guard != "unique key"])
def test_each_guard_stands_where_it_is_taken_out(guard: str) -> None:
    module = GUARDS[guard][0].replace(".", "/")
    source = (Path(__file__).parents[2] / f"{module}.py").read_text()
    assert without_guard(source, guard) != source

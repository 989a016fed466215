"""Cadences, lives and edits that are drawn: what a plan says is what happens, lead by lead, on both databases.

`NURTURE_PLAN_EDITS` says how many edits (36, a sixth of them on PostgreSQL), `NURTURE_PLAN_SEED` where they begin.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.bootstrap import build_library
from nurture.settings import load_settings
from tests.engine.world import add_leads, make_root
from tests.migrated import emptied
from tests.rehearsal.planning import Groups, as_groups, entered, planned_in, standing, what_happened
from tests.scenarios.edit_grammar import random_edit
from tests.scenarios.edit_world import Quarry
from tests.scenarios.test_edits_stateful import BEN, NAMES, Run

EDITS = int(os.environ.get("NURTURE_PLAN_EDITS", "36"))
FIRST_SEED = int(os.environ.get("NURTURE_PLAN_SEED", "0"))
CHUNKS = 6
PEOPLE = tuple(f"lead{number}" for number in range(8))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def quarry(request: pytest.FixtureRequest) -> Iterator[Quarry]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="nurture-plans-", dir=shared if shared.is_dir() else None) as folder:
        url = "sqlite:///nurture.db"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_url")
            emptied(url)
        root = make_root(Path(folder) / "workspace", url=url, config=BEN)
        made = Quarry(root, build_library(root, load_settings(root)))
        add_leads(made.installation.database, *PEOPLE, country="DE")
        made.keep()
        yield made
        made.installation.database.close()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_what_a_plan_says_is_what_happens(chunk: int, quarry: Quarry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nurture.pipeline.deliver.AGAIN_S", 0.001)  # nobody else brings mail meanwhile
    is_sqlite = quarry.installation.database.is_sqlite
    share = range(chunk, EDITS, CHUNKS)
    seeds = [FIRST_SEED + each for each in share if (each // CHUNKS % 6 != 0) is is_sqlite]
    groups: Counter[str] = Counter()
    for seed in seeds:
        groups += compared(seed, quarry)
    print(f"{len(seeds)} edits; leads by what became of them: {dict(groups)}")


def compared(seed: int, quarry: Quarry) -> Counter[str]:
    """How many leads stood in which group."""
    run = Run(seed, quarry)
    try:
        run.actions = [each for each in run.actions if each != run.killed]
        for _ in range(8):
            run.act()
        if run.rng.random() < 0.3:
            run.world.clock.advance(timedelta(hours=30))  # and nobody ran
        before = standing(run.world.database)
        quarry.keep("kept")
        draw_edit(run)
        plans = planned_in(run.root, run.world.clock())
        said = as_groups(plans)
        assert standing(run.world.database) == before, "a plan changes nothing"
        assert said == happened(
            run, quarry, before, {name for name, each in plans.items() if each.edit.change != "same"}
        )
    except BaseException:
        print("\n".join(run.told))
        raise
    return Counter({group: len(who) for groups in said.values() for group, who in groups.items()})


def draw_edit(run: Run) -> None:
    there = [name for name in NAMES if run.is_there(name)] or ["one"]
    name = run.rng.choice(there)
    path = run.root / "cadences" / f"{name}.yaml"
    if run.rng.random() < 0.1:
        path.unlink()
        if run.is_good():
            run.told.append(f"planned: {name} is gone")
            return
    for _ in range(20):
        run.write(edited := random_edit(run.rng, run.files[name]))
        if run.is_good():
            run.told.append(f"planned: {edited.text()}")
            return
    raise AssertionError("no edit checks clean")


def happened(run: Run, quarry: Quarry, before: dict[int, Any], changed: set[str]) -> Groups:
    """Once as things stand, once with the edit, and once for who enters; the database goes back in between."""
    stages, database = run.world.stages, run.world.database
    stages.advance()
    without = standing(database)
    quarry.go_back("kept")
    run.world.take_up()
    stages.advance()
    groups = what_happened(before, without, standing(database), run.world.files)
    quarry.go_back("kept")
    run.world.take_up()
    stages.enroll()
    for name, new in entered(before, standing(database)).items():
        if name in changed:
            groups.setdefault(name, {}).update(new)
    return groups

"""`docs/how-to/plan-an-edit.md`: its edits are made in a new workspace, and what `nurture plan` says stands there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nurture.cli.main import app
from nurture.rehearsal.clock import VirtualClock
from nurture.store.leads import tag_leads
from tests.docs.pages import blocks
from tests.engine.world import add_leads, open_world

PAGE = "how-to/plan-an-edit.md"
RUNNER = CliRunner()
EDITED = ("welcome", "guide-followup", "_segments")


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, VirtualClock]]:
    """The workspace with its leads as the page has them, and the page's edits."""
    root = tmp_path_factory.mktemp("plan") / "acme"
    assert RUNNER.invoke(app, ["init", str(root)]).exit_code == 0
    clock = VirtualClock(datetime(2026, 10, 29, 10, tzinfo=UTC))
    world = open_world(root, clock=clock)
    readers = add_leads(world.database, "ben", "eva")
    with world.database.transaction() as connection:
        tag_leads(connection, readers, "guide")
    world.once()
    world.advance(days=4)
    add_leads(world.database, "zoe", "max")
    add_leads(world.database, "cem", stage="mql")
    world.once()
    world.advance(days=1)
    world.database.close()
    for name, diff in zip(EDITED, blocks(PAGE, "From a branch", "diff"), strict=True):
        apply(root / "cadences" / f"{name}.yaml", diff)
    yield root, clock


def apply(path: Path, diff: str) -> None:
    lines = diff.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] != other) for other in "+-")
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def plan(edited: tuple[Path, VirtualClock], monkeypatch: pytest.MonkeyPatch, *more: str) -> str:
    root, clock = edited
    monkeypatch.setattr("nurture.cli.plan.system_clock", clock)
    result = RUNNER.invoke(app, ["plan", "-C", str(root), *more])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_it_says(edited: tuple[Path, VirtualClock], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [plan(edited, monkeypatch, "--names")] == blocks(PAGE, "What each line means", "text")


def test_what_it_says_to_a_program(edited: tuple[Path, VirtualClock], monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = blocks(PAGE, "For a program", "json")
    said = {each["cadence"]: each for each in json.loads(plan(edited, monkeypatch, "--json"))["cadences"]}
    assert json.loads(shown) == said["welcome"]
    assert [set(each["leads"]) >= {"exit", "step_lost"} for each in said.values()] == [True, True], "as jq asks"


def test_its_files_check(edited: tuple[Path, VirtualClock]) -> None:
    result = RUNNER.invoke(app, ["check", "-C", str(edited[0])])
    assert result.exit_code == 0, result.output

"""`docs/how-to/plan-an-edit.md`: its edits are made in a new workspace, and what `nurture plan` says stands there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nurture.cli.main import app
from nurture.rehearsal.clock import VirtualClock
from nurture.store.leads import tag_leads
from tests.docs.pages import blocks, make_edits, new_workspace
from tests.engine.world import add_leads, open_world

PAGE = "how-to/plan-an-edit.md"
RUNNER = CliRunner()
Edited = tuple[Path, VirtualClock]


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    """The workspace with its leads as the page has them, and the page's edits."""
    root = new_workspace(tmp_path_factory.mktemp("plan") / "acme")
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
    make_edits(PAGE, root)
    yield root, clock


def plan(edited: Edited, monkeypatch: pytest.MonkeyPatch, *more: str) -> str:
    root, clock = edited
    monkeypatch.setattr("nurture.cli.plan.system_clock", clock)
    result = RUNNER.invoke(app, ["plan", "-C", str(root), *more])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_it_says(edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [plan(edited, monkeypatch, "--names")] == blocks(PAGE, "What each line means", "text")


def test_what_it_says_to_a_program(edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = blocks(PAGE, "For a program", "json")
    said = {each["cadence"]: each for each in json.loads(plan(edited, monkeypatch, "--json"))["cadences"]}
    assert json.loads(shown) == said["welcome"]
    assert [set(each["leads"]) >= {"exit", "step_lost"} for each in said.values()] == [True, True], "as jq asks"


def test_its_files_check(edited: Edited) -> None:
    result = RUNNER.invoke(app, ["check", "-C", str(edited[0])])
    assert result.exit_code == 0, result.output


def test_another_checkout_asks_the_database_that_it_is_told(
    edited: Edited, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, clock = edited
    review = Path(
        shutil.copytree(root, tmp_path / "review", ignore=shutil.ignore_patterns("nurture.db*", "secret.key"))
    )
    assert "There is no database yet" in plan((review, clock), monkeypatch)
    config = review / "config.toml"
    config.write_text(config.read_text().replace('"sqlite:///nurture.db"', '"env:DATABASE_URL"'))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{root / 'nurture.db'}")
    assert [plan((review, clock), monkeypatch, "--names")] == blocks(PAGE, "What each line means", "text")
    assert RUNNER.invoke(app, ["check", "-C", str(review)]).exit_code == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "the environment variable DATABASE_URL is not set: config.toml takes a secret from it"),
        (
            "nurture.db",
            "config.toml takes the place of the database from env:DATABASE_URL: 'nurture.db' is no",
        ),
    ],
)
def test_a_database_that_nobody_names_is_one_line(
    url: str, said: str, edited: Edited, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    review = Path(shutil.copytree(edited[0], tmp_path / "review"))
    config = review / "config.toml"
    config.write_text(config.read_text().replace('"sqlite:///nurture.db"', '"env:DATABASE_URL"'))
    monkeypatch.setenv("DATABASE_URL", url)
    problem = RUNNER.invoke(app, ["plan", "-C", str(review)]).exception
    assert str(problem).startswith(said)
    assert "\n" not in str(problem)
    assert RUNNER.invoke(app, ["check", "-C", str(review)]).exit_code == 0, "which needs no database"

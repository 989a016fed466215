"""`nurture plan`: what it prints, for people and for programs, and that it makes and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from nurture.cli.main import app
from nurture.store import tables as t
from nurture.store.database import Database
from tests.engine.world import HEAD, add_leads, make_root, open_world, steps, write_cadences

TOUR = HEAD + steps("mail:a", "wait: 3 days", "mail:b")
RUNNER = CliRunner()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = make_root(tmp_path / "workspace", tour=TOUR)
    (made / "nurture.db").unlink()
    return made


def under_way(root: Path, *names: str) -> None:
    """These leads wait for three days."""
    world = open_world(root)
    add_leads(world.database, *names)
    world.once()
    world.database.close()


def plan(root: Path, *more: str, code: int = 0) -> str:
    result = RUNNER.invoke(app, ["plan", "-C", str(root), *more])
    assert result.exit_code == code, result.output
    return result.output


def document(root: Path, *more: str) -> dict[str, dict[str, object]]:
    said = json.loads(plan(root, "--json", *more))
    return {each["cadence"]: each for each in said["cadences"]}


def everything(root: Path) -> dict[str, list[object]]:
    database = Database("sqlite:///nurture.db", root=root)
    with database.reading() as connection:
        rows = {
            name: [tuple(row) for row in connection.execute(select(table))]
            for name, table in t.lead.metadata.tables.items()
        }
    database.close()
    return rows


def test_without_a_database_all_is_new_and_none_is_made(root: Path) -> None:
    assert document(root) == {
        "tour": {
            "cadence": "tour",
            "change": "new",
            "steps": {"added": ["a", "a/wait/1", "b"], "removed": [], "changed": [], "moved": []},
            "keys": [],
            "leads": {"active": 0, "same": 0, "exit": 0, "step_lost": 0, "earlier": 0, "later": 0, "enroll": 0},
            "held": False,
        }
    }
    assert "no database yet" in plan(root)
    assert not (root / "nurture.db").exists()


def test_a_change_is_told_in_words_and_changes_nothing(root: Path) -> None:
    under_way(root, "zoe", "max")
    write_cadences(root, {"tour": HEAD + 'goal: tag("x")\n' + steps("mail:a", "wait: 200 days", "mail:c")})
    before = everything(root)
    said = plan(root, "--names")
    assert said.splitlines() == [
        "tour: changed",
        "  steps added: c",
        "  steps removed: b",
        "  steps changed: a/wait/1",
        "  also changed: `goal`",
        "  Of 2 leads under way 2 move later.",
        "  later: zoe@example.com, max@example.com",
    ]
    assert everything(root) == before


def test_the_same_for_a_program(root: Path) -> None:
    under_way(root, "zoe", "max")
    write_cadences(
        root, {"tour": HEAD + steps("mail:a", "mail:b"), "more": TOUR.replace("window: any", "concurrent: true")}
    )
    said = document(root, "--names")
    assert said["tour"]["leads"] == {
        "active": 2,
        "same": 0,
        "exit": 0,
        "step_lost": 2,
        "earlier": 0,
        "later": 0,
        "enroll": 0,
    }
    who = ["zoe@example.com", "max@example.com"]
    assert said["tour"]["names"] == {"exit": [], "step_lost": who, "earlier": [], "later": [], "enroll": []}
    assert (said["more"]["change"], said["more"]["leads"]["enroll"]) == ("new", 2)  # type: ignore[index]


def test_an_unchanged_cadence_is_the_same(root: Path) -> None:
    under_way(root, "zoe")
    assert document(root)["tour"]["change"] == "same"
    assert plan(root) == "1 cadence unchanged\n"


def test_more_than_may_enter_at_once_wait(root: Path) -> None:
    under_way(root, "zoe", "max")
    config = root / "config.toml"
    config.write_text(config.read_text() + "[limits]\nenroll_at_once = 1\n")
    write_cadences(root, {"more": TOUR.replace("window: any", "concurrent: true")})
    assert document(root)["more"]["held"] is True
    assert (
        "  2 leads would enroll at once (more than `[limits] enroll_at_once`, 1, may enter: they wait for "
        "`nurture release`)." in plan(root)
    )


def test_a_file_that_is_gone_and_one_step_that_is(root: Path) -> None:
    under_way(root, "zoe")
    write_cadences(root, {"tour": HEAD + steps("mail:a", "mail:b")})
    assert "Of 1 lead under way 1 loses its step and goes on at the next one." in plan(root)
    (root / "cadences" / "tour.yaml").unlink()
    assert plan(root) == "tour: its file is gone\n  The 1 lead under way leaves it at once.\n"


def test_a_mistake_is_told_as_check_tells_it(root: Path) -> None:
    write_cadences(root, {"tour": TOUR.replace("3 days", "3 dayz")})
    said = plan(root, code=1)
    assert said.startswith("cadences/tour.yaml:9:11: error: ")
    assert not (root / "nurture.db").exists()


def test_a_database_of_another_release_is_left_as_it_is(root: Path) -> None:
    database = Database("sqlite:///nurture.db", root=root)
    with database.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0000')")
    database.close()
    result = RUNNER.invoke(app, ["plan", "-C", str(root)])
    assert "nurture db upgrade" in str(result.exception)


def test_a_server_that_is_away_is_one_line(tmp_path: Path) -> None:
    root = make_root(tmp_path / "workspace", url="postgresql://nobody@127.0.0.1:9/none", tour=TOUR)
    result = RUNNER.invoke(app, ["plan", "-C", str(root)])
    assert result.exit_code == 1
    assert str(result.exception).startswith("database postgresql://nobody@127.0.0.1:9/none: ")
    assert "\n" not in str(result.exception)

"""`nurture simulate`: what it prints, that a seed is a promise, and that it touches nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nurture.cli.main import app
from nurture.domain.problem import Problem
from tests.engine.world import HEAD, MONDAY, add_leads, make_root, open_world, steps
from tests.rehearsal.planning import opened

RUNNER = CliRunner()
TOUR = HEAD + steps("mail:a", "wait: 1 day", "mail:b")
LIFECYCLE = """
stages:
  - lead
  - mql: {when: score >= 10}
engagement: {points: [{event: clicked, points: 10}]}
hot: {when: score >= 10}
routing: [{reps: [ben]}]
"""
CONFIG = '[reps.ben]\nname = "Ben Okafor"\nemail = "ben@acme.example"\ntimezone = "UTC"\n'
NEXT_DAY = "2026-11-03"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "workspace", config=CONFIG, tour=TOUR, _lifecycle=LIFECYCLE)


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    rows = "".join(f"reader{number}@firm{number % 7}.example,yes\n" for number in range(60))
    return write(tmp_path / "leads.csv", f"Email,Marketing consent\n{rows}")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def simulate(root: Path, *more: object) -> str:
    result = RUNNER.invoke(app, ["simulate", "-C", str(root), *map(str, more)])
    assert result.exit_code == 0, result.output
    return result.output


def document(root: Path, *more: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(simulate(root, "--json", "--runs", 1, *more))
    return found


def problem(root: Path, *more: object) -> str:
    """What the one line says."""
    result = RUNNER.invoke(app, ["simulate", "-C", str(root), *map(str, more)])
    assert isinstance(result.exception, Problem), result.output
    assert result.stdout == ""
    return str(result.exception)


def test_the_document_has_what_programs_read(root: Path, leads: Path) -> None:
    said = document(root, "--leads", leads, "--from", NEXT_DAY, "--days", 3)
    assert [day["date"] for day in said["days"]] == ["2026-11-03", "2026-11-04", "2026-11-05"]
    first, second, third = (day["sends"] for day in said["days"])
    arrived = 60 - said["bounced"]["p50"]
    assert first == {"p10": arrived, "p50": arrived, "p90": arrived} and third == {"p10": 0, "p50": 0, "p90": 0}
    assert (said["seed"], said["capped"], said["leads"]) == (1, 0, 60)
    assert list(said["promotions"]) == ["mql"] and list(said["alerts"]) == ["ben"]
    assert said["alerts"]["ben"]["p50"] >= said["promotions"]["mql"]["p50"] > 0  # who replies alerts as well
    # who left, and only they, did not get the second mail
    left = {reason: count["p50"] for reason, count in said["exits"]["tour"].items() if reason != "completed"}
    assert second["p50"] == 60 - sum(left.values()) == said["exits"]["tour"]["completed"]["p50"]
    assert said["sends_by_step"]["tour/b"] == second


def test_caps_that_stand_in_the_way_are_counted(root: Path, leads: Path) -> None:
    capped = CONFIG + '[limits]\nper_lead = ["1 per 2 days"]\n'
    (root / "config.toml").write_text((root / "config.toml").read_text().replace(CONFIG, capped))
    said = document(root, "--leads", leads, "--from", NEXT_DAY, "--days", 3)
    second, third = (day["sends"]["p50"] for day in said["days"][1:])
    assert second == 0 and said["capped"] == third > 50


def test_a_person_reads_the_days_the_totals_and_how_it_ended(root: Path, leads: Path) -> None:
    lines = simulate(root, "--leads", leads, "--from", NEXT_DAY, "--days", 1, "--runs", 1).splitlines()
    assert lines[0] == "60 leads, 1 run of seed 1"
    words = [line.split() for line in lines]
    assert ["Tue", "03", "Nov", "2026", "59", "59", "59", "█" * 24] in words
    assert ["mails", "in", "all", "59", "59", "59"] in words
    assert ["refused", "for", "good", "1", "1", "1"] in words
    assert any(line[:3] == ["tour", "under", "way"] for line in words)


@pytest.mark.slow
def test_a_seed_gives_the_same_bytes_in_any_process_on_any_number_of_processors(root: Path, leads: Path) -> None:
    asked = ["simulate", "--json", "--runs", "2", "--leads", str(leads), "--from", NEXT_DAY, "--days", "1"]
    alone, together = (
        subprocess.Popen(
            [sys.executable, "-c", f"import os; {few}; from nurture.cli.main import main; main()", *asked],
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": hashes},
            stdout=subprocess.PIPE,
        )
        for few, hashes in (("os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", "1"), ("pass", "2"))
    )
    said = alone.communicate(timeout=120)[0]
    assert said == together.communicate(timeout=120)[0]
    assert json.loads(said)["sends"]["p50"] > 50


def test_another_seed_plays_other_luck(root: Path, leads: Path) -> None:
    one, other = (document(root, "--leads", leads, "--from", NEXT_DAY, "--days", 1, "--seed", seed) for seed in (1, 2))
    assert (one.pop("seed"), other.pop("seed")) == (1, 2)
    assert one != other


# --- it touches nothing


@pytest.fixture
def knocks() -> Iterator[socket.socket]:
    """Where the workspace's mail server would be."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_leads_under_way_go_on_from_where_they_are_and_nothing_is_touched(root: Path, knocks: socket.socket) -> None:
    world = open_world(root)
    add_leads(world.database, "zoe", "max")
    world.once()
    world.database.close()
    config = root / "config.toml"
    config.write_text(config.read_text().replace("port = 9\n", f"port = {knocks.getsockname()[1]}\n"))
    before = contents(root)
    said = document(root, "--from", NEXT_DAY, "--days", 2)
    assert said["sends_by_step"] == {"tour/b": {"p10": 2, "p50": 2, "p90": 2}}
    assert [day["sends"]["p50"] for day in said["days"]] == [2, 0]
    assert contents(root) == before
    with pytest.raises(BlockingIOError):
        knocks.accept()


def test_a_database_on_postgresql_is_read_and_left_alone(tmp_path: Path, postgres_url: str) -> None:
    with opened(tmp_path / "workspace", postgres_url, tour=TOUR) as world:
        add_leads(world.database, "zoe", "max")
        said = document(world.installation.root, "--from", NEXT_DAY, "--days", 1)
        assert (said["leads"], said["sends"]["p50"]) == (2, 2)
        assert not world.decisions()


# --- mistakes


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (["--days", 0], "--days 0: give a number from 1 to 366"),
        (["--days", 3, "--runs", 101], "--runs 101: give a number from 1 to 100"),
        (["--days", 3, "--seed", -1], "--seed -1: give a number from 0 to 9223372036854775807"),
        (["--days", 3, "--from", "soon"], "--from 'soon' is no date: write it as 2026-12-01"),
        (["--days", 3, "--from", "0001-01-01"], "--from 0001-01-01: give a year from 1990 to 2100"),
        (["--days", 3, "--leads", "none.csv"], "none.csv: there is no such file"),
        (["--days", 3, "--map", "Mail=email"], "--map and --consent-text speak of a list: name it with --leads FILE"),
        (["--days", 3, "--picture", "no/x.html"], "--picture no/x.html: there is no folder no"),
        (["--days", 3, "--picture", "."], "--picture . is a folder: name a file in it, such as weeks.html"),
        (["--days", 3], "nobody is in the database yet: simulate with a list (--leads FILE.csv), or take one in"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_played(root: Path, asked: list[object], line: str) -> None:
    assert problem(root, *asked).startswith(line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty: its first line must name the columns"),
        ("Email,Marketing consent\n", "there is no row below its header"),
        ("Colour\nred\n", "no column holds the e-mail address: found 'Colour'; name it with --map \"COLUMN=email\""),
        (
            "Email,Marketing consent\nnobody,yes\nzoe@example.com,no\n",
            "none of its 2 rows is a lead that may be written to (1 bad_address, 1 no_consent)",
        ),
        ("Email\nzoe@example.com\n", "name the column of their consent with --map, or say what all agreed to"),
    ],
)
def test_a_list_of_nobody_is_refused(root: Path, tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(root, "--days", 1, "--leads", write(tmp_path / "leads.csv", text))


def test_rows_that_are_no_lead_are_left_out(root: Path, tmp_path: Path) -> None:
    text = "Mail address of theirs\nzoe@example.com\nno address\nmax@example.com,with,too many cells\nZOE@example.com\n"
    leads = write(tmp_path / "leads.csv", text)
    given = ["--map", "Mail address of theirs=email", "--consent-text", "I agree to mail"]
    assert document(root, "--days", 1, "--from", NEXT_DAY, "--leads", leads, *given)["leads"] == 1


def test_without_a_database_none_is_made(root: Path) -> None:
    (root / "nurture.db").unlink(missing_ok=True)
    assert problem(root, "--days", 1).startswith("there is no database yet: simulate with a list")
    assert not (root / "nurture.db").exists()


def test_weeks_that_the_database_has_seen_are_not_played_again(root: Path) -> None:
    world = open_world(root)
    add_leads(world.database, "zoe")
    world.once()
    world.database.close()
    day = (MONDAY - timedelta(days=1)).date()
    assert problem(root, "--days", 1, "--from", day).startswith(
        "the database knows of what happened until 2026-11-02 09:00 UTC: simulate from a later day on, or with a list"
    )


def test_a_workspace_with_mistakes_is_told_its_mistakes(root: Path) -> None:
    write(root / "cadences" / "tour.yaml", TOUR.replace("wait: 1 day", "wait: 1 dayz"))
    assert "cadences/tour.yaml:" in problem(root, "--days", 1)

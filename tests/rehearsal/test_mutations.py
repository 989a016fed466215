"""A test that can't fail is none: whatever is changed in an expectation, or in a cadence, is seen.

Expectations: every date, step, effect, variant, subject and end, one at a time, in every test that is shipped.
Cadences: every wait, branch, subject and effect, one at a time, in the files themselves.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from nurture.authoring.compile_tests import WALL, Line, wall_clock
from nurture.authoring.new_cadence import KINDS
from nurture.authoring.skeleton import write_skeleton
from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import Rehearsals, rehearsals
from nurture.domain.problem import Problem
from nurture.rehearsal.cadence_tests import Outcome
from tests.rehearsal.playing import apart, copy_workspace

REPOSITORY = Path(__file__).parent.parent.parent
WORKSPACES = ("acceptance", "repository", "skeleton")


def copy_of(name: str, target: Path) -> Path:
    if name == "acceptance":
        return copy_workspace(target)
    if name == "skeleton":
        target.mkdir()
        write_skeleton(target, secret="a secret that no test needs")
        return target
    target.mkdir()
    for part in ("cadences", "templates", "offers"):
        shutil.copytree(REPOSITORY / part, target / part)
    shutil.copy(REPOSITORY / "config.toml", target)
    return target


@pytest.fixture(scope="module", params=WORKSPACES)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(request.param, tmp_path_factory.mktemp("mutations") / request.param)


@cache
def played(root: Path) -> dict[str, list[Outcome]]:
    workspace = load_workspace(root)

    async def play() -> dict[str, list[Outcome]]:
        with rehearsals(workspace) as stage:
            return {stem: [await stage.play(stem, test) for test in tests] for stem, tests in workspace.tests.items()}

    return apart(lambda: asyncio.run(play()))


def test_the_shipped_tests_pass(root: Path) -> None:
    found = [outcome for outcomes in played(root).values() for outcome in outcomes]
    assert found
    assert [outcome.name for outcome in found if not outcome.passed] == []


def changed(line: Line) -> Iterator[Line]:
    """The line with one thing in it another."""
    if line.at is not None:
        for minutes in (-1, 1, 24 * 60):
            yield replace(line, at=(wall_clock(line.at) + timedelta(minutes=minutes)).strftime(WALL))
    if isinstance(line.value, str):
        yield replace(line, value=line.value + "x")
    yield replace(line, kind={"email": "tag", "completed": "exit"}.get(line.kind, "email"))
    if line.variant is not None:
        yield replace(line, variant=line.variant + "x")
    if line.subject is not None:
        yield replace(line, subject=line.subject + "!")


def mutants(lines: tuple[Line, ...]) -> Iterator[tuple[Line, ...]]:
    """The expectation with one line changed, missing, twice, or before its time."""
    for place, line in enumerate(lines):
        before, after = lines[:place], lines[place + 1 :]
        for other in changed(line):
            yield (*before, other, *after)
        yield (*before, *after)
        yield (*before, line, line, *after)
        if after and after[0] != line:
            yield (*before, after[0], line, *after[1:])


def test_any_change_of_an_expectation_is_seen(root: Path) -> None:
    count = 0
    for outcome in (outcome for outcomes in played(root).values() for outcome in outcomes):
        for lines in mutants(outcome.expected):
            mutant = replace(outcome, expected=lines)
            assert not mutant.passed, lines
            assert any(not row.same and row.expected != row.actual for row in mutant.rows), lines
            count += 1
    assert count > 40


EDITS = {
    "wait": (r"^(\s*- (?:wait|wait_for): )(\d+)(?= )", lambda match: f"{match[1]}{int(match[2]) + 1}"),
    "up_to": (r"^(\s*up_to: )(\d+)(?= )", lambda match: f"{match[1]}{int(match[2]) + 1}"),
    "hour": (r"^(\s*- wait: .* at )(\d\d:\d\d)", lambda match: f"{match[1]}11:30"),
    "branch": (r"^(\s*- if: )(.*)$", lambda match: f"{match[1]}'not ({match[2]})'"),
    "elif": (r"^(\s*- if: visited\()(.*)$", lambda match: f'{match[1]}"/elsewhere")'),
    "subject": (r"^(\s+subject: \"?)(?=\S)", lambda match: f"{match[1]}Re: "),
    "tag": (r"^(\s*- (?:tag|untag): )(\S+)", lambda match: f"{match[1]}{match[2]}-x"),
    "promote": (r"^(\s*- promote: )(\S+)", lambda match: f"{match[1]}pql"),
    "notify": (r"^(\s*- notify: )(\S+)", lambda match: f"{match[1]}owner"),
    "goal": (r"^(goal: )(.*)$", lambda match: f'{match[1]}tag("never")'),
    "exit": (r"^(exit: )(.*)$", lambda match: f'{match[1]}tag("never")'),
}
ARM = re.compile(r"^( {6}(?!- )\w+: \"?)(?=\S)", re.MULTILINE)
# What the tests of `acceptance/` say nothing of: subjects, and the branches that their two leads do not take.
UNSAID_IN_ACCEPTANCE = ("subject", "notify")


def edits(text: str) -> Iterator[tuple[str, str]]:
    """(what, the cadence with that changed at one place)."""
    for what, (pattern, change) in EDITS.items():
        for match in re.finditer(pattern, text, re.MULTILINE):
            yield f"{what} {match[0].strip()}", text[: match.start()] + change(match) + text[match.end() :]
    subjects = re.search(r"subject:\n((?: {6}\w+: .*\n)+)", text)
    if subjects is not None:
        for match in ARM.finditer(text, subjects.start(), subjects.end()):
            yield f"subject {match[0].strip()}", f"{text[: match.end()]}Re: {text[match.end() :]}"


def test_any_change_of_a_cadence_is_seen(root: Path) -> None:
    """Each edit is written to the file, read as the command reads it, and played; some test must tell."""
    said = [
        (stem, what, edited)
        for stem in load_workspace(root).tests
        if stem not in KINDS  # the library has a run of its own: tests/authoring/test_library.py
        for what, edited in edits((root / "cadences" / f"{stem}.yaml").read_text(encoding="utf-8"))
        if root.name != "acceptance" or not what.startswith(UNSAID_IN_ACCEPTANCE)
    ]

    async def unseen() -> list[str]:
        with rehearsals(load_workspace(root)) as stage:
            return [f"{stem}: {what}" for stem, what, edited in said if not await is_seen(stage, root, stem, edited)]

    assert apart(lambda: asyncio.run(unseen())) == []
    assert len(said) >= 6


async def is_seen(stage: Rehearsals, root: Path, stem: str, edited: str) -> bool:
    """Whether some test fails of the cadence with this text."""
    path = root / "cadences" / f"{stem}.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(edited, encoding="utf-8")
    try:
        stage.workspace = load_workspace(root)
    finally:
        path.write_text(text, encoding="utf-8")
    for test in stage.workspace.tests[stem]:
        if not (await stage.play(stem, test)).passed:
            return True
    return False


@pytest.mark.parametrize("root", WORKSPACES[1:], indirect=True, scope="module")  # `acceptance/` names no variant
def test_a_renamed_arm_is_a_mistake_before_anything_is_played(root: Path) -> None:
    for path in sorted((root / "cadences").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        arms = re.search(r"subject:\n {6}(\w+):", text)
        if arms is None:
            continue
        path.write_text(text.replace(f"      {arms[1]}:", f"      {arms[1]}2:"), encoding="utf-8")
        with pytest.raises(Problem, match=f"unknown variant '{arms[1]}'"):
            load_workspace(root)
        path.write_text(text, encoding="utf-8")

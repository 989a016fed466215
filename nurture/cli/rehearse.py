"""`nurture test`: the tests beside the cadences, each played in memory; nothing is sent and no database is made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nurture.authoring.compile_tests import CadenceTest, Line
from nurture.authoring.workspace import Workspace, load_workspace
from nurture.bootstrap import rehearsals
from nurture.cli.output import AsJson, WorkspaceDir, print_json, printable
from nurture.documents.nearest import suggest
from nurture.domain.problem import Problem
from nurture.logs import prepare_logging
from nurture.rehearsal.cadence_tests import Outcome
from nurture.rehearsal.side_by_side import Row

Results = Mapping[str, Sequence[Outcome]]
"""Test file -> the outcomes of its tests."""
_MARK = {True: "  ", False: "! "}


def test(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Only these test files; without any, all.")
    ] = None,
    as_json: AsJson = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Play the tests of the cadences (cadences/NAME.test.yaml) on a virtual clock. Exit code 1 when any fails."""
    prepare_logging()
    loaded = load_workspace(workspace)
    results = asyncio.run(_play(loaded, _chosen(files or [], loaded)))
    outcomes = [outcome for each in results.values() for outcome in each]
    failed = sum(not outcome.passed for outcome in outcomes)
    if as_json:
        print_json(_document(results, failed))
    else:
        _print(results)
        typer.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(1)


async def _play(workspace: Workspace, chosen: Mapping[str, Sequence[CadenceTest]]) -> Results:
    results: dict[str, list[Outcome]] = {}
    with rehearsals(workspace) as stage:
        for cadence, tests in chosen.items():
            results[_file(cadence)] = [await stage.play(cadence, test) for test in tests]
    return results


def _chosen(files: Sequence[Path], workspace: Workspace) -> Mapping[str, Sequence[CadenceTest]]:
    """cadence -> its tests: of these files, named from here or from the workspace; without any, of all."""
    if not files:
        return workspace.tests
    known = {(workspace.root / _file(cadence)).resolve(): cadence for cadence in workspace.tests}
    chosen = {}
    for file in files:
        places = [file.resolve(), (workspace.root / file).resolve()]
        cadence = next((known[place] for place in places if place in known), None)
        if cadence is None:
            there = any(place.exists() for place in places)
            wrong = "is no test file of a cadence in this workspace" if there else "there is no such file"
            hint = suggest(str(file), map(_file, workspace.tests), none="write cadences/NAME.test.yaml first")
            raise Problem(f"{printable(str(file))}: {wrong}{hint}")
        chosen[cadence] = workspace.tests[cadence]
    return chosen


def _file(cadence: str) -> str:
    return f"cadences/{cadence}.test.yaml"


def _document(results: Results, failed: int) -> dict[str, object]:
    tests = [
        {
            "file": file,
            "name": outcome.name,
            "passed": outcome.passed,
            "expected": [line.as_written() for line in outcome.expected],
            "actual": [row.actual.as_written() for row in outcome.rows if row.actual is not None],
            "notes": [*outcome.impossible, *outcome.notes],
        }
        for file, outcomes in results.items()
        for outcome in outcomes
    ]
    return {"passed": len(tests) - failed, "failed": failed, "tests": tests}


def _print(results: Results) -> None:
    for file, outcomes in results.items():
        typer.echo(file)
        for outcome in outcomes:
            typer.echo(f"  {'passed' if outcome.passed else 'FAILED'}  {printable(outcome.name)}")
            if not outcome.passed:
                _print_failure(outcome)


def _print_failure(outcome: Outcome) -> None:
    """Expected and actual beside each other; a line that differs is marked."""
    rows = [(row.same, *_say_both(row)) for row in outcome.rows]
    width = max(len(left) for _, left, _ in [(True, "expected", ""), *rows])
    typer.echo(f"    {_MARK[True]}{'expected':<{width}}   actual")
    for same, left, right in rows:
        typer.echo(f"    {_MARK[same]}{left:<{width}}   {right}".rstrip())
    for note in (*outcome.impossible, *outcome.notes):
        typer.echo(f"    {printable(note)}")


def _say_both(row: Row[Line]) -> tuple[str, str]:
    """Both sides; subjects are long, and told only where they differ."""
    expected, actual = row.expected, row.actual
    if expected is not None and actual is not None and expected.subject == actual.subject:
        expected, actual = replace(expected, subject=None), replace(actual, subject=None)
    return _say(expected), _say(actual)


def _say(line: Line | None) -> str:
    if line is None:
        return ""
    said = line.as_written()
    at = said.pop("at", None) or " " * 16
    pairs = ", ".join(f"{name}: {'true' if value is True else value}" for name, value in said.items())
    return printable(f"{at}  {pairs}")

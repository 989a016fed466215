"""Cadence tests played from files, as a marketer writes them: a workspace, a cadence, its tests."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import rehearsals
from nurture.rehearsal.cadence_tests import Outcome
from tests.conftest import DATA

STEM = "story"


def copy_workspace(target: Path) -> Path:
    """The acceptance workspace without the list of leads."""
    return Path(shutil.copytree(DATA / "acceptance", target, ignore=shutil.ignore_patterns("*.csv", "*.json")))


def write_story(root: Path, cadence: str, *tests: str) -> Path:
    """Put one cadence with these tests into the workspace, beside the others."""
    (root / "cadences" / f"{STEM}.yaml").write_text(dedent(cadence).strip() + "\n")
    entries = "\n".join(indent(dedent(test).strip("\n"), "  ") for test in tests)
    (root / "cadences" / f"{STEM}.test.yaml").write_text(f"tests:\n{entries}\n")
    return root


def outcomes(root: Path, cadence: str = STEM) -> list[Outcome]:
    """Play the tests of a cadence."""
    workspace = load_workspace(root)

    async def play() -> list[Outcome]:
        with rehearsals(workspace) as stage:
            return [await stage.play(cadence, test) for test in workspace.tests[cadence]]

    return apart(lambda: asyncio.run(play()))


def apart(work: Callable[[], Any]) -> Any:
    """In a thread of its own: a browser test of the same process may have a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def only(root: Path) -> Outcome:
    (outcome,) = outcomes(root)
    return outcome

"""The library: whole in the repository, fitted in any workspace, and told by its tests when anything in it changes.

`NURTURE_LIBRARY_EDITS=all` plays every change; without it a sample, another one for each `NURTURE_LIBRARY_SEED`.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.authoring.check import check_workspace
from nurture.authoring.new_cadence import KINDS, write_new_cadence
from nurture.authoring.skeleton import write_skeleton
from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import rehearsals
from nurture.domain.addresses import read_address
from nurture.domain.stages import MoveKind, Stage
from nurture.store.consents import NewConsent
from nurture.store.database import Database
from nurture.store.entries import Entrant, candidates, enter
from nurture.store.events import NewEvent, record_event
from nurture.store.leads import LeadInput, save_lead
from nurture.store.segments import Asking
from nurture.store.stages import move_stage, recycle
from tests.rehearsal.playing import apart, copy_workspace
from tests.rehearsal.test_mutations import edits, is_seen

REPOSITORY = Path(__file__).parents[2]
SAMPLE = 30
"""Edits played without being asked for all: some seconds."""


def new_workspace(root: Path) -> Path:
    write_skeleton(root, secret="a secret that no test needs")
    return root


def bare_workspace(root: Path) -> Path:
    """A skeleton without its cadences: quickly read."""
    for path in (new_workspace(root) / "cadences").glob("[!_]*.yaml"):
        path.unlink()
    return root


def failures(root: Path) -> list[str]:
    """The tests of the workspace that fail, each by its cadence and name."""
    workspace = load_workspace(root)

    async def play() -> list[str]:
        with rehearsals(workspace) as stage:
            return [
                f"{stem}: {test.name}"
                for stem, tests in workspace.tests.items()
                for test in tests
                if not (await stage.play(stem, test)).passed
            ]

    failed: list[str] = apart(lambda: asyncio.run(play()))
    return failed


@pytest.mark.parametrize("kind", KINDS)
def test_the_repository_holds_what_new_writes(kind: str, tmp_path: Path) -> None:
    """So that there is one library, which people read and use alike."""
    shutil.copy(REPOSITORY / "config.toml", tmp_path)
    (tmp_path / "cadences").mkdir()
    shutil.copy(REPOSITORY / "cadences/_forms.yaml", tmp_path / "cadences")
    for file in write_new_cadence(tmp_path, kind=kind, name=kind).written:
        assert (tmp_path / file).read_bytes() == (REPOSITORY / file).read_bytes(), file


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_tests_for_its_dates_branches_and_exits(kind: str) -> None:
    tests = load_workspace(REPOSITORY).tests[kind]
    assert len(tests) >= 4
    ends = {line.kind for test in tests for line in test.expected[-1:]}
    assert {"exit", "completed"} <= ends or kind == "re-engage"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "played"), [(new_workspace, ["welcome", "trial"]), (copy_workspace, KINDS)], ids=["init", "acceptance"]
)
def test_in_another_workspace_and_under_another_name_it_is_clean_and_green(make, played, tmp_path: Path) -> None:
    """All are checked in both; playing all of them in one is enough."""
    root = make(tmp_path / "workspace")
    before = {finding.file for finding in check_workspace(root).findings}
    for kind in KINDS:
        write_new_cadence(root, kind=kind, name=f"our-{kind}")
    assert {finding.file for finding in check_workspace(root).findings} == before
    for stem in set(load_workspace(root).tests) - {f"our-{kind}" for kind in played}:
        (root / f"cadences/{stem}.test.yaml").unlink()
    assert failures(root) == []


# --- who enters

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def add_lead(connection: Any, name: str, *, at: datetime) -> int:
    consent = NewConsent(text="yes", source="test")
    return save_lead(connection, LeadInput(address=read_address(f"{name}@acme.example"), consent=consent), now=at).id


def add_event(connection: Any, lead_id: int, kind: str, *, at: datetime, **props: str) -> int | None:
    new = NewEvent(lead_id=lead_id, kind=kind, at=at, source="test", source_id=f"{lead_id} {at} {props}", props=props)
    return record_event(connection, new, now=at)


def who(connection: Any, cadence: str, *, at: datetime = NOW) -> list[tuple[int, int | None]]:
    """(lead, event) of those who would enter the repository's cadence now."""
    workspace = load_workspace(REPOSITORY)
    asking = Asking(now=at, half_life=timedelta(days=14), engagement_cap=60)
    query = candidates(workspace.cadences[cadence], workspace.vocabulary, asking, taken_up_at=NOW - timedelta(days=365))
    return [(row.lead_id, row.event_id) for row in connection.execute(query)]


def test_who_sales_gave_back_rests_and_nobody_else(database: Database) -> None:
    year_ago, week_ago = NOW - timedelta(days=365), NOW - timedelta(days=7)
    with database.transaction() as connection:
        back, new, warm, won = (add_lead(connection, name, at=year_ago) for name in ("back", "new", "warm", "won"))
        for lead_id in (back, warm, won):
            move_stage(connection, lead_id, Stage.MQL, kind=MoveKind.PROMOTION, because="test", now=week_ago)
        move_stage(connection, won, Stage.CUSTOMER, kind=MoveKind.PROMOTION, because="test", now=NOW)
        assert recycle(connection, back, because="ben rejected it: timing", now=NOW)
        assert who(connection, "recycle") == [(back, None)]
        assert [lead_id for lead_id, _ in who(connection, "welcome")] == [back, new]


def test_each_registration_of_a_person_is_a_run_with_its_own_date(database: Database) -> None:
    workspace = load_workspace(REPOSITORY)
    with database.transaction() as connection:
        zoe = add_lead(connection, "zoe", at=NOW)
        first = add_event(connection, zoe, "webinar registered", at=NOW, starts_at="2026-11-12T15:00:00Z")
        assert who(connection, "webinar") == [(zoe, first)]
        entrants = [Entrant(lead_id=zoe, event_id=first)]
        enter(connection, entrants, version="1", cadence=workspace.cadences["webinar"], now=NOW, arm_key=None)
        assert who(connection, "webinar") == []
        later = NOW + timedelta(days=1)
        second = add_event(connection, zoe, "webinar registered", at=later, starts_at="2026-12-03T15:00:00Z")
        assert who(connection, "webinar", at=later) == [(zoe, second)]


def test_only_the_form_of_the_guide_is_followed_up(database: Database) -> None:
    with database.transaction() as connection:
        zoe, max_ = (add_lead(connection, name, at=NOW) for name in ("zoe", "max"))
        taken = add_event(connection, zoe, "form submitted", at=NOW, form="guide")
        add_event(connection, max_, "form submitted", at=NOW, form="contact")
        assert who(connection, "lead-magnet") == [(zoe, taken)]


def test_silence_is_no_answer_where_nobody_wrote(database: Database) -> None:
    """Who was silent for a year, but got no mail in it, is neither asked nor let go."""
    with database.transaction() as connection:
        add_lead(connection, "zoe", at=NOW - timedelta(days=365))
        assert who(connection, "re-engage") == []


# --- whatever is changed is seen

MORE = {
    "offset": (r"^(\s*offset: -?)(\d+)(?= )", lambda match: f"{match[1]}{int(match[2]) + 1}"),
    "until": (r"^(\s*- wait_until: )(.*)$", lambda match: f"{match[1]}2027-05-05 10:00"),
    "at": (r"^(\s*up_to: .* at )(\d\d:\d\d)", lambda match: f"{match[1]}11:30"),
    "met": (r"^(\s*- wait_for: )(.*)$", lambda match: f"{match[1]}tag('never')"),
    "when": (r"^(\s*when: )(.*)$", lambda match: f"{match[1]}'not ({match[2]})'"),
    "within": (r'^(\s*(?:- if|when): .*within=")(\d+)', lambda match: f"{match[1]}{int(match[2]) + 1}"),
    "number": (r"^(\s*when: .*>= )(\d+)$", lambda match: f"{match[1]}{int(match[2]) + 1}"),
    "expiry": (r"^(\s*expires: )(.*)\n", lambda match: ""),
    "at once": (r"^(\s*transactional: )(.*)\n", lambda match: ""),
    "jump": (r"^(\s*- goto: )(.*)$", lambda match: f"{match[1]}ask"),
    "ending": (r"^(\s*- exit: )(.*)$", lambda match: f"{match[1]}{match[2]} either"),
    "sunset": (r"^(\s*- )sunset: .*$", lambda match: f"{match[1]}tag: silent"),
    "task": (r"^(\s*- task: \")", lambda match: f"{match[1]}Re: "),
    "enrollment": (r"since=\"enrollment\"", lambda match: 'since="enrollment", times=2'),
    "hours": (r"^(window: .*hours: \")(\d\d:\d\d)", lambda match: f"{match[1]}10:30"),
    "days": (r"^(window: \{days: )([a-z-]+)", lambda match: f"{match[1]}mon-sun"),
    "holidays": (r"^(window: .*, holidays: )lead", lambda match: f"{match[1]}none"),
}
UNSEEN = {
    "lead-magnet": ("hours", "days", "holidays"),  # every step of it falls on a working morning by its waits alone
}


def all_edits(kind: str, text: str) -> Iterator[tuple[str, str]]:
    """(what, the cadence with that changed at one place)."""
    yield from edits(text)
    for what, (pattern, change) in MORE.items():
        for match in re.finditer(pattern, text, re.MULTILINE):
            if what not in UNSEEN.get(kind, ()):
                yield f"{what} {match[0].strip()}", text[: match.start()] + change(match) + text[match.end() :]


@pytest.mark.slow
def test_any_change_of_the_library_is_seen(tmp_path: Path) -> None:
    """Each edit is played with the tests beside it, of which one at least must tell."""
    roots = {kind: bare_workspace(tmp_path / kind) for kind in KINDS}
    for kind, root in roots.items():
        write_new_cadence(root, kind=kind, name=kind)
    said = [
        (kind, what, edited)
        for kind, root in roots.items()
        for what, edited in all_edits(kind, (root / f"cadences/{kind}.yaml").read_text(encoding="utf-8"))
    ]
    assert len(said) > 100
    if os.environ.get("NURTURE_LIBRARY_EDITS") != "all":
        said = random.Random(os.environ.get("NURTURE_LIBRARY_SEED", "1")).sample(said, SAMPLE)

    async def unseen() -> list[str]:
        missed = []
        for kind, root in roots.items():
            with rehearsals(load_workspace(root)) as stage:
                for _, what, edited in (each for each in said if each[0] == kind):
                    if not await is_seen(stage, root, kind, edited):
                        missed.append(f"{kind}: {what}")
        return missed

    missed = apart(lambda: asyncio.run(unseen()))
    assert not missed, "\n".join(missed)

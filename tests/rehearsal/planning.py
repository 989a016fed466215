"""What a plan says, and what happens when the edit is taken up, as groups of leads that can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from nurture.authoring.workspace import Workspace, load_workspace
from nurture.cli.plan import taking_up
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.copying import as_it_is
from nurture.rehearsal.plan import CadencePlan, make_plan
from nurture.store import tables as t
from nurture.store.database import Database
from tests.engine.world import MONDAY, World, make_root, open_world
from tests.migrated import emptied

GONE = "(gone)"
LONG_AGO, NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
Groups = dict[str, dict[str, set[str]]]
"""cadence -> group -> addresses; groups without anybody are left out."""


def planned(world: World) -> dict[str, CadencePlan]:
    """What `nurture plan` finds for the files as they are now."""
    return planned_in(world.installation.root, world.clock())


def planned_in(root: Path, now: datetime) -> dict[str, CadencePlan]:
    files = load_workspace(root)
    with as_it_is(files.settings, files.root) as database:
        plans = make_plan(database, files, take_up=taking_up(files, now=now), now=now, names=True)
    return {each.edit.cadence: each for each in plans}


def as_groups(plans: dict[str, CadencePlan]) -> Groups:
    named = {name: {group: set(who) for group, who in plan.names.items() if who} for name, plan in plans.items()}
    for plan in plans.values():
        told = {group.value: count for group, count in plan.groups.items() if count and group.value != "same"}
        assert told == {group: len(who) for group, who in plan.names.items() if who and group != "enroll"}
        assert plan.active == plan.same + sum(told.values())
    return {name: groups for name, groups in named.items() if groups}


def standing(database: Database) -> dict[int, Any]:
    e, lead = t.enrollment.c, t.lead.c
    with database.reading() as connection:
        query = select(t.enrollment, lead.email).join(t.lead, lead.id == e.lead_id).order_by(e.id)
        return {row.id: row for row in connection.execute(query)}


def what_happened(before: dict[int, Any], without: dict[int, Any], after: dict[int, Any], files: Workspace) -> Groups:
    """By the rows alone: of each enrollment before the edit, how it stands with the edit and without."""
    groups: Groups = {}
    for key, was in before.items():
        if was.status not in ("active", "paused"):
            continue
        group = _group(was, without[key], after[key], files)
        if group is not None:
            groups.setdefault(was.cadence, {}).setdefault(group, set()).add(was.email)
    return groups


def _group(was: Any, stands: Any, became: Any, files: Workspace) -> str | None:
    if became.status == "exited" and stands.status != "exited":
        return "exit"
    cadence = files.cadences.get(was.cadence)
    follows = cadence is not None and cadence.on_edit == "follow" and became.version != was.version
    if follows and cadence is not None and was.step not in (None, GONE) and was.step not in cadence.steps:
        return "step_lost"
    if stands.status == "exited" and became.status != "exited":
        return "later"
    one, other = _comes(stands), _comes(became)
    return None if one == other else "earlier" if other < one else "later"


def _comes(row: Any) -> datetime:
    if row.status == "paused" or row.blocked_by == "paused":
        return NEVER
    if row.status in ("completed", "exited") or row.message_id is not None:
        return LONG_AGO
    return NEVER if row.due_at is None else row.due_at


def entered(before: dict[int, Any], after: dict[int, Any]) -> Groups:
    groups: Groups = {}
    for key, row in after.items():
        if key not in before:
            groups.setdefault(row.cadence, {}).setdefault("enroll", set()).add(row.email)
    return groups


@contextmanager
def opened(root: Path, postgres_url: str | None, *, config: str = "", **cadences: str) -> Iterator[World]:
    """A world over SQLite, or over a PostgreSQL that is emptied first."""
    if postgres_url is not None:
        emptied(postgres_url)
    made = make_root(root, url=postgres_url or "sqlite:///nurture.db", config=config, **cadences)
    world = open_world(made, clock=VirtualClock(MONDAY))
    try:
        yield world
    finally:
        world.database.close()

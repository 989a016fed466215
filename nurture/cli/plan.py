"""`nurture plan`: what the files would change for the leads under way, before the daemon takes them up."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from nurture.authoring.check import findings_of
from nurture.authoring.content_checks import library_of
from nurture.authoring.sources import read_sources
from nurture.authoring.workspace import Workspace, compile_sources
from nurture.bootstrap import Installation, Rehearsed, build_stages, system_clock
from nurture.cli.output import AsJson, WorkspaceDir, print_json, printable
from nurture.documents.finding import has_errors
from nurture.domain.problem import Problem
from nurture.logs import prepare_logging
from nurture.pipeline.rules import Rules
from nurture.rehearsal.copying import as_it_is
from nurture.rehearsal.edits import Change, Edit
from nurture.rehearsal.plan import CadencePlan, Group, TakeUp, make_plan
from nurture.rehearsal.transport import InMemoryServer
from nurture.settings import require_config
from nurture.store.database import Database

STEPS_TOLD = 12
"""Steps of one kind that are named for a person; a program gets all."""


def plan(
    as_json: AsJson = False,
    names: Annotated[bool, typer.Option("--names", help="Say who, by address.")] = False,
    workspace: WorkspaceDir = Path(),
) -> None:
    """Show what the files would change for the leads under way. Nothing is sent, changed or made."""
    prepare_logging()
    files = _read(workspace, as_json=as_json)
    now = system_clock()
    with as_it_is(files.settings, workspace) as database:
        plans = make_plan(database, files, take_up=taking_up(files, now=now), now=now, names=names)
    if as_json:
        print_json({"cadences": [_document(each, names=names) for each in plans]})
    else:
        _print(plans, files, names=names, is_made=database is not None)


def taking_up(files: Workspace, *, now: datetime) -> TakeUp:
    """Takes these files up in a scratch database, through the stages, at this moment."""

    def take_up(scratch: Database) -> Rules:
        quiet = replace(files, settings=files.settings.model_copy(update={"dkim": {}}))  # nothing is signed

        def clock() -> datetime:
            return now

        installation = _Rehearsed(
            root=files.root,
            settings=quiet.settings,
            database=scratch,
            clock=clock,
            rng=random.Random(0),  # noqa: S311  it guards nothing
            seed="plan",
        )
        servers = {name: InMemoryServer(name, clock=clock) for name in files.settings.servers}
        return build_stages(installation, quiet, sole_worker=True, servers=servers).rules

    return take_up


@dataclass(frozen=True, kw_only=True)
class _Rehearsed(Rehearsed):
    """Draws paths and arms as the daemon does, where its secret is at hand; else by one that is made up."""

    @cached_property
    def secrets(self) -> list[str]:
        real = Installation(
            root=self.root, settings=self.settings, database=self.database, clock=self.clock, rng=self.rng
        )
        try:
            return real.secrets
        except Problem:
            return super().secrets


def _read(root: Path, *, as_json: bool) -> Workspace:
    """The files, as `check` reads them; their mistakes are told as `check` tells them, and end the command."""
    require_config(root)
    compiled = compile_sources(read_sources(root))
    findings = findings_of(compiled, library_of(compiled))
    if compiled.workspace is None or has_errors(list(findings)):
        for finding in findings:
            typer.echo(printable(str(finding)), err=as_json)
        raise typer.Exit(1)
    return compiled.workspace


# --- for a program


def _document(plan: CadencePlan, *, names: bool) -> dict[str, Any]:
    edit = plan.edit
    document: dict[str, Any] = {
        "cadence": edit.cadence,
        "change": edit.change.value,
        "steps": {
            "added": edit.steps.added,
            "removed": edit.steps.removed,
            "changed": edit.steps.changed,
            "moved": edit.steps.moved,
        },
        "keys": edit.keys,
        "leads": {
            "active": plan.active,
            "same": plan.same,
            **{group.value: plan.groups[group] for group in _MOVED},
            "enroll": plan.enroll,
        },
        "held": plan.is_held,
    }
    if names:
        document["names"] = {name: plan.names.get(name, []) for name in _NAMED}
    return document


_MOVED = (Group.EARLIER, Group.LATER, Group.STEP_LOST, Group.EXIT)
_NAMED = (*(group.value for group in _MOVED), "enroll")


# --- for a person


def _print(plans: Sequence[CadencePlan], files: Workspace, *, names: bool, is_made: bool) -> None:
    if not is_made:
        typer.echo("There is no database yet, so nobody is under way: every cadence is new.")
    at_once = files.settings.limits.enroll_at_once
    for plan in plans:
        lines = [*_changes(plan.edit), *_leads(plan), *_entering(plan, at_once)]
        if plan.edit.change is Change.SAME and not lines:
            continue
        typer.echo(f"{plan.edit.cadence}: {_HEADS[plan.edit.change]}")
        for line in lines:
            typer.echo(f"  {printable(line)}")
        for name in _NAMED if names else ():
            if plan.names.get(name):
                typer.echo(f"  {name.replace('_', ' ')}: {printable(', '.join(plan.names[name]))}")
    unchanged = sum(plan.edit.change is Change.SAME for plan in plans)
    if unchanged:
        typer.echo(f"{_count(unchanged, 'cadence')} unchanged")


_HEADS: Mapping[Change, str] = {
    Change.NEW: "new",
    Change.CHANGED: "changed",
    Change.REMOVED: "its file is gone",
    Change.SAME: "unchanged itself, but other changes reach its leads",
}


def _changes(edit: Edit) -> list[str]:
    """What the file says otherwise."""
    if edit.change is not Change.CHANGED:
        return []
    parts = {
        "added": edit.steps.added,
        "removed": edit.steps.removed,
        "changed": edit.steps.changed,
        "moved": edit.steps.moved,
    }
    lines = [f"steps {name}: {_few(keys)}" for name, keys in parts.items() if keys]
    if edit.keys:
        lines.append(f"also changed: {', '.join(f'`{key}`' for key in edit.keys)}")
    return lines


def _few(keys: Sequence[str]) -> str:
    more = len(keys) - STEPS_TOLD
    return ", ".join(keys[:STEPS_TOLD]) + (f" and {more} more" if more > 0 else "")


def _leads(plan: CadencePlan) -> list[str]:
    """What becomes of those under way, in a sentence."""
    edit = plan.edit
    if edit.change is Change.NEW or (edit.change is Change.SAME and not any(plan.groups[each] for each in _MOVED)):
        return []
    if not plan.active:
        return ["Nobody is under way."]
    if edit.change is Change.REMOVED:
        return [_say(_ALL_LEAVE, plan.active)]
    said = [_say(_SAYS[group], count) for group in _MOVED if (count := plan.groups[group])]
    if plan.same:
        said.append("all go on as before" if plan.same == plan.active else _say(_REST, plan.same))
    lines = [f"Of {_count(plan.active, 'lead')} under way {', '.join(said)}."]
    if edit.is_tried and edit.after is not None:
        lines.append(f"The change is tried on the next {edit.after.canary} leads who enter (`canary`); nobody moves.")
    elif edit.after is not None and edit.after.on_edit == "pin" and edit.change is Change.CHANGED:
        lines.append("Who is under way finishes on the old version (`on_edit: pin`).")
    elif edit.after is not None and edit.after.on_edit == "restart" and edit.change is Change.CHANGED:
        lines.append("Everybody begins again from the top, without a mail twice (`on_edit: restart`).")
    return lines


def _say(one_or_more: tuple[str, str], count: int) -> str:
    one, more = one_or_more
    return one if count == 1 else more.format(count)


_ALL_LEAVE = ("The 1 lead under way leaves it at once.", "All {} leads under way leave it at once.")
_REST = ("1 goes on as before", "{} go on as before")
_SAYS: Mapping[Group, tuple[str, str]] = {
    Group.EARLIER: ("1 moves earlier", "{} move earlier"),
    Group.LATER: ("1 moves later", "{} move later"),
    Group.STEP_LOST: ("1 loses its step and goes on at the next one", "{} lose their step and go on at the next one"),
    Group.EXIT: ("1 leaves at once", "{} leave at once"),
}
"""Of one lead, and of more."""


def _entering(plan: CadencePlan, at_once: int) -> list[str]:
    if not plan.enroll and not plan.is_held:
        return []
    wait = ""
    if plan.is_held:
        wait = f" (more than `[limits] enroll_at_once`, {at_once}, may enter: they wait for `nurture release`)"
    return [f"{_count(plan.enroll, 'lead')} would enroll at once{wait}."]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

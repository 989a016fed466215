"""Cadence versions: a compiled cadence is stored whole, its hash is its identity, and one version is in force.

A lead under way goes on by its enrollment's version. When a new version is taken up, running enrollments follow it at
the same step; where that step is gone, at the next one that survives (spec 4.5).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, insert, select, update

from nurture.domain.cadence import Cadence, StepKey
from nurture.domain.enrollment import RUNNING
from nurture.store import tables as t
from nurture.store.database import insert as upsert
from nurture.store.database import insert_ignore

_CADENCE: TypeAdapter[Cadence] = TypeAdapter(Cadence)
GONE = "(gone)"
"""The step of an enrollment none of whose later steps survived: it completes at the next look."""


def compiled_form(cadence: Cadence) -> dict[str, Any]:
    """The cadence as JSON, the same for equal cadences."""
    form: dict[str, Any] = _sorted_sets(_CADENCE.dump_python(cadence, mode="json"))
    return form


def version_of(cadence: Cadence) -> str:
    """16 hexadecimal digits of the SHA-256 of the compiled form."""
    text = json.dumps(compiled_form(cadence), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_version(connection: Connection, version: str) -> Cadence:
    """A stored version. Raises LookupError for one that was never taken up."""
    form = connection.scalar(select(t.cadence_version.c.compiled).where(t.cadence_version.c.version == version))
    if form is None:
        raise LookupError(f"cadence version {version} was never taken up")
    return _parse(json.dumps(form))


def load_versions(connection: Connection, versions: set[str]) -> dict[str, Cadence]:
    """Several stored versions at once; parsing is cached, because a version never changes."""
    rows = connection.execute(
        select(t.cadence_version.c.version, t.cadence_version.c.compiled).where(
            t.cadence_version.c.version.in_(sorted(versions))
        )
    )
    return {row.version: _parse(json.dumps(row.compiled)) for row in rows}


def current_cadences(connection: Connection) -> dict[str, tuple[str, Cadence]]:
    """stem -> (version, cadence) of every cadence in force; removed ones are left out."""
    rows = connection.execute(
        select(t.cadence_state.c.cadence, t.cadence_state.c.version).where(t.cadence_state.c.removed_at.is_(None))
    ).all()
    versions = load_versions(connection, {row.version for row in rows})
    return {row.cadence: (row.version, versions[row.version]) for row in rows}


def take_up(connection: Connection, cadences: Mapping[str, Cadence], *, now: datetime) -> list[str]:
    """Put these cadences in force. Returns the stems of those that are new to this database."""
    states = {row.cadence: row for row in connection.execute(select(t.cadence_state))}
    new = []
    for name, cadence in cadences.items():
        version = version_of(cadence)
        state = states.get(name)
        if state is not None and state.version == version and state.removed_at is None:
            continue
        connection.execute(
            insert_ignore(connection, t.cadence_version).values(
                version=version, cadence=name, compiled=compiled_form(cadence), taken_up_at=now
            )
        )
        if state is None:
            connection.execute(insert(t.cadence_state).values(cadence=name, version=version, first_taken_up_at=now))
            new.append(name)
        else:
            _replace(connection, name, state.version, version, cadence, now=now)
    _remove(connection, sorted(set(states) - set(cadences)), now=now)
    return new


def remember_current(connection: Connection, cadence: str, lead_ids: list[int]) -> None:
    """Leads who met the segment when an `only_future` cadence was first taken up: they never enter it."""
    for start in range(0, len(lead_ids), 5000):
        rows = [{"cadence": cadence, "lead_id": lead_id} for lead_id in lead_ids[start : start + 5000]]
        connection.execute(upsert(connection, t.current_lead).on_conflict_do_nothing(), rows)


def _replace(connection: Connection, name: str, before: str, version: str, cadence: Cadence, *, now: datetime) -> None:
    state, enrollment = t.cadence_state, t.enrollment
    connection.execute(
        update(state).where(state.c.cadence == name, state.c.version == before).values(version=version, removed_at=None)
    )
    running = enrollment.c.status.in_([status.value for status in RUNNING])
    follows = (enrollment.c.cadence == name) & running & (enrollment.c.version != version)
    for step, survivor in moved_steps(load_version(connection, before), cadence).items():
        connection.execute(update(enrollment).where(follows, enrollment.c.step == step).values(step=survivor))
    # a wait is measured again from when it began; an enrollment that awaits a message keeps awaiting it
    connection.execute(
        update(enrollment).where(follows).values(version=version, priority=cadence.priority, ready_at=None, due_at=now)
    )


def _remove(connection: Connection, names: list[str], *, now: datetime) -> None:
    if names:
        connection.execute(
            update(t.cadence_state)
            .where(t.cadence_state.c.cadence.in_(names), t.cadence_state.c.removed_at.is_(None))
            .values(removed_at=now)
        )


def moved_steps(before: Cadence, after: Cadence) -> dict[StepKey, StepKey]:
    """step that is gone -> the next one in the old order that survives (or GONE)."""
    moved: dict[StepKey, StepKey] = {}
    order = list(before.steps)
    for place, key in enumerate(order):
        if key not in after.steps:
            moved[key] = next((later for later in order[place + 1 :] if later in after.steps), GONE)
    return moved


@lru_cache(maxsize=512)
def _parse(text: str) -> Cadence:
    return _CADENCE.validate_json(text)


def _sorted_sets(value: Any) -> Any:
    """Sets dump as lists in no particular order; weekdays are the only ones, and sort."""
    if isinstance(value, dict):
        return {key: _sorted_sets(each) for key, each in value.items()}
    if isinstance(value, list):
        if all(isinstance(each, int) for each in value):
            return sorted(value)
        return [_sorted_sets(each) for each in value]
    return value

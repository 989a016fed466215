"""Cadence versions: a compiled cadence is stored whole, its hash is its identity, and one version is in force.

A lead under way goes on by its enrollment's version. When a new version is taken up, running enrollments follow it at
the same step; where that step is gone, at the next one that survives (spec 4.5).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, case, select, update

from nurture.domain.cadence import Branch, Cadence, Split, Step, StepKey
from nurture.domain.enrollment import RUNNING, ExitReason
from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.database import insert as upsert
from nurture.store.database import insert_ignore
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import arrange, end, lock_lead_rows
from nurture.store.pauses import let_mail_go

_CADENCE: TypeAdapter[Cadence] = TypeAdapter(Cadence)
_NO_TRIAL: dict[str, Any] = {"canary_version": None, "canary_at": None, "canary_stopped_at": None}
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


@dataclass(frozen=True, kw_only=True)
class InForce:
    """A cadence in force, with what its entering depends on."""

    version: str
    cadence: Cadence
    first_taken_up_at: datetime
    snapshot_at: datetime | None
    cleared_version: str | None
    held_count: int | None
    trial: Trial | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A changed version that goes ahead for its `canary` first enrollments, while another stays in force."""

    version: str
    cadence: Cadence
    began_at: datetime
    is_stopped: bool


def in_force(connection: Connection) -> dict[str, InForce]:
    """stem -> the cadence in force; removed ones are left out."""
    s = t.cadence_state
    rows = connection.execute(select(s).where(s.c.removed_at.is_(None))).all()
    versions = load_versions(connection, {each for row in rows for each in (row.version, row.canary_version) if each})
    return {
        row.cadence: InForce(
            version=row.version,
            cadence=versions[row.version],
            first_taken_up_at=row.first_taken_up_at,
            snapshot_at=row.snapshot_at,
            cleared_version=row.cleared_version,
            held_count=row.held_count,
            trial=None if row.canary_version is None else _trial(row, versions[row.canary_version]),
        )
        for row in rows
    }


def _trial(row: Any, cadence: Cadence) -> Trial:
    return Trial(
        version=row.canary_version,
        cadence=cadence,
        began_at=row.canary_at,
        is_stopped=row.canary_stopped_at is not None,
    )


def mark_snapshot(connection: Connection, cadence: str, *, now: datetime) -> None:
    """Its current leads are remembered: never again."""
    s = t.cadence_state
    connection.execute(update(s).where(s.c.cadence == cadence, s.c.snapshot_at.is_(None)).values(snapshot_at=now))


def hold_back(connection: Connection, cadence: str, count: int) -> None:
    """The version in force would enroll so many that a person must release it."""
    connection.execute(update(t.cadence_state).where(t.cadence_state.c.cadence == cadence).values(held_count=count))


def clear(connection: Connection, cadence: str, version: str) -> None:
    """This version may enroll."""
    s = t.cadence_state
    here = (s.c.cadence == cadence) & (s.c.version == version)
    connection.execute(update(s).where(here).values(cleared_version=version, held_count=None))


def held_back(connection: Connection) -> dict[str, int]:
    """stem -> how many leads it would enroll, of the changes that wait for a person."""
    s = t.cadence_state.c
    held = select(s.cadence, s.held_count).where(s.held_count.is_not(None), s.removed_at.is_(None))
    return {row.cadence: row.held_count for row in connection.execute(held)}


def release(connection: Connection, cadence: str) -> int | None:
    """Let a change that is held back enroll. Returns how many leads it was held for; None: it was not held."""
    s = t.cadence_state
    row = connection.execute(select(s.c.version, s.c.held_count).where(s.c.cadence == cadence)).one_or_none()
    if row is None or row.held_count is None:
        return None
    clear(connection, cadence, row.version)
    return int(row.held_count)


def current_cadences(connection: Connection) -> dict[str, tuple[str, Cadence]]:
    """stem -> (version, cadence) of every cadence in force; removed ones are left out."""
    return {name: (state.version, state.cadence) for name, state in in_force(connection).items()}


def take_up(connection: Connection, cadences: Mapping[str, Cadence], *, now: datetime) -> list[str]:
    """Put these cadences in force. Returns the stems of those that are new to this database."""
    # locked before anything else is, so that nobody enrolls into what is about to change
    locked = select(t.cadence_state).order_by(t.cadence_state.c.cadence).with_for_update()
    states = {row.cadence: row for row in connection.execute(locked)}
    new: list[str] = []
    for name, cadence in cadences.items():
        version = version_of(cadence)
        state = states.get(name)
        if state is not None and state.removed_at is None and version in (state.version, state.canary_version):
            if version == state.version and state.canary_version is not None:
                _end_trial(connection, name, version, cadence, now=now)
            continue
        connection.execute(
            insert_ignore(connection, t.cadence_version).values(
                version=version, cadence=name, compiled=compiled_form(cadence), taken_up_at=now
            )
        )
        if state is None:
            # two hosts that start at once: the first one's row stands
            first = insert_ignore(connection, t.cadence_state).values(
                cadence=name, version=version, status=cadence.status, first_taken_up_at=now
            )
            new += connection.scalars(first.returning(t.cadence_state.c.cadence))
        elif cadence.canary is not None and cadence.status == "live" and state.removed_at is None:
            _begin_trial(connection, state, version, cadence, now=now)
        else:
            replace_version(connection, name, state.version, version, cadence, now=now)
    _remove(connection, sorted(set(states) - set(cadences)), now=now)
    return new


def is_in_force(connection: Connection, cadence: str, version: str, *, patiently: bool = True) -> bool:
    """Whether this version is, or is tried and not stopped, and stays so until the commit.

    Not `patiently`: an edit that is under way counts as done, for it may wait for what the caller holds.
    """
    s = t.cadence_state.c
    tried = (s.canary_version == version) & s.canary_stopped_at.is_(None)
    found = select(s.cadence).where(s.cadence == cadence, (s.version == version) | tried, s.removed_at.is_(None))
    return connection.scalar(found.with_for_update(read=True, skip_locked=not patiently)) is not None


def remember_current(connection: Connection, cadence: str, lead_ids: list[int]) -> None:
    """Leads who met the segment when an `only_future` cadence was first taken up: they never enter it."""
    for start in range(0, len(lead_ids), 5000):
        rows = [{"cadence": cadence, "lead_id": lead_id} for lead_id in lead_ids[start : start + 5000]]
        connection.execute(upsert(connection, t.current_lead).on_conflict_do_nothing(), rows)


def _begin_trial(connection: Connection, state: Any, version: str, cadence: Cadence, *, now: datetime) -> None:
    """Who is in a change that was tried before this one, or was stopped, goes on in this one."""
    s = t.cadence_state
    tried = {"canary_version": version, "canary_at": now, "canary_stopped_at": None}
    connection.execute(update(s).where(s.c.cadence == state.cadence).values(tried))
    if state.canary_version is not None:
        _move_over(connection, state.cadence, version, cadence, only_from=state.canary_version, now=now)


def _end_trial(connection: Connection, name: str, version: str, cadence: Cadence, *, now: datetime) -> None:
    """The file says again what is in force: who tried the change goes on as everybody does."""
    s = t.cadence_state
    connection.execute(update(s).where(s.c.cadence == name).values(_NO_TRIAL))
    _move_over(connection, name, version, cadence, now=now)


def replace_version(
    connection: Connection, name: str, before: str, version: str, cadence: Cadence, *, now: datetime
) -> None:
    """Put another version in force, as its `on_edit` says; a change that was tried is over."""
    state = t.cadence_state
    connection.execute(
        update(state)
        .where(state.c.cadence == name, state.c.version == before)
        .values(version=version, status=cadence.status, removed_at=None, held_count=None, **_NO_TRIAL)
    )
    if load_version(connection, before).status in ("draft", "paused") and cadence.status not in ("draft", "paused"):
        let_mail_go(connection, [t.message.c.cadence == name], now=now)
    if cadence.on_edit != "pin":
        _move_over(connection, name, version, cadence, now=now)
    running = t.enrollment.c.status.in_([status.value for status in RUNNING])
    beside = select(t.enrollment.c.lead_id).where(t.enrollment.c.cadence == name, running)
    arrange(connection, connection.scalars(beside).all(), now=now)


def _move_over(
    connection: Connection, name: str, version: str, cadence: Cadence, *, now: datetime, only_from: str | None = None
) -> None:
    """Who is under way in another version goes on in this one: at its step, or (`restart`) from the top."""
    e = t.enrollment
    running = e.c.status.in_([status.value for status in RUNNING])
    others = (e.c.cadence == name) & running & (e.c.version != version)
    if only_from is not None:
        others &= e.c.version == only_from
    lock_lead_rows(connection, connection.scalars(select(e.c.lead_id).where(others)))
    for older in connection.scalars(select(e.c.version).where(others).distinct()).all():
        follows = others & (e.c.version == older)
        step: dict[str, Any] = {"step": cadence.first, "since_at": now} if cadence.on_edit == "restart" else {}
        if not step:
            for gone, survivor in moved_steps(load_version(connection, older), cadence).items():
                connection.execute(update(e).where(follows, e.c.step == gone).values(step=survivor))
        # a wait is measured again from when it began; an enrollment that awaits a message keeps awaiting it
        connection.execute(
            update(e)
            .where(follows)
            .values(
                **step,
                version=version,
                priority=cadence.priority,
                concurrent=cadence.concurrent,
                ready_at=None,
                due_at=now,
                # who was not due before can't be late for what this edit makes due
                late_from=case((e.c.due_at <= now, e.c.late_from), else_=now),
            )
        )


def _remove(connection: Connection, names: list[str], *, now: datetime) -> None:
    """Cadences whose files are gone: who was in one leaves it, and what it held back goes on."""
    if not names:
        return
    connection.execute(
        update(t.cadence_state)
        .where(t.cadence_state.c.cadence.in_(names), t.cadence_state.c.removed_at.is_(None))
        .values(removed_at=now)
    )
    e, reason = t.enrollment.c, ExitReason.REMOVED.value
    inside = select(e.id, e.lead_id, e.cadence).where(
        e.cadence.in_(names), e.status.in_([status.value for status in RUNNING])
    )
    leaving = {row.id: row for row in connection.execute(inside)}
    lock_lead_rows(connection, {row.lead_id for row in leaving.values()})
    ended = end(connection, sorted(leaving), reason=reason, now=now)
    record_decisions(
        connection,
        [
            NewDecision(
                lead_id=lead_id,
                enrollment_id=enrollment_id,
                cadence=leaving[enrollment_id].cadence,
                code=Reason.EXITED,
                at=now,
                detail={"reason": reason},
            )
            for enrollment_id, lead_id in ended
        ],
    )
    arrange(connection, [lead_id for _, lead_id in ended], now=now)


def moved_steps(before: Cadence, after: Cadence) -> dict[StepKey, StepKey]:
    """step that is gone -> the next one on its path that survives (or GONE)."""
    return {key: _survivor(before, key, after) for key in before.steps if key not in after.steps}


def _survivor(before: Cadence, gone: StepKey, after: Cadence) -> StepKey:
    key: StepKey | None = gone
    for _ in before.steps:  # each step at most once, should a path lead back
        if key is None or key in after.steps:
            break
        key = _onward(before.steps[key])
    return key if key is not None and key in after.steps else GONE


def _onward(step: Step) -> StepKey | None:
    """Into the first path of an `if` or `split`, which is what stays when somebody takes the step away around it."""
    match step:
        case Branch():
            return step.arms[0].next
        case Split():
            return next(iter(step.paths.values())).next
        case _:
            return step.next


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

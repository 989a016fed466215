"""Stage 1: leads who meet a live cadence's segment, or to whom its trigger happens, get an enrollment.

One query a cadence finds them; the unique key (lead, cadence, run) makes a second pass, or a second worker, harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection, func, select

from nurture.domain.cadence import Cadence
from nurture.domain.conditions import Vocabulary
from nurture.store import tables as t
from nurture.store.cadences import (
    InForce,
    clear,
    hold_back,
    in_force,
    is_in_force,
    mark_snapshot,
    remember_current,
    take_up,
)
from nurture.store.database import Database
from nurture.store.entries import (
    Entrant,
    candidates,
    enter,
    lock_entrance,
    room_in_limit,
    segment_clause,
    within_accounts,
)
from nurture.store.pauses import is_stopped, paused_scopes
from nurture.store.segments import Asking
from nurture.store.trials import room_in_trial

BATCH = 2000

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class EnrollReport:
    enrolled: int


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What of the workspace the stage depends on.

    `at_once`: a change that would enroll more than this waits for a person; None: it never does. `arm_key` keys the
    draw of holdouts.
    """

    vocabulary: Vocabulary
    arm_key: bytes
    at_once: int | None


def take_up_cadences(
    *, database: Database, cadences: Mapping[str, Cadence], vocabulary: Vocabulary, asking: Asking
) -> list[str]:
    """Put the files' cadences in force; one that goes by who is there when it begins remembers them.

    Leads of an import that ran before count as current, too. Returns the stems that are new.
    """
    with database.transaction() as connection:
        new = take_up(connection, cadences, now=asking.now)
        for cadence in in_force(connection).values():
            _remember_who_is_there(connection, cadence, vocabulary, asking)
    return new


def enroll(*, database: Database, admission: Admission, asking: Asking) -> EnrollReport:
    """Enroll everyone who may enter a live cadence now. Batches commit by themselves."""
    with database.reading() as connection:
        current = in_force(connection)
        stopped = paused_scopes(connection)
    count = 0
    for name, state in current.items():
        if not _is_open(state.cadence, asking) or is_stopped(name, stopped):
            continue
        if state.snapshot_at is None:
            with database.transaction() as connection:
                _remember_who_is_there(connection, state, admission.vocabulary, asking)
        if not _is_cleared(database, state, admission, asking):
            continue
        count += _try_change(database, state, admission, asking)
        count += _enroll_all(database, state, admission, asking)
    return EnrollReport(enrolled=count)


def _try_change(database: Database, state: InForce, admission: Admission, asking: Asking) -> int:
    """The first leads who enter after a change with `canary:` go by it."""
    trial = state.trial
    if trial is None or trial.is_stopped:
        return 0
    return _enroll_all(database, replace(state, version=trial.version, cadence=trial.cadence), admission, asking)


def _enroll_all(database: Database, state: InForce, admission: Admission, asking: Asking) -> int:
    """`state.version` is what is in force, or the change that is tried, which has room for some."""
    count = 0
    while True:
        entered = _enroll_batch(database, state, admission, asking)
        if entered is None:
            break
        count += entered.made
        if entered.last:
            break
    return count


def _is_open(cadence: Cadence, asking: Asking) -> bool:
    if cadence.status != "live" or (cadence.segment is None and cadence.trigger is None):
        return False
    began = cadence.starts is None or cadence.starts <= asking.now
    return began and (cadence.ends is None or asking.now < cadence.ends)


def _remember_who_is_there(connection: Connection, state: InForce, vocabulary: Vocabulary, asking: Asking) -> None:
    """Once: for `only_future` at take-up, for `only_current` when it starts."""
    cadence = state.cadence
    waits = cadence.enroll == "only_current" and cadence.starts is not None and asking.now < cadence.starts
    if state.snapshot_at is not None or waits:
        return
    if cadence.enroll != "current_and_future" and cadence.segment is not None:
        clause = segment_clause(cadence, vocabulary, asking)
        remember_current(connection, cadence.name, list(connection.scalars(select(t.lead.c.id).where(clause))))
    mark_snapshot(connection, cadence.name, now=asking.now)


def _is_cleared(database: Database, state: InForce, admission: Admission, asking: Asking) -> bool:
    """A version enrolls once it is known to enroll no more than may be at once, or a person released it."""
    if state.cleared_version == state.version:
        return True
    cadence, most = state.cadence, admission.at_once
    waiting = 0
    if most is not None:
        query = candidates(cadence, admission.vocabulary, asking, taken_up_at=state.first_taken_up_at)
        with database.reading() as connection:
            waiting = connection.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    with database.transaction() as connection:
        if most is not None and waiting > most:
            if state.held_count != waiting:
                hold_back(connection, cadence.name, waiting)
                log.warning("enrollment_held", cadence=cadence.name, leads=waiting, at_most=most)
            return False
        clear(connection, cadence.name, state.version)
    return True


@dataclass(frozen=True, kw_only=True)
class _Batch:
    made: int
    last: bool


def _room(connection: Connection, state: InForce, asking: Asking) -> int:
    """How many may enter now, in one batch."""
    room = room_in_limit(connection, state.cadence, now=asking.now)
    rooms = [BATCH] if room is None else [BATCH, room]
    if state.trial is not None and state.version == state.trial.version:
        rooms.append(room_in_trial(connection, state.trial))
    return min(rooms)


def _enroll_batch(database: Database, state: InForce, admission: Admission, asking: Asking) -> _Batch | None:
    """None where nobody is left, or there is no room."""
    cadence = state.cadence
    with database.reading() as connection:
        limit = _room(connection, state, asking)
        query = candidates(cadence, admission.vocabulary, asking, taken_up_at=state.first_taken_up_at).limit(limit)
        rows = connection.execute(query).all() if limit else []
    if not rows:
        return None
    with database.transaction() as connection:
        if not is_in_force(connection, cadence.name, state.version):
            return None  # edited meanwhile: the next pass asks by the new version
        lock_entrance(connection, cadence, patiently=True)
        room = _room(connection, state, asking)  # others may have entered since it was counted
        found = [Entrant(lead_id=row.lead_id, event_id=row.event_id) for row in rows]
        entrants = within_accounts(connection, cadence, found)[:room]
        entered = enter(
            connection,
            entrants,
            version=state.version,
            cadence=cadence,
            now=asking.now,
            arm_key=admission.arm_key,
        )
    nobody = not entered.made and not entered.held_out
    return None if nobody else _Batch(made=len(entered.made), last=len(rows) < limit)

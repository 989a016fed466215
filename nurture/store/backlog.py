"""What a long stop left behind: when somebody last looked for work, what fell due since, and what of it is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.database import insert_ignore
from nurture.store.indexed import IS_WAITING
from nurture.store.pauses import backlog_scope, backlogs, may_go_out

_NAME = "last_pass"


def pass_before(connection: Connection, *, now: datetime) -> datetime | None:
    """When anybody last looked for work, and note that somebody does now. None: nobody ever did.

    The row stays locked until the commit: of two processes that start at once, one finds the stop and one its end.
    """
    m = t.milestone
    if connection.scalar(insert_ignore(connection, m).values(name=_NAME, at=now).returning(m.c.name)):
        return None
    this = m.c.name == _NAME
    before: datetime = connection.execute(select(m.c.at).where(this).with_for_update()).scalar_one()
    if now > before:
        connection.execute(update(m).where(this).values(at=now))
    return before


def due_by_cadence(connection: Connection, *, since: datetime, now: datetime) -> Counter[str]:
    """cadence -> what is due of it now and was there before `since`: messages that wait, and steps that may send."""
    m, e = t.message.c, t.enrollment.c
    messages = select(m.cadence, func.count()).where(
        IS_WAITING, m.not_before <= now, m.created_at <= since, m.cadence.is_not(None), may_go_out(t.message)
    )
    steps = select(e.cadence, func.count()).where(
        e.status == EnrollmentStatus.ACTIVE.value, e.due_at <= now, e.enrolled_at <= since, e.message_id.is_(None)
    )
    due: Counter[str] = Counter()
    for query in (messages.group_by(m.cadence), steps.group_by(e.cadence)):
        due.update(dict(connection.execute(query).all()))
    return due


def hold_backlog(connection: Connection, due: Counter[str], *, now: datetime) -> None:
    """Hold what could have gone out of these cadences before now."""
    for cadence, count in sorted(due.items()):
        note = f"after a long stop: {count} due"
        held = insert_ignore(connection, t.pause).values(scope=backlog_scope(cadence), at=now, note=note)
        connection.execute(held)


def let_backlog_go(connection: Connection, cadences: Collection[str], *, now: datetime) -> list[str]:
    """Look at what was held of these cadences now; what is too late by its `max_late` is left out then."""
    e = t.enrollment.c
    let_go = sorted(set(cadences) & backlogs(connection).keys())
    for cadence in let_go:
        connection.execute(delete(t.pause).where(t.pause.c.scope == backlog_scope(cadence)))
        held = (e.status == EnrollmentStatus.ACTIVE.value, e.cadence == cadence, e.blocked_by == Reason.HELD.value)
        connection.execute(update(t.enrollment).where(*held, e.due_at.is_not(None)).values(due_at=now))
    return let_go

"""Whether a stage has anything to do, asked cheaply and without a lock; what exactly, the stage finds out."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from nurture.domain.enrollment import EnrollmentStatus
from nurture.store import tables as t
from nurture.store.alerts import due_anywhere
from nurture.store.indexed import IS_SENDING, IS_WAITING
from nurture.store.outbox import Own, is_left, owners_sending
from nurture.store.pauses import may_go_out
from nurture.store.posts import due_channels
from nurture.store.presence import absent
from nurture.store.reactions import look
from nurture.store.tasks import anything_to_tell


def anything_due(
    connection: Connection, stage: str, *, now: datetime, reps: Collection[str], grace: timedelta, own: Own
) -> bool:
    """Whether rows say that this stage has work now. Enrolling and chores are no row's: they go by the clock.

    A lease is over `grace` after it ended, and at once where it is one of `own`.
    """
    match stage:
        case "react":
            pending = look(connection)
            return pending.events or pending.leads
        case "advance":
            return _enrollment_due(connection, now)
        case "deliver":
            return _message_due(connection, now) or _message_left_behind(connection, now - grace, own)
        case "post":
            return bool(due_channels(connection, now=now))
        case "hand_over":
            return due_anywhere(connection, now=now) or anything_to_tell(connection, reps, now=now)
        case _:
            return False


def _enrollment_due(connection: Connection, now: datetime) -> bool:
    e = t.enrollment.c
    due = select(e.id).where(e.status == EnrollmentStatus.ACTIVE.value, e.due_at <= now)
    return connection.scalar(due.limit(1)) is not None


def _message_due(connection: Connection, now: datetime) -> bool:
    m = t.message.c
    due = select(m.id).where(IS_WAITING, m.not_before <= now, may_go_out(t.message))
    return connection.scalar(due.limit(1)) is not None


def _message_left_behind(connection: Connection, ended_before: datetime, own: Own) -> bool:
    m = t.message.c
    over = select(m.id).where(IS_SENDING, m.lease_until < ended_before)
    if connection.scalar(over.limit(1)) is not None:
        return True
    gone = absent(connection, owners_sending(connection, besides=own.owner))
    return connection.scalar(select(m.id).where(IS_SENDING, is_left(gone, own)).limit(1)) is not None

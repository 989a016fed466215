"""How much stands in line and how long it has, asked of the rows, so that every host tells the same.

Each question is answered by a partial index; what has come to its end is never counted over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.message import MessageStatus
from nurture.store import tables as t
from nurture.store.indexed import IS_SENDING, IS_WAITING, as_indexed
from nurture.store.pauses import in_backlog, nothing_stops, paused_scopes

OPEN = (MessageStatus.QUEUED, MessageStatus.DEFERRED, MessageStatus.SENDING, MessageStatus.UNKNOWN)
"""What still needs an engine or a person."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """So many are due; the first since so many seconds (0: none is)."""

    due: int
    age_s: float


@dataclass(frozen=True, kw_only=True)
class Gauges:
    messages: Mapping[str, int]
    """By status, of those in OPEN."""
    mail: Line
    """Messages that a worker could claim now."""
    held: int
    """Messages that would be due, but for a pause."""
    leases_over: int
    workers_sending: int
    enrollments: Line
    posts: Line
    alerts_open: int
    paused: frozenset[str]
    """`all`, `cadence:NAME`, `sender:NAME` and `backlog:NAME` (`Pause.scope`)."""


def read_gauges(connection: Connection, *, now: datetime) -> Gauges:
    """Read all of them; the caller says in which transaction, so that they fit together."""
    m, e, p = t.message.c, t.enrollment.c, t.post.c
    waiting = _waiting(connection, now)
    found = Counter(dict.fromkeys(OPEN, 0))
    for row in waiting:
        found[row.status] += row.waiting
    for some in (MessageStatus.SENDING, MessageStatus.UNKNOWN):
        found[some] = _count(connection, m.status == as_indexed(some))
    may_go = [row for row in waiting if row.may_go and row.due]
    sending = IS_SENDING
    over, workers = connection.execute(
        select(func.count().filter(m.lease_until < now), func.count(m.lease_owner.distinct())).where(sending)
    ).one()
    open_alerts = t.alert.c.status.in_([literal_column("'open'"), literal_column("'snoozed'")])
    return Gauges(
        messages={status.value: found[status] for status in OPEN},
        mail=Line(
            due=sum(row.due for row in may_go), age_s=_age(min((row.first for row in may_go), default=None), now)
        ),
        held=sum(row.due for row in waiting if not row.may_go),
        leases_over=over,
        workers_sending=workers,
        enrollments=_line(connection, e.due_at, e.status == as_indexed(EnrollmentStatus.ACTIVE), now),
        posts=_line(connection, p.not_before, p.status == literal_column("'queued'"), now),
        alerts_open=_count(connection, open_alerts),
        paused=paused_scopes(connection),
    )


def _waiting(connection: Connection, now: datetime) -> Sequence[Any]:
    """Messages that wait, in one pass over their index: by status and by all that a pause goes by, which is asked of
    each such group and not of each message.
    """
    m = t.message.c
    grouped = (m.status, m.cadence, m.version, m.sender, t.pause.c.scope.label("backlog"))
    due = func.count().filter(m.not_before <= now)
    groups = select(*grouped, func.count().label("waiting"), due.label("due"), func.min(m.not_before).label("first"))
    groups = groups.select_from(t.message.outerjoin(t.pause, in_backlog(t.message)))
    of = groups.where(IS_WAITING).group_by(*grouped).subquery()
    may_go = of.c.backlog.is_(None) & nothing_stops(of)
    return connection.execute(select(of, may_go.label("may_go"))).all()


def _line(connection: Connection, since: ColumnElement[datetime], waits: ColumnElement[bool], now: datetime) -> Line:
    count, first = connection.execute(select(func.count(), func.min(since)).where(waits, since <= now)).one()
    return Line(due=count, age_s=_age(first, now))


def _age(first: datetime | None, now: datetime) -> float:
    return (now - first).total_seconds() if first is not None else 0.0


def _count(connection: Connection, of: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).where(of)) or 0

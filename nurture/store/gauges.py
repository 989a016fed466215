"""How much stands in line and how long it has, asked of the rows, so that every host tells the same.

Each question is answered by a partial index; what has come to its end is never counted over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, literal_column, select

from nurture.domain.domain_health import ANY_SENDER
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
    """Messages that would be due, but for a pause, and all that a pause of their recipient's domain keeps."""
    leases_over: int
    workers_sending: int
    enrollments: Line
    posts: Line
    alerts_open: int
    paused: frozenset[str]
    """`all`, `cadence:NAME`, `sender:NAME` and `backlog:NAME` (`Pause.scope`)."""
    domains_ill: int
    """Recipients' domains that refuse so many that all mail to them waits."""
    senders_blocked: int
    """Senders' mail to a recipient's domain that waits because the domain blocks it."""


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
    ill, blocked = _domain_pauses(connection, now)
    open_alerts = t.alert.c.status.in_([literal_column("'open'"), literal_column("'snoozed'")])
    return Gauges(
        messages={status.value: found[status] for status in OPEN},
        mail=Line(
            due=sum(row.due for row in may_go), age_s=_age(min((row.first for row in may_go), default=None), now)
        ),
        held=sum(row.due for row in waiting if not row.may_go) + sum(row.behind for row in waiting),
        leases_over=over,
        workers_sending=workers,
        enrollments=_line(connection, e.due_at, e.status == as_indexed(EnrollmentStatus.ACTIVE), now),
        posts=_line(connection, p.not_before, p.status == literal_column("'queued'"), now),
        alerts_open=_count(connection, open_alerts),
        paused=paused_scopes(connection),
        domains_ill=ill,
        senders_blocked=blocked,
    )


def _waiting(connection: Connection, now: datetime) -> Sequence[Any]:
    """Messages that wait, in one pass over their index: by status and by all that a pause goes by, which is asked of
    each such group and not of each message.
    """
    m = t.message.c
    grouped = (m.status, m.cadence, m.version, m.sender, t.pause.c.scope.label("backlog"))
    behind = _behind_a_domain(now)
    counts = {
        "waiting": func.count(),
        "behind": func.count().filter(behind),
        "due": func.count().filter(m.not_before <= now, ~behind),
        "first": func.min(m.not_before).filter(~behind),
    }
    groups = select(*grouped, *(each.label(name) for name, each in counts.items()))
    groups = groups.select_from(t.message.outerjoin(t.pause, in_backlog(t.message)))
    of = groups.where(IS_WAITING).group_by(*grouped).subquery()
    may_go = of.c.backlog.is_(None) & nothing_stops(of)
    return connection.execute(select(of, may_go.label("may_go"))).all()


def _behind_a_domain(now: datetime) -> ColumnElement[bool]:
    """Wherever its time stands: what is looked at is put off to the end of the pause."""
    p, m = t.domain_pause.c, t.message.c
    of = [p.domain == m.recipient_domain, p.sender.in_([m.sender, ANY_SENDER]), p.until > now]
    return exists(select(1).where(*of).correlate(t.message))


def _domain_pauses(connection: Connection, now: datetime) -> tuple[int, int]:
    """(of all senders, of one)"""
    p = t.domain_pause.c
    ill = p.sender == ANY_SENDER
    counts = select(func.count().filter(ill), func.count().filter(~ill)).select_from(t.domain_pause)
    row = connection.execute(counts.where(p.until > now)).one()
    return row[0], row[1]


def _line(connection: Connection, since: ColumnElement[datetime], waits: ColumnElement[bool], now: datetime) -> Line:
    count, first = connection.execute(select(func.count(), func.min(since)).where(waits, since <= now)).one()
    return Line(due=count, age_s=_age(first, now))


def _age(first: datetime | None, now: datetime) -> float:
    return (now - first).total_seconds() if first is not None else 0.0


def _count(connection: Connection, of: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).where(of)) or 0

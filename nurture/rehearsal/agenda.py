"""What there is to do: which stages would find work now, and when the next will, looked at without a write lock.

A stage that finds nothing changes nothing, so a simulation may leave it out; it decides nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, literal, literal_column, select, true

from nurture.store import tables as t
from nurture.store.indexed import IS_WAITING

MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOW = bindparam("now", type_=t.enrollment.c.due_at.type)

# Spelled as the partial indexes are, without bound values, or SQLite reads whole tables at every look.
_e, _m, _a, _p, _task = t.enrollment.c, t.message.c, t.alert.c, t.post.c, t.task.c
_ACTIVE = _e.status == literal_column("'active'")
_QUEUED = _p.status == literal_column("'queued'")
_UNTOLD = (_task.status == literal_column("'open'")) & _task.told_at.is_(None)
_RESCORED = (t.lead.c.rescore == true()) & (t.lead.c.stage != literal_column("'visitor'"))


def _any(*clauses: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(literal(1)).where(*clauses))


_WORK = select(
    (_any(t.event.c.reacted_at.is_(None)) | _any(t.verdict_change.c.reacted_at.is_(None)) | _any(_RESCORED)).label(
        "happenings"
    ),
    _any(_ACTIVE, _e.due_at <= _NOW).label("enrollments"),
    (_any(_a.due_at <= _NOW) | _any(_UNTOLD)).label("tellings"),
    _any(IS_WAITING, _m.not_before <= _NOW).label("messages"),
    _any(_QUEUED, _p.not_before <= _NOW).label("posts"),
)
_NEXT = tuple(
    select(func.min(column)).where(clause, column > _NOW)
    for column, clause in (
        (_e.due_at, _ACTIVE),
        (_m.not_before, IS_WAITING),
        (_a.due_at, true()),
        (_p.not_before, _QUEUED),
    )
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Who has something to do: `react`, `advance`, `hand_over`, `deliver` and `post`, in this order."""

    happenings: bool
    enrollments: bool
    tellings: bool
    messages: bool
    posts: bool

    def __bool__(self) -> bool:
        return any(vars(self).values())


def work_at(connection: Connection, now: datetime) -> Work:
    row = connection.execute(_WORK, {"now": now}).one()
    return Work(**{name: bool(value) for name, value in row._mapping.items()})


def next_due(connection: Connection, now: datetime) -> datetime | None:
    """The first whole minute by which another row falls due; None where none will."""
    moments = (connection.scalar(query, {"now": now}) for query in _NEXT)
    first = min((moment for moment in moments if moment is not None), default=None)
    return None if first is None else _EPOCH - (_EPOCH - first) // MINUTE * MINUTE

"""Tasks as rows: opened by a step, told to a rep, reminded of when they are due, closed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from nurture.domain.task import CANCELED, OPEN, TaskOutcome
from nurture.store import tables as t
from nurture.store.alerts import may_call
from nurture.store.database import insert_ignore, one_of, with_lock_skipped

_CHUNK = 500
_LEAD_COLUMNS = ("email", "email_domain", "company", "owner")


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """`task_key` makes one task of each step and visit; `to` is "owner", "sales" or a rep's name.

    `kind` is call, email or linkedin; without `due_at` nobody is reminded.
    """

    task_key: str
    lead_id: int
    enrollment_id: int | None
    cadence: str
    step: str
    kind: str
    text: str
    to: str
    due_at: datetime | None


def open_tasks(connection: Connection, tasks: Sequence[NewTask], *, now: datetime) -> None:
    """Write these tasks; one that stands there already is left as it is. `hand_over` tells a rep of them."""
    if not tasks:
        return
    rows = [{**each.__dict__, "rep": "", "status": OPEN, "created_at": now} for each in tasks]
    connection.execute(insert_ignore(connection, t.task), rows)


def task_statuses(connection: Connection, keys: Collection[str]) -> dict[str, str]:
    """task_key -> open, canceled or the outcome; a key without a task is absent."""
    found: dict[str, str] = {}
    wanted, k = sorted(set(keys)), t.task.c
    for start in range(0, len(wanted), _CHUNK):
        rows = connection.execute(select(k.task_key, k.status).where(k.task_key.in_(wanted[start : start + _CHUNK])))
        found |= {row.task_key: row.status for row in rows}
    return found


# --- telling a rep


def anything_to_tell(connection: Connection, reps: Collection[str], *, now: datetime) -> bool:
    """Whether a task was told to nobody yet, or a rep is to be reminded of one."""
    for waiting in (_untold(), _overdue(reps, now)):
        if connection.scalar(select(t.task.c.id).where(waiting).limit(1)) is not None:
            return True
    return False


def untold_tasks(connection: Connection, *, after: int, limit: int) -> Sequence[Any]:
    """The next tasks that no rep knows of, locked, with their lead's columns as a roster reads them."""
    k, lead = t.task, t.lead
    statement = (
        select(k, literal(0).label("told_count"), *(lead.c[name].label(f"lead_{name}") for name in _LEAD_COLUMNS))
        .join(lead, lead.c.id == k.c.lead_id)
        .where(_untold(), k.c.id > after)
        .order_by(k.c.id)
        .limit(limit)
    )
    return connection.execute(with_lock_skipped(statement)).all()


def tell_tasks(connection: Connection, reps: Mapping[int, str], *, now: datetime) -> None:
    """task id -> the rep whose mail is being queued."""
    if reps:
        telling = update(t.task).where(t.task.c.id == bindparam("task"), _untold())
        rows = [{"task": task_id, "to_rep": rep} for task_id, rep in reps.items()]
        connection.execute(telling.values(rep=bindparam("to_rep"), told_at=now), rows)


def overdue_tasks(
    connection: Connection, reps: Collection[str], *, now: datetime, after: int, limit: int
) -> Sequence[Any]:
    """The next open tasks whose time has come since these reps were told, and that no reminder was queued for."""
    k = t.task.c
    statement = select(k.id, k.rep, k.lead_id).where(_overdue(reps, now), k.id > after).order_by(k.id).limit(limit)
    return connection.execute(statement).all()


def reminder_key(task_id: int) -> str:
    """The intent of the one mail that reminds of a task."""
    return f"task:{task_id}:due"


def cancel_tasks(connection: Connection, task_ids: Sequence[int], *, now: datetime) -> None:
    """Nobody needs these any more."""
    if task_ids:
        still_open = update(t.task).where(one_of(t.task.c.id, task_ids), t.task.c.status == OPEN)
        connection.execute(still_open.values(status=CANCELED, closed_at=now))


def open_task_counts(connection: Connection) -> Counter[str]:
    """rep -> tasks that wait to be done."""
    k = t.task.c
    rows = connection.execute(
        select(k.rep, func.count().label("tasks")).where(k.status == OPEN, k.rep != "").group_by(k.rep)
    )
    return Counter({row.rep: row.tasks for row in rows})


def _untold() -> ColumnElement[bool]:
    return and_(t.task.c.status == OPEN, t.task.c.told_at.is_(None))


def _overdue(reps: Collection[str], now: datetime) -> ColumnElement[bool]:
    k, m = t.task.c, t.message.c
    reminder = literal("task:") + cast(k.id, Text) + literal(":due")
    reminded = exists(select(m.id).where(m.intent_key == reminder))
    mine = and_(k.rep.in_(sorted(reps)), k.status == OPEN)
    return and_(mine, k.due_at <= now, k.told_at < k.due_at, ~reminded)


# --- looking at them


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """A task as its page and its mail show it, with the lead as it is now. `may_call`: the lead permits calls."""

    id: int
    lead_id: int
    cadence: str
    step: str
    kind: str
    text: str
    rep: str
    status: str
    created_at: datetime
    due_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    note: str | None
    email: str
    name: str
    company: str | None
    title: str | None
    phone: str | None
    stage: str
    fit: str
    owner: str | None
    may_call: bool
    may_write: bool
    """The lead permits marketing by e-mail, and its address is not suppressed."""


def task_view(connection: Connection, task_id: int, *, now: datetime) -> TaskView | None:
    """None where there is no such task."""
    found = _views(connection, t.task.c.id == task_id, now=now, limit=1)
    return found[0] if found else None


def tasks_of(connection: Connection, rep: str, *, now: datetime, limit: int) -> list[TaskView]:
    """What a rep has to do, the first due first; without a due time last."""
    return _views(connection, and_(t.task.c.rep == rep, t.task.c.status == OPEN), now=now, limit=limit)


def _views(connection: Connection, wanted: ColumnElement[bool], *, now: datetime, limit: int) -> list[TaskView]:
    k, lead, s = t.task.c, t.lead.c, t.suppression.c
    own = (k.id, k.lead_id, k.cadence, k.step, k.kind, k.text, k.rep, k.status, k.created_at, k.due_at)
    person = (lead.email, lead.first_name, lead.last_name, lead.company, lead.title, lead.phone)
    consented = and_(lead.consented_at.is_not(None), or_(lead.consent_until.is_(None), lead.consent_until > now))
    suppressed = exists(select(s.id).where(s.address_key == lead.email_key, s.lifted_at.is_(None)))
    rows = connection.execute(
        select(
            *own,
            *(k.closed_at, k.closed_by, k.note),
            *person,
            *(lead.stage, lead.fit, lead.owner),
            and_(consented, ~suppressed).label("may_write"),
        )
        .join(t.lead, lead.id == k.lead_id)
        .where(wanted)
        .order_by(k.due_at.is_(None), k.due_at, k.id)
        .limit(limit)
    ).all()
    callable_leads = may_call(connection, [row.lead_id for row in rows])
    return [_view(row, may_call=row.lead_id in callable_leads) for row in rows]


def _view(row: Any, *, may_call: bool) -> TaskView:
    values = dict(row._mapping)
    name = " ".join(part for part in (values.pop("first_name"), values.pop("last_name")) if part)
    return TaskView(**{**values, "name": name, "may_write": bool(row.may_write)}, may_call=may_call)


# --- closing them


def lock_task(connection: Connection, task_id: int) -> Any | None:
    """The task and its lead's phone, with the lead locked first, as everybody locks them."""
    k, lead = t.task.c, t.lead.c
    lead_id = connection.scalar(select(k.lead_id).where(k.id == task_id))
    if lead_id is None:
        return None
    connection.execute(select(lead.id).where(lead.id == lead_id).with_for_update())
    found = select(t.task, lead.phone).join(t.lead, lead.id == k.lead_id).where(k.id == task_id)
    return connection.execute(found.with_for_update()).one_or_none()


def close_task(
    connection: Connection, task_id: int, outcome: TaskOutcome, *, by: str, note: str | None, now: datetime
) -> bool:
    """Whether it was still open."""
    still_open = update(t.task).where(t.task.c.id == task_id, t.task.c.status == OPEN)
    closed = still_open.values(status=outcome.value, closed_at=now, closed_by=by, note=note)
    return connection.execute(closed).rowcount == 1

"""What the steps of one run did, and how it ended, as the tables tell it: decisions, messages, the enrollment."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from nurture.authoring.compile_tests import WALL, Line
from nurture.domain.cadence import Cadence
from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.message import MessageStatus
from nurture.domain.reasons import Reason
from nurture.store import tables as t


def what_was_done(
    connection: Connection, enrollment_id: int, *, cadence: Cadence, zone: ZoneInfo
) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The lines in the order in which they were done, times in `zone`; and notes on what could not be done."""
    run = connection.execute(select(t.enrollment).where(t.enrollment.c.id == enrollment_id)).one()
    m, d = t.message.c, t.decision.c
    messages = connection.execute(
        select(m.step, m.sent_at, m.variant, m.subject, m.status, m.reply)
        .where(m.enrollment_id == enrollment_id)
        .order_by(m.id)
    ).all()
    sent = {(row.step, row.sent_at): row for row in messages}
    decided = connection.execute(select(t.decision).where(d.lead_id == run.lead_id).order_by(d.id)).all()
    lines = [
        line
        for row in decided
        if (line := _done(row, enrollment_id, cadence.name, _wall(row.at, zone), sent.get((row.step, row.at))))
    ]
    end = _end(run, zone)
    lines = _in_step_order(lines, list(cadence.steps))
    return (*lines, *([end] if end is not None else [])), (*_undone(messages), *_under_way(run))


def _done(row: Any, enrollment_id: int, cadence: str, at: str, message: Any) -> Line | None:
    """The line of this decision, where it is something that a step did."""
    if row.code == Reason.PROMOTED.value:
        # stage moves are the lead's, not the enrollment's: they name the step that made them
        named, _, step = row.detail["because"].partition("/")
        return Line(kind="promote", value=row.detail["after"], at=at, step=step) if named == cadence and step else None
    if row.enrollment_id != enrollment_id:
        return None
    match row.code:
        case Reason.SENT.value:
            return Line(kind="email", value=row.step, at=at, variant=message.variant, subject=message.subject)
        case Reason.TAGGED.value:
            ((kind, tag),) = row.detail.items()
            return Line(kind=kind, value=tag, at=at, step=row.step)
        case Reason.NOTIFIED.value:
            return Line(kind="notify", value=row.detail["to"], at=at, step=row.step)
        case Reason.TASKED.value:
            return Line(kind="task", value=row.detail["task"], at=at, step=row.step)
        case Reason.SET.value:
            return Line(kind="set", value=row.detail["values"], at=at, step=row.step)
        case Reason.ENROLLED_IN.value:
            return Line(kind="enroll", value=row.detail["cadence"], at=at, step=row.step)
        case Reason.POSTED.value:
            return Line(kind="webhook", value=row.detail["channel"], at=at, step=row.step)
    return None


def _in_step_order(lines: list[Line], steps: list[str]) -> list[Line]:
    """A stage move is recorded ahead of what the steps before it did in the same transaction: put it in its place."""
    ordered = list(lines)
    for line in reversed([each for each in lines if each.kind == "promote"]):
        place = ordered.index(line)
        while place + 1 < len(ordered) and _comes_before(ordered[place + 1], line, steps):
            ordered[place], ordered[place + 1] = ordered[place + 1], line
            place += 1
    return ordered


def _comes_before(other: Line, line: Line, steps: list[str]) -> bool:
    if other.kind == "email" or other.at != line.at or other.step not in steps or line.step not in steps:
        return False  # mail is recorded in a transaction of its own
    return steps.index(other.step) < steps.index(line.step)


def _end(run: Any, zone: ZoneInfo) -> Line | None:
    match run.status:
        case EnrollmentStatus.COMPLETED.value:
            return Line(kind="completed", value=True, at=_wall(run.ended_at, zone))
        case EnrollmentStatus.EXITED.value:
            return Line(kind="exit", value=run.exit_reason, at=_wall(run.ended_at, zone))
    return None


def _undone(messages: Any) -> list[str]:
    lost = (MessageStatus.FAILED.value, MessageStatus.CANCELED.value, MessageStatus.UNKNOWN.value)
    return [f"email: {row.step}: {row.status}: {row.reply}" for row in messages if row.status in lost]


def _under_way(run: Any) -> list[str]:
    if run.status not in (EnrollmentStatus.ACTIVE.value, EnrollmentStatus.PAUSED.value):
        return []
    return [f"still under way at the end: before {run.step}" + (f" ({run.blocked_by})" if run.blocked_by else "")]


def _wall(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime(WALL)

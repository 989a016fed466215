"""How a rep closes a task, and what follows from it, in the caller's one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, update

from nurture.domain.problem import Problem
from nurture.domain.reasons import Reason
from nurture.domain.task import OPEN, TaskOutcome
from nurture.store import tables as t
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.events import wake_enrollments
from nurture.store.tasks import close_task, lock_task

LONGEST_NOTE = 4_000
CALL = "call"


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What became of an attempt to close it. `taken`: done; `stands`: it was closed before; `gone`: there is none.

    `status` and `by` are the task's now.
    """

    result: Literal["taken", "stands", "gone"]
    status: str = ""
    by: str | None = None


def outcomes_of(kind: str) -> tuple[TaskOutcome, ...]:
    """How a task of this kind may end: only a call can reach a wrong number."""
    return tuple(each for each in TaskOutcome if kind == CALL or each is not TaskOutcome.WRONG_NUMBER)


def answer_task(
    connection: Connection, task_id: int, *, outcome: str, rep: str, note: str, phone: str, now: datetime
) -> Closing:
    """Close a task once. `phone` is the number that the rep was shown: a wrong one is cleared only while it stands.

    A call that is done makes the lead contacted. Either way its cadences look at once. Raises Problem.
    """
    task = lock_task(connection, task_id)
    if task is None:
        return Closing(result="gone")
    if task.status != OPEN:
        return Closing(result="stands", status=task.status, by=task.closed_by)
    read = _outcome(outcome, task.kind)
    kept = _note(note, f"The number was {phone}." if read is TaskOutcome.WRONG_NUMBER and phone else "")
    if not close_task(connection, task_id, read, by=rep, note=kept, now=now):
        raise RuntimeError(f"task {task_id} changed under its lock")
    _follow(connection, task, read, phone, now)
    record_decisions(connection, [_decision(task, read, rep, now)])
    wake_enrollments(connection, [task.lead_id], now=now)
    return Closing(result="taken", status=read.value, by=rep)


def _decision(task: Any, outcome: TaskOutcome, rep: str, now: datetime) -> NewDecision:
    return NewDecision(
        lead_id=task.lead_id,
        enrollment_id=task.enrollment_id,
        cadence=task.cadence,
        step=task.step,
        code=Reason.TASK_CLOSED,
        at=now,
        detail={"outcome": outcome.value, "by": rep, "task": task.text},
    )


def _outcome(text: str, kind: str) -> TaskOutcome:
    allowed = outcomes_of(kind)
    if text not in allowed:
        raise Problem(f"say how it ended: one of {', '.join(allowed)}")
    return TaskOutcome(text)


def _note(typed: str, ours: str) -> str | None:
    clean = typed.replace("\0", "").encode("utf-8", "replace").decode("utf-8").strip()
    return " ".join(part for part in (clean[:LONGEST_NOTE], ours) if part) or None


def _follow(connection: Connection, task: Any, outcome: TaskOutcome, phone: str, now: datetime) -> None:
    lead = t.lead.c
    if outcome is TaskOutcome.DONE and task.kind == CALL:
        uncontacted = update(t.lead).where(lead.id == task.lead_id, lead.contacted_at.is_(None))
        connection.execute(uncontacted.values(contacted_at=now))
    if outcome is TaskOutcome.WRONG_NUMBER and phone:
        # a stranger's number: nobody may call it again. The permission stays, it was given by the person
        theirs = update(t.lead).where(lead.id == task.lead_id, lead.phone == phone)
        connection.execute(theirs.values(phone=None, phone_verified_at=None, rescore=True))

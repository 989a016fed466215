"""The mail that gives a rep a task, the one that reminds of it, and the one with the link to the rep's own page."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from nurture.content.tokens import Purpose
from nurture.domain.rep_link import RepLink
from nurture.domain.task import OPEN
from nurture.notify.rep_letters import Desk, RepMail, say
from nurture.store.tasks import TaskView, task_view

KINDS: Mapping[str, str] = {"call": "Call", "email": "E-mail", "linkedin": "LinkedIn"}


def task_letter(connection: Connection, task_id: int, *, desk: Desk, again: bool) -> RepMail:
    """`again`: it is due now. Raises LookupError for a task that is not there, or that nobody has to do any more."""
    task = task_view(connection, task_id, now=desk.now)
    if task is None or task.status != OPEN or not task.email:
        raise LookupError(f"task {task_id} is not open")
    who = f"{task.name or task.email} ({task.company})" if task.company else task.name or task.email
    return desk.mail(
        "task",
        task.rep,
        subject=f"{'Due now: ' if again else ''}{KINDS.get(task.kind, task.kind)} {who}: {task.text}",
        task=task,
        who=task.name or task.email,
        kind=KINDS.get(task.kind, task.kind),
        due=_due(task, desk),
        phone=say_phone(task),
        fit="fit unknown" if task.fit == "unknown" else f"fit {task.fit}",
        owner=desk.rep_name(task.owner),
        page=desk.page(Purpose.ALERT, task_payload(task_id)),
    )


def list_letter(rep: str, *, desk: Desk) -> RepMail:
    """The link to a rep's own page, good from now on for half a day. Raises LookupError: there is no such rep."""
    if rep not in desk.settings.reps:
        raise LookupError(f"rep {rep} is not there")
    link = RepLink(rep=rep, made_at=desk.now)
    return desk.mail(
        "list",
        rep,
        subject=f"Your open alerts and tasks at {desk.settings.workspace.name}",
        page=desk.page(Purpose.REP, link.payload),
        until=say(link.ends_at, desk.zone(rep)),
        list_url=None,
    )


def task_payload(task_id: int) -> str:
    """What the token of a task's page says; an alert's is its bare id."""
    return f"t{task_id}"


def say_phone(task: TaskView) -> str:
    if not task.may_call:
        return "no permission to call"
    return task.phone or "may be called, no number known"


def _due(task: TaskView, desk: Desk) -> str:
    if task.due_at is None:
        return ""
    said = say(task.due_at, desk.zone(task.rep))
    return f"overdue since {said}" if task.due_at < desk.now else f"due {said}"

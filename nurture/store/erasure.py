"""Forgetting a person: everything personal goes from every table; what is left counts, and names nobody.

A keyed hash of the address stays among the suppressions, so that a later import does not bring the person back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, or_, select, update

from nurture.domain import task as task_status
from nurture.domain.addresses import erased_key
from nurture.domain.custom import read_props
from nurture.domain.enrollment import RUNNING, EnrollmentStatus, ExitReason
from nurture.domain.message import WAITING, MessageStatus
from nurture.store import tables as t
from nurture.store.lead_fields import LEAD_FIELDS
from nurture.store.lead_views import ERASED_KEY
from nurture.store.suppressions import suppress

_COUNTED_PROPS = ("form", "offer", "funnel")
"""What an event keeps for the reports: names of ours, none of the person's."""
_OPEN_ALERTS = ("open", "snoozed")


def erase_lead(connection: Connection, address_key: str, *, secret: str, now: datetime) -> bool:
    """Forget whoever has this address. The hash is left also where nobody has it. False where nobody had."""
    s = t.suppression.c
    lead_id = connection.scalar(select(t.lead.c.id).where(t.lead.c.email_key == address_key).with_for_update())
    connection.execute(delete(t.suppression).where(s.address_key == address_key))
    suppress(connection, erased_key(secret, address_key), reason="erased", now=now)
    if lead_id is None:
        return False
    _stop(connection, lead_id, now=now)
    _forget_messages(connection, lead_id)
    _forget_events(connection, lead_id)
    _forget_alerts(connection, lead_id, now=now)
    _forget_tasks_and_posts(connection, lead_id, now=now)
    _forget_lead(connection, lead_id)
    return True


def _stop(connection: Connection, lead_id: int, *, now: datetime) -> None:
    e, m = t.enrollment.c, t.message.c
    for status in RUNNING:
        running = update(t.enrollment).where(e.lead_id == lead_id, e.status == status.value)
        left = {"status": EnrollmentStatus.EXITED.value, "exit_reason": ExitReason.ERASED.value, "ended_at": now}
        connection.execute(running.values(**left, due_at=None, blocked_by=None))
    # one that is spoken now finds no mark to set, and so writes no dot
    undotted = and_(m.status == MessageStatus.SENDING.value, m.dotted_at.is_(None))
    unsent = or_(m.status.in_([status.value for status in WAITING]), undotted)
    canceled = {"status": MessageStatus.CANCELED.value, "ended_at": now}
    connection.execute(update(t.message).where(m.lead_id == lead_id, unsent).values(canceled))


def _forget_messages(connection: Connection, lead_id: int) -> None:
    m = t.message.c
    mine = select(m.id).where(m.lead_id == lead_id)
    blank = {"user_agent": "", "network_address": "", "headers": {}}
    connection.execute(update(t.hit).where(t.hit.c.message_id.in_(mine)).values(blank))
    _forget_links(connection, lead_id)
    gone: dict[str, Any] = {"to_address": "", "recipient_domain": "", "subject": None, "payload": {}, "reply": None}
    connection.execute(update(t.message).where(m.lead_id == lead_id).values(**gone, link_set=None))


def _forget_links(connection: Connection, lead_id: int) -> None:
    """Destinations may have been made for this reader alone; those that others have too are no secret of theirs."""
    m = t.message.c
    of_others = select(m.link_set).where(m.link_set.is_not(None), func.coalesce(m.lead_id, -1) != lead_id)
    mine: Select[Any] = select(m.link_set).where(m.lead_id == lead_id, m.link_set.is_not(None))
    digest = t.link_set.c.digest
    connection.execute(delete(t.link_set).where(digest.in_(mine), digest.not_in(of_others)))


def _forget_events(connection: Connection, lead_id: int) -> None:
    e = t.event.c
    for row in connection.execute(select(e.id, e.props).where(e.lead_id == lead_id)).all():
        kept = {name: row.props[name] for name in _COUNTED_PROPS if name in row.props}
        gone: dict[str, Any] = {"props": kept, "readings": read_props(kept), "link": None, "path": None}
        connection.execute(update(t.event).where(e.id == row.id).values(gone))
    connection.execute(update(t.decision).where(t.decision.c.lead_id == lead_id).values(detail={}))
    connection.execute(update(t.score_ledger).where(t.score_ledger.c.lead_id == lead_id).values(note=None))
    blank: dict[str, Any] = {"answers": {}, "network_address": None, "user_agent": ""}
    connection.execute(update(t.opt_in).where(t.opt_in.c.lead_id == lead_id).values(blank))
    consents = update(t.consent).where(t.consent.c.lead_id == lead_id)
    connection.execute(consents.values(text="", network_address=None))


def _forget_alerts(connection: Connection, lead_id: int, *, now: datetime) -> None:
    a = t.alert.c
    is_mine: ColumnElement[bool] = a.lead_id == lead_id
    mine = select(a.id).where(is_mine)
    answers = update(t.alert_answer).where(t.alert_answer.c.alert_id.in_(mine))
    connection.execute(answers.values(note=None, details={}))
    connection.execute(update(t.alert).where(is_mine).values(message=None, reasons=[], evidence={}))
    for status in _OPEN_ALERTS:
        still_open = update(t.alert).where(is_mine, a.status == status)
        connection.execute(still_open.values(status="closed", answered_at=now, due_at=None))


def _forget_tasks_and_posts(connection: Connection, lead_id: int, *, now: datetime) -> None:
    """What is still to be done or told of this lead is called off."""
    task, post = t.task.c, t.post.c
    connection.execute(update(t.task).where(task.lead_id == lead_id).values(text="", note=None))
    undone = update(t.task).where(task.lead_id == lead_id, task.status == task_status.OPEN)
    connection.execute(undone.values(status=task_status.CANCELED, closed_at=now))
    connection.execute(update(t.post).where(post.lead_id == lead_id).values(body={}, reply=None))
    untold = update(t.post).where(post.lead_id == lead_id, post.status == "queued")
    connection.execute(untold.values(status="failed", ended_at=now))


def _forget_lead(connection: Connection, lead_id: int) -> None:
    connection.execute(delete(t.lead_tag).where(t.lead_tag.c.lead_id == lead_id))
    blank: dict[str, Any] = dict.fromkeys(LEAD_FIELDS)
    # where a lead came from is counted, and says nothing of the person
    for name in ("source", "channel", "campaign", "offer", "partner"):
        del blank[name]
    times = ("consented_at", "consent_until", "email_verified_at", "phone_verified_at", "hold_until", "hold_reason")
    identity = {"email": "", "email_key": f"{ERASED_KEY}{lead_id}", "email_domain": ""}
    change = update(t.lead).where(t.lead.c.id == lead_id)
    connection.execute(change.values(**identity, **blank, **dict.fromkeys(times), custom={}, readings={}))

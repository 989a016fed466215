"""Leaving and coming back, each in the caller's one transaction, so that the next mail already knows of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select, update

from nurture.domain.event import EventName
from nurture.domain.message import WAITING, MessageKind, MessageStatus
from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.consents import NewConsent, give_consent, withdraw_consent
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.suppressions import lift, suppress, suppressed_among

UNSUBSCRIBED = "unsubscribed"


def unsubscribe(connection: Connection, lead_id: int, *, message_id: int | None, source: str, now: datetime) -> None:
    """End all marketing to this lead: suppression, withdrawal, event, and what waits to be sent is canceled.

    Said twice, it adds nothing the second time. `message_id` is the mail whose link was used, if known.
    """
    key = connection.scalar(select(t.lead.c.email_key).where(t.lead.c.id == lead_id).with_for_update())
    if key is None:
        return
    newly_suppressed = suppress(connection, key, reason=UNSUBSCRIBED, now=now)
    event_id = record_event(connection, _event(connection, lead_id, message_id, source, now), now=now)
    if newly_suppressed or event_id is not None:
        withdraw_consent(connection, lead_id, source=source, now=now)
    _cancel_waiting(connection, lead_id, now=now)
    wake_enrollments(connection, [lead_id], now=now)


def resubscribe(connection: Connection, lead_id: int, *, text: str, source: str, now: datetime) -> bool:
    """Undo an unsubscription: a new express consent, and the suppression is lifted. False when there is none to undo.

    What was suppressed for another reason (a complaint, a bounce) stays so.
    """
    key = connection.scalar(select(t.lead.c.email_key).where(t.lead.c.id == lead_id).with_for_update())
    if key is None or suppressed_among(connection, [key]).get(key) != UNSUBSCRIBED:
        return False
    lift(connection, key, now=now, note=f"undone by the reader on the {source}")
    consent = NewConsent(kind="email", basis="express", text=text, source=source)
    give_consent(connection, lead_id, consent, now=now)
    return True


def _event(connection: Connection, lead_id: int, message_id: int | None, source: str, now: datetime) -> NewEvent:
    m, c = t.message.c, t.consent.c
    row = connection.execute(select(m.enrollment_id, m.cadence, m.step).where(m.id == message_id)).one_or_none()
    granted = select(func.max(c.id)).where(c.lead_id == lead_id, c.kind == "email", c.granted)
    # one event for each permission that is withdrawn: a second POST adds none, leaving again after a return does
    permission = connection.scalar(granted) or 0
    return NewEvent(
        lead_id=lead_id,
        kind=EventName.UNSUBSCRIBED.value,
        at=now,
        source="web",
        source_id=f"unsubscribed:{lead_id}:{permission}",
        message_id=message_id,
        enrollment_id=row.enrollment_id if row is not None else None,
        cadence=row.cadence if row is not None else None,
        step=row.step if row is not None else None,
        props={"by": source},
    )


def _cancel_waiting(connection: Connection, lead_id: int, *, now: datetime) -> None:
    m = t.message.c
    change = (
        update(t.message)
        .where(
            m.lead_id == lead_id,
            m.kind == MessageKind.STEP.value,
            m.transactional.is_(None),
            m.status.in_([status.value for status in WAITING]),
        )
        .values(status=MessageStatus.CANCELED.value, ended_at=now)
        .returning(m.enrollment_id, m.cadence, m.step)
    )
    canceled = [
        NewDecision(
            lead_id=lead_id,
            code=Reason.CANCELED,
            at=now,
            enrollment_id=row.enrollment_id,
            cadence=row.cadence,
            step=row.step,
            detail={"reason": UNSUBSCRIBED},
        )
        for row in connection.execute(change)
    ]
    record_decisions(connection, canceled)

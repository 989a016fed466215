"""Leaving and coming back, each in the caller's one transaction, so that the next mail already knows of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from nurture.domain.event import EventName
from nurture.store import tables as t
from nurture.store.consents import NewConsent, give_consent, withdraw_consent
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.reactions import cancel_steps
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
    cancel_steps(connection, lead_ids=[lead_id], why={lead_id: UNSUBSCRIBED}, now=now)
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

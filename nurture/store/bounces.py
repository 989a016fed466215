"""A hard bounce, told at once by the next hop: the event, and the suppression that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nurture.domain.event import EventName
from nurture.domain.message import MessageKind
from nurture.store.events import NewEvent, record_event
from nurture.store.suppressions import suppress


def record_bounces(connection: Connection, bounced: Sequence[tuple[Any, str]], *, now: datetime) -> None:
    """(message row with `lead_email_key`, reply) of each; mail to a rep that bounces says nothing about the lead."""
    for row, reply in bounced:
        if row.lead_id is None or row.kind == MessageKind.ALERT.value:
            continue
        suppress(connection, row.lead_email_key, reason="bounced", now=now, note=reply)
        event = NewEvent(
            lead_id=row.lead_id,
            kind=EventName.BOUNCED.value,
            at=now,
            source="smtp",
            source_id=f"{row.id}:{row.lease_epoch + 1}",
            message_id=row.id,
            enrollment_id=row.enrollment_id,
            cadence=row.cadence,
            step=row.step,
            props={"class": "hard", "reply": reply},
        )
        record_event(connection, event, now=now)

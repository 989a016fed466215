"""Messages: the intent, and every guarded move from it to an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from nurture.domain.message import GIVE_UP_AFTER, WAITING, MessageKind, MessageStatus
from nurture.store import tables as t
from nurture.store.database import insert_ignore, with_lock_skipped


@dataclass(frozen=True, kw_only=True)
class NewMessage:
    """An intent to send. `intent_key` is unique for ever: `step:ENROLLMENT:STEP:VISIT`, `confirm:OPTIN`, `alert:7`."""

    intent_key: str
    kind: MessageKind
    to_address: str
    sender: str
    lead_id: int | None = None
    enrollment_id: int | None = None
    cadence: str | None = None
    version: str | None = None
    step: str | None = None
    visit: int = 1
    variant: str | None = None
    transactional: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)


def queue_intents(connection: Connection, news: Sequence[NewMessage], *, now: datetime) -> dict[str, int]:
    """Commit intents: intent_key -> row id. One that stands there already is left as it is, and its id given."""
    if not news:
        return {}
    rows = [
        {
            **each.__dict__,
            "kind": each.kind.value,
            "recipient_domain": each.to_address.rpartition("@")[2].lower(),
            "status": MessageStatus.QUEUED.value,
            "created_at": now,
            "not_before": now,
            "give_up_at": now + GIVE_UP_AFTER,
            "attempt": 0,
            "lease_epoch": 0,
        }
        for each in news
    ]
    m = t.message.c
    made = connection.execute(insert_ignore(connection, t.message).returning(m.intent_key, m.id), rows)
    ids = {row.intent_key: row.id for row in made}
    missing = [each.intent_key for each in news if each.intent_key not in ids]
    if missing:
        found = connection.execute(select(m.intent_key, m.id).where(m.intent_key.in_(missing)))
        ids.update({row.intent_key: row.id for row in found})
    return ids


def queue_message(connection: Connection, new: NewMessage, *, now: datetime) -> int:
    """Commit one intent, or find the one that stands there already. Returns the row's id."""
    return queue_intents(connection, [new], now=now)[new.intent_key]


def cancel_messages(connection: Connection, *of_these: ColumnElement[bool], now: datetime) -> Sequence[Any]:
    """Cancel messages that are not yet on their way; returns (lead_id, enrollment_id, cadence, step) of each.

    One that is being claimed is left to its claim, which locks in the other order, and finds out before the end is
    written why nobody wants it.
    """
    m = t.message
    waiting = m.c.status.in_([status.value for status in WAITING])
    free = with_lock_skipped(select(m.c.id).where(waiting, *of_these))
    canceled = update(m).where(m.c.id.in_(free), waiting).values(status=MessageStatus.CANCELED.value, ended_at=now)
    return connection.execute(canceled.returning(m.c.lead_id, m.c.enrollment_id, m.c.cadence, m.c.step)).all()

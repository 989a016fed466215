"""Messages: the intent, and every guarded move from it to an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nurture.domain.message import MessageKind
from nurture.store import tables as t
from nurture.store.database import insert_ignore


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
    give_up_at: datetime | None = None


def queue_messages(connection: Connection, news: Sequence[NewMessage], *, now: datetime) -> list[int]:
    """Commit intents; one that stands there already is left as it is. Returns the ids of the new rows."""
    if not news:
        return []
    rows = [
        {
            **each.__dict__,
            "kind": each.kind.value,
            "recipient_domain": each.to_address.rpartition("@")[2].lower(),
            "status": "queued",
            "created_at": now,
            "not_before": now,
            "attempt": 0,
            "lease_epoch": 0,
        }
        for each in news
    ]
    statement = insert_ignore(connection, t.message).returning(t.message.c.id)
    return list(connection.scalars(statement, rows))


def queue_message(connection: Connection, new: NewMessage, *, now: datetime) -> int | None:
    """Commit one intent; None when it stands there already."""
    ids = queue_messages(connection, [new], now=now)
    return ids[0] if ids else None

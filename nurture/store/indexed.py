"""Statuses as the partial indexes spell them: with bound values SQLite may read the whole table at every look."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ColumnElement, literal_column

from nurture.domain.message import WAITING, MessageStatus
from nurture.store import tables as t


def as_indexed(status: StrEnum) -> ColumnElement[str]:
    """The status itself in the statement's text."""
    return literal_column(f"'{status.value}'")


IS_WAITING = t.message.c.status.in_([as_indexed(status) for status in WAITING])
IS_BOUNCED = t.message.c.status == as_indexed(MessageStatus.BOUNCED)
IS_SENDING = t.message.c.status == as_indexed(MessageStatus.SENDING)
IS_UNKNOWN = t.message.c.status == as_indexed(MessageStatus.UNKNOWN)

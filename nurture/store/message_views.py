"""Messages for people: the list, those whose outcome nobody knows, and a person's decision on such a one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select, update

from nurture.domain.message import MessageStatus
from nurture.domain.problem import Problem
from nurture.store import tables as t

RESEND_AFTER = timedelta(minutes=30)
"""How long after its lease ended a message may still be under way in the hands of who held it (spec 6.1)."""

FIELDS = ("email", "cadence", "step", "variant", "status", "kind", "subject", "message_id", "reply")
_TERM = re.compile(
    r"""\s*(?P<field>\w+)\s*(?P<operator>==|=|!=)\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'=]+))\s*"""
)
_AND = re.compile(r"and\s")
USAGE = f'use e.g. \'status == "unknown" and cadence == "welcome"\' with {", ".join(FIELDS)}'


@dataclass(frozen=True, kw_only=True)
class MessageFilter:
    """One comparison of a message's field; an empty text means that the field is missing."""

    field: str
    equal: bool
    value: str


def parse_filters(text: str) -> list[MessageFilter]:
    """`FIELD == "VALUE" and FIELD != VALUE …` over a message's own fields. Raises Problem."""
    filters, place = [], 0
    while True:
        match = _TERM.match(text, place)
        if match is None:
            raise Problem(f"--where {text!r}: cannot read it at column {place + 1}; {USAGE}")
        name = match["field"]
        if name not in FIELDS:
            raise Problem(f"--where {text!r}: a message has no field '{name}'; {USAGE}")
        value = next(match[each] for each in ("double", "single", "bare") if match[each] is not None)
        if name == "status" and value not in {status.value for status in MessageStatus}:
            raise Problem(f"--where {text!r}: no status '{value}': use {', '.join(MessageStatus)}")
        filters.append(MessageFilter(field=name, equal=match["operator"] != "!=", value=value))
        place = match.end()
        if place == len(text):
            return filters
        following = _AND.match(text, place)
        if following is None:
            raise Problem(f"--where {text!r}: cannot read it at column {place + 1}; {USAGE}")
        place = following.end()


def list_messages(
    connection: Connection, filters: list[MessageFilter], *, limit: int | None = None
) -> list[dict[str, Any]]:
    """The messages that pass every filter, newest first, with the fields of `messages --json`."""
    m = t.message.c
    query = (
        select(
            m.id,
            m.to_address.label("email"),
            m.cadence,
            m.step,
            m.variant,
            m.status,
            m.subject,
            m.message_id,
            m.created_at,
            m.sent_at,
            m.reply,
            m.kind,
        )
        .where(*(_clause(each) for each in filters))
        .order_by(m.created_at.desc(), m.id.desc())
    )
    return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]


def resolve_as_sent(connection: Connection, message_row: int, *, now: datetime) -> None:
    """A person knows that it arrived: `unknown` becomes `sent`, as of the moment its end was written.

    Raises Problem when it is not unknown. The cadence counted it as sent already, so nothing else moves.
    """
    row = _unknown(connection, message_row)
    m = t.message
    done = connection.execute(
        update(m)
        .where(m.c.id == message_row, m.c.status == MessageStatus.UNKNOWN.value, m.c.lease_epoch == row.lease_epoch)
        .values(
            status=MessageStatus.SENT.value,
            sent_at=row.dotted_at or now,
            ended_at=now,
            lease_owner=None,
            lease_until=None,
            reply="a person said that it arrived",
        )
    )
    _require_one(done.rowcount, message_row)


def resolve_as_resend(connection: Connection, message_row: int, *, now: datetime) -> None:
    """A person wants it sent again: `unknown` becomes `queued` under the next epoch, in the same row.

    Raises Problem when it is not unknown, when its lead was erased, and until 30 minutes after its lease ended, because
    whoever held it may still be speaking. The new epoch makes every later word of that attempt void.
    """
    row = _unknown(connection, message_row)
    if not row.to_address:
        raise Problem(f"message {message_row}: whoever it was for was erased, so it can only be resolved as sent")
    ended = row.lease_until or row.ended_at or row.dotted_at
    if ended is not None and now < ended + RESEND_AFTER:
        raise Problem(
            f"message {message_row}: its last attempt may still be under way; "
            f"it can be sent again from {ended + RESEND_AFTER:%Y-%m-%d %H:%M:%S} UTC on"
        )
    m = t.message
    done = connection.execute(
        update(m)
        .where(m.c.id == message_row, m.c.status == MessageStatus.UNKNOWN.value, m.c.lease_epoch == row.lease_epoch)
        .values(
            status=MessageStatus.QUEUED.value,
            not_before=now,
            give_up_at=None if row.give_up_at is None else now + (row.give_up_at - row.created_at),
            lease_epoch=row.lease_epoch + 1,
            lease_owner=None,
            lease_until=None,
            dotted_at=None,
            ended_at=None,
            resent_at=now,
        )
    )
    _require_one(done.rowcount, message_row)


def _unknown(connection: Connection, message_row: int) -> Any:
    row = connection.execute(select(t.message).where(t.message.c.id == message_row)).one_or_none()
    if row is None:
        raise Problem(
            f"message {message_row} does not exist: 'nurture messages unknown' lists what there is to resolve"
        )
    if row.status != MessageStatus.UNKNOWN.value:
        raise Problem(f"message {message_row} is {row.status}: only an unknown one can be resolved")
    return row


def _require_one(written: int, message_row: int) -> None:
    if written != 1:
        raise Problem(f"message {message_row} was settled by somebody else just now: look again")


def _clause(wanted: MessageFilter) -> ColumnElement[bool]:
    column = t.message.c["to_address" if wanted.field == "email" else wanted.field]
    if not wanted.value:
        missing = or_(column.is_(None), column == "")
        return missing if wanted.equal else ~missing
    return column == wanted.value if wanted.equal else or_(column != wanted.value, column.is_(None))

"""Rows of messages with the lead and the enrollment they depend on: those that are due, and one to be shown."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    not_,
    or_,
    select,
)

from nurture.domain.domain_health import ANY_SENDER
from nurture.domain.message import MessageKind, MessageStatus
from nurture.store import tables as t
from nurture.store.database import with_lock_skipped
from nurture.store.indexed import IS_WAITING
from nurture.store.lead_facts import LEAD_FIELDS
from nurture.store.pauses import may_go_out


def due_messages(
    connection: Connection,
    *,
    now: datetime,
    limit: int,
    besides: Collection[str] = (),
    closed: Collection[tuple[str, str]] = (),
    senders: Collection[str] | None = None,
    is_scarce: bool = False,
) -> list[Any]:
    """Messages that may be claimed, locked until the commit, with the lead and enrollment they depend on.

    Mail to the domains `besides` is left alone, and so is mail by `closed`: (domain, sender), by any sender where "".
    Where `senders` are given, mail by these alone. The longest due first; where there may not be room for all
    (`is_scarce`) in the order of `_who_goes_first`.
    """
    statement = _due(
        tuple(sorted(besides)),
        tuple(sorted(closed)),
        tuple(sorted(senders)) if senders is not None else None,
        is_scarce,
    )
    return list(connection.execute(statement, {"now": now, "limit": limit}).all())


@lru_cache(maxsize=256)
def _due(
    besides: tuple[str, ...], closed: tuple[tuple[str, str], ...], senders: tuple[str, ...] | None, is_scarce: bool
) -> Select[Any]:
    m = t.message
    others: list[ColumnElement[bool]] = [m.c.recipient_domain.not_in(besides)] if besides else []
    for domain, sender in closed:
        of_sender = [m.c.sender == sender] if sender != ANY_SENDER else []
        others.append(not_(and_(m.c.recipient_domain == domain, *of_sender)))
    if senders is not None:
        others.append(m.c.sender.in_(senders))
    statement: Select[Any] = with_lock_skipped(
        _with_lead_and_enrollment()
        .where(IS_WAITING, m.c.not_before <= bindparam("now"), may_go_out(m), *others)
        .order_by(*(_who_goes_first() if is_scarce else ()), m.c.not_before, m.c.id)
        .limit(bindparam("limit")),
        of=m,
    )
    return statement


def _who_goes_first() -> tuple[ColumnElement[Any], ...]:
    """What somebody asked for, then follow-ups, then first mails; of each the leads who engaged last (spec 4.3)."""
    m, earlier = t.message.c, t.message.alias("earlier")
    asked_for = or_(m.kind != MessageKind.STEP.value, m.transactional.is_not(None))
    follows = exists(
        select(1)
        .where(
            earlier.c.lead_id == m.lead_id,  # by index
            earlier.c.enrollment_id == m.enrollment_id,
            earlier.c.id < m.id,
        )
        .correlate(t.message)
    )
    return case((asked_for, 0), (follows, 1), else_=2), t.lead.c.last_engaged_at.desc().nulls_last()


def message_to_show(connection: Connection, message_id: int) -> Any | None:
    """The same row of one message that went out, or may have; None where it or its lead is gone."""
    m = t.message.c
    gone_out = (MessageStatus.SENT.value, MessageStatus.BOUNCED.value, MessageStatus.UNKNOWN.value)
    statement = _with_lead_and_enrollment().where(m.id == message_id, m.status.in_(gone_out))
    return connection.execute(statement.where(t.lead.c.email_key.is_not(None))).one_or_none()


_OF_MESSAGE = (
    *("id", "kind", "lead_id", "enrollment_id", "cadence", "version", "step", "variant", "transactional", "payload"),
    *("sender", "to_address", "recipient_domain", "message_id", "attempt", "lease_epoch"),
    *("created_at", "not_before", "give_up_at", "resent_at"),
)
"""What deciding about a message and writing its letter asks for: each column costs at each row."""


def _with_lead_and_enrollment() -> Select[Any]:
    m, lead, e = t.message, t.lead, t.enrollment
    return (
        select(
            *(m.c[name] for name in _OF_MESSAGE),
            *(lead.c[name].label(f"lead_{name}") for name in LEAD_FIELDS),
            lead.c.custom.label("lead_custom"),
            lead.c.email_key.label("lead_email_key"),
            lead.c.email_domain.label("lead_email_domain"),
            lead.c.consented_at.label("lead_consented_at"),
            lead.c.consent_until.label("lead_consent_until"),
            lead.c.hold_until.label("lead_hold_until"),
            lead.c.hold_reason.label("lead_hold_reason"),
            e.c.status.label("enrollment_status"),
            e.c.message_id.label("awaited_message"),
            e.c.blocked_by.label("blocked_by"),
            e.c.event_id.label("event_id"),
        )
        .outerjoin(lead, lead.c.id == m.c.lead_id)
        .outerjoin(e, e.c.id == m.c.enrollment_id)
    )

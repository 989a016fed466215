"""Hard bounces, told at once by the next hop: what follows from each, and how it is taken back.

Where a domain refuses so many that it must be ill itself, those whom it refused in that hour are held as suspect: what
followed from their bounces is undone, and their mail waits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, select, update

from nurture.domain.enrollment import RUNNING, EnrollmentStatus, ExitReason
from nurture.domain.event import EventName, Verdict
from nurture.domain.message import MessageKind, MessageStatus, ReplyCause
from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.database import one_of
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import arrange
from nurture.store.events import NewEvent, record_event, take_back
from nurture.store.suppressions import suppress, unsuppress_bounced

DOMAIN_ILL = "domain_ill"
"""Why a bounce is taken back."""


def record_bounces(
    connection: Connection, bounced: Sequence[tuple[Any, str, ReplyCause | None]], *, now: datetime
) -> None:
    """(message row with `lead_email_key`, reply, what it was about) of each; mail to a rep that bounces says nothing
    about the lead."""
    for row, reply, cause in bounced:
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
            props={"class": "hard", "reply": reply} | ({"cause": cause.value} if cause is not None else {}),
        )
        record_event(connection, event, now=now)


def hold_suspects(connection: Connection, domain: str, *, since: datetime, now: datetime) -> int:
    """Undo the hard bounces of a domain since that moment, but for those that say that it is gone. Returns how many.

    Nobody stays suppressed or out of a cadence for it; a message that was refused is `deferred`. One that was accepted,
    and reported by a DSN later, stays `bounced`: its end was written, and is not written again.
    """
    event, m, lead = t.event, t.message, t.lead
    rows = connection.execute(
        select(event.c.id, event.c.lead_id, event.c.message_id, event.c.props, lead.c.email_key)
        .join(m, m.c.id == event.c.message_id)
        .join(lead, lead.c.id == event.c.lead_id)
        .where(
            event.c.kind == EventName.BOUNCED.value,
            event.c.at > since,
            event.c.verdict != Verdict.MACHINE.value,
            m.c.recipient_domain == domain,
        )
    ).all()
    suspects = [row for row in rows if row.props.get("class") == "hard" and "cause" not in row.props]
    if not suspects:
        return 0
    leads = sorted({row.lead_id for row in suspects})
    take_back(connection, {row.id: DOMAIN_ILL for row in suspects}, now=now)
    unsuppress_bounced(connection, sorted({row.email_key for row in suspects}), since=since, now=now, note=DOMAIN_ILL)
    refused = (m.c.status == MessageStatus.BOUNCED.value) & m.c.sent_at.is_(None)
    connection.execute(
        update(m)
        .where(one_of(m.c.id, sorted({row.message_id for row in suspects})), refused)
        .values(status=MessageStatus.DEFERRED.value, not_before=now, ended_at=None, dotted_at=None)
    )
    _let_back_in(connection, leads, since=since, now=now)
    return len(suspects)


def _let_back_in(connection: Connection, leads: Collection[int], *, since: datetime, now: datetime) -> None:
    """The enrollments that a bounce ended go on where they stood, unless the lead entered the cadence again."""
    e, other = t.enrollment, t.enrollment.alias()
    running = [status.value for status in RUNNING]
    entered_again = exists(
        select(other.c.id).where(
            other.c.lead_id == e.c.lead_id, other.c.cadence == e.c.cadence, other.c.status.in_(running)
        )
    )
    rows = connection.execute(
        update(e)
        .where(
            one_of(e.c.lead_id, sorted(leads)),
            e.c.status == EnrollmentStatus.EXITED.value,
            e.c.exit_reason == ExitReason.BOUNCED.value,
            e.c.ended_at > since,
            ~entered_again,
        )
        .values(status=EnrollmentStatus.ACTIVE.value, exit_reason=None, ended_at=None, due_at=now)
        .returning(e.c.id, e.c.lead_id, e.c.cadence, e.c.step)
    ).all()
    record_decisions(
        connection,
        [
            NewDecision(
                lead_id=row.lead_id,
                enrollment_id=row.id,
                cadence=row.cadence,
                step=row.step,
                code=Reason.RESUMED,
                at=now,
                detail={"why": "its domain is ill, not its address"},
            )
            for row in rows
        ],
    )
    arrange(connection, leads, now=now)

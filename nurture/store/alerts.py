"""Alerts as rows: raised once, joined by further reasons, taken back while untold, and looked at by a rep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, insert, select, update

from nurture.domain.alerts import STANDING, AlertStatus
from nurture.store import tables as t
from nurture.store.database import insert as insert_here
from nurture.store.database import one_of, with_lock_skipped

_ROUTED = ("sales", "owner")
"""Whoever routing gives; any other `to` names one rep, or a channel."""
_STANDING = [status.value for status in STANDING]


def raise_alert(
    connection: Connection,
    lead_id: int,
    *,
    rule: str,
    reason: str,
    now: datetime,
    to: str = "sales",
    message: str | None = None,
    answerable: bool = True,
    tell_at: datetime | None = None,
    event_id: int | None = None,
    at_once: bool = False,
) -> int | None:
    """A new alert's id; None where its reason joined the one that the lead has open already.

    `tell_at` is the earliest moment to tell the rep (now, if not said), `event_id` the event that must still be a
    person's by then. Joining one that was told already, or is snoozed, tells it again only `at_once`; whom `to` names,
    where the alert is somebody else's, gets a notice. One that is not answerable is a notice, which joins nothing.
    """
    row = {
        "lead_id": lead_id,
        "rule": rule,
        "to": to,
        "message": message,
        "status": AlertStatus.OPEN.value if answerable else AlertStatus.NOTICE.value,
        "reasons": [reason],
        "evidence": {},
        "event_id": event_id,
        "created_at": now,
        "due_at": tell_at or now,
        "rep": "",
        "channel": "email",
        "routed_by": "",
        "told_count": 0,
    }
    # the index of standing alerts is the guard: of two that raise one at the same time, the second joins
    statement = insert_here(connection, t.alert).values(row).on_conflict_do_nothing().returning(t.alert.c.id)
    alert_id: int | None = connection.execute(statement).scalar_one_or_none()
    if alert_id is None:
        _join(connection, lead_id, row, at_once=at_once)
    return alert_id


def _join(connection: Connection, lead_id: int, row: dict[str, Any], *, at_once: bool) -> None:
    a = t.alert.c
    standing = connection.execute(
        select(a.id, a.reasons, a.due_at, a.to, a.rep)
        .where(a.lead_id == lead_id, a.status.in_(_STANDING))
        .with_for_update()
    ).one_or_none()
    if standing is None:
        return
    (reason,) = row["reasons"]
    changes: dict[str, Any] = {}
    if reason not in standing.reasons:
        changes["reasons"] = [*standing.reasons, reason]
    if at_once:
        # whatever raised it before, this event alone is reason enough, whatever becomes of the others
        soonest = min(standing.due_at or row["due_at"], row["due_at"])
        changes |= {"event_id": row["event_id"], "due_at": soonest}
    if changes:
        connection.execute(update(t.alert).where(a.id == standing.id, a.status.in_(_STANDING)).values(changes))
    if row["to"] not in (*_ROUTED, standing.to, standing.rep):
        connection.execute(insert(t.alert).values(row | {"status": AlertStatus.NOTICE.value}))


def take_back(connection: Connection, event_ids: Sequence[int], *, now: datetime) -> list[int]:
    """Close the alerts that these events raised and nobody was told of yet. Returns their leads."""
    a = t.alert.c
    statement = (
        update(t.alert)
        .where(one_of(a.event_id, event_ids), a.status == AlertStatus.OPEN.value, a.told_count == 0)
        .values(status=AlertStatus.CLOSED.value, due_at=None, answered_at=now)
        .returning(a.lead_id)
    )
    return list(connection.scalars(statement))


_LOOKED_AT = (*STANDING, AlertStatus.NOTICE)
_LEAD_COLUMNS = ("email", "email_domain", "company", "owner")


def _is_due(now: datetime) -> ColumnElement[bool]:
    a = t.alert.c
    looked_at = a.status.in_([status.value for status in _LOOKED_AT])
    return and_(a.due_at <= now, looked_at)


def due_anywhere(connection: Connection, *, now: datetime) -> bool:
    """Whether any rep is to be told of anything now."""
    return connection.scalar(select(t.alert.c.id).where(_is_due(now)).limit(1)) is not None


def claim_due_alerts(connection: Connection, *, now: datetime, limit: int) -> Sequence[Any]:
    """Alerts and notices to be told now, with their lead's columns and the verdict of their event, if they have one."""
    a, lead = t.alert, t.lead
    verdict = select(t.event.c.verdict).where(t.event.c.id == a.c.event_id).scalar_subquery()
    statement = (
        select(a, *(lead.c[name].label(f"lead_{name}") for name in _LEAD_COLUMNS), verdict.label("event_verdict"))
        .join(lead, lead.c.id == a.c.lead_id)
        .where(_is_due(now))
        .order_by(a.c.due_at, a.c.id)
        .limit(limit)
    )
    # the leads are locked too, so that giving one an owner never waits for whoever holds it
    return connection.execute(with_lock_skipped(statement)).all()


def postpone(connection: Connection, due_at: Mapping[int, datetime]) -> None:
    """alert id -> when it is looked at next."""
    if due_at:
        connection.execute(
            update(t.alert).where(t.alert.c.id == bindparam("alert")).values(due_at=bindparam("later")),
            [{"alert": alert_id, "later": at} for alert_id, at in due_at.items()],
        )


def forget_due(connection: Connection, alert_ids: Sequence[int]) -> None:
    """Nobody is told of these: their lead was erased."""
    if alert_ids:
        connection.execute(update(t.alert).where(one_of(t.alert.c.id, alert_ids)).values(due_at=None))


@dataclass(frozen=True, kw_only=True)
class Telling:
    """An alert that a rep is told of now; written back guarded by the status it had."""

    alert_id: int
    before: AlertStatus
    rep: str
    """Empty where a room was told, and nobody in particular."""
    routed_by: str
    evidence: Mapping[str, Any]
    channel: str = "email"


def tell(connection: Connection, tellings: Sequence[Telling], *, now: datetime) -> None:
    """The rep's mail is being queued; a snoozed alert is open again."""
    a = t.alert.c
    after = {AlertStatus.SNOOZED: AlertStatus.OPEN}
    rows = [
        {
            "alert": each.alert_id,
            "before": each.before.value,
            "after": after.get(each.before, each.before).value,
            "to_rep": each.rep,
            "by": each.routed_by,
            "over": each.channel,
            "known": dict(each.evidence),
        }
        for each in tellings
    ]
    connection.execute(
        update(t.alert)
        .where(a.id == bindparam("alert"), a.status == bindparam("before"))
        .values(
            status=bindparam("after"),
            rep=bindparam("to_rep"),
            routed_by=bindparam("by"),
            channel=bindparam("over"),
            evidence=bindparam("known", type_=a.evidence.type),
            told_at=func.coalesce(a.told_at, now),
            told_count=a.told_count + 1,
            due_at=None,
        ),
        rows,
    )


def last_raised(connection: Connection, lead_ids: Sequence[int]) -> dict[int, datetime]:
    """lead id -> when it last had an alert that asks for an answer and was not taken back."""
    a = t.alert.c
    ignored = (AlertStatus.NOTICE.value, AlertStatus.CLOSED.value)
    rows = connection.execute(
        select(a.lead_id, func.max(a.created_at).label("at"))
        .where(one_of(a.lead_id, lead_ids), a.status.not_in(ignored))
        .group_by(a.lead_id)
    )
    return {row.lead_id: row.at for row in rows}


def standing_among(connection: Connection, lead_ids: Sequence[int]) -> set[int]:
    """Leads with an alert that is not yet answered for good."""
    a = t.alert.c
    return set(connection.scalars(select(a.lead_id).where(one_of(a.lead_id, lead_ids), a.status.in_(_STANDING))))


@dataclass(frozen=True, kw_only=True)
class AlertAnswered:
    at: datetime
    answer: str
    rep: str
    reason: str | None
    note: str | None


@dataclass(frozen=True, kw_only=True)
class AlertView:
    """What a rep's page shows. `evidence` is what was known when the rep was told (`store/evidence.py`)."""

    id: int
    lead_id: int
    status: AlertStatus
    rep: str
    channel: str
    rule: str
    reasons: tuple[str, ...]
    message: str | None
    created_at: datetime
    told_at: datetime | None
    due_at: datetime | None
    email: str
    name: str
    company: str | None
    title: str | None
    phone: str | None
    """None without permission to call."""
    stage: str
    fit: str
    owner: str | None
    evidence: dict[str, Any]
    answers: tuple[AlertAnswered, ...]


def alert_view(connection: Connection, alert_id: int) -> AlertView | None:
    """The alert with its lead as it is now, and the answers so far in their order; None where there is none."""
    a, lead, said = t.alert.c, t.lead.c, t.alert_answer.c
    person = (lead.email, lead.first_name, lead.last_name, lead.company, lead.title, lead.phone)
    row = connection.execute(
        select(t.alert, *person, lead.stage, lead.fit, lead.owner)
        .join(t.lead, lead.id == a.lead_id)
        .where(a.id == alert_id)
    ).one_or_none()
    if row is None:
        return None
    answers = connection.execute(
        select(said.at, said.answer, said.rep, said.reason, said.note)
        .where(said.alert_id == alert_id)
        .order_by(said.at, said.id)
    )
    return AlertView(
        id=row.id,
        lead_id=row.lead_id,
        status=AlertStatus(row.status),
        rep=row.rep,
        channel=row.channel,
        rule=row.rule,
        reasons=tuple(row.reasons),
        message=row.message,
        created_at=row.created_at,
        told_at=row.told_at,
        due_at=row.due_at,
        email=row.email,
        name=" ".join(part for part in (row.first_name, row.last_name) if part),
        company=row.company,
        title=row.title,
        phone=row.phone if may_call(connection, [row.lead_id]) else None,
        stage=row.stage,
        fit=row.fit,
        owner=row.owner,
        evidence=row.evidence,
        answers=tuple(AlertAnswered(**answer._mapping) for answer in answers),
    )


@dataclass(frozen=True, kw_only=True)
class AlertLine:
    """An alert on a rep's own page; `at` is when it was told, or the end of its snooze."""

    id: int
    status: AlertStatus
    rule: str
    reasons: tuple[str, ...]
    at: datetime | None
    email: str
    name: str
    company: str | None


def alerts_of(connection: Connection, rep: str, statuses: Sequence[AlertStatus], *, limit: int) -> list[AlertLine]:
    """A rep's alerts in these states, the oldest first."""
    a, lead = t.alert.c, t.lead.c
    rows = connection.execute(
        select(a.id, a.status, a.rule, a.reasons, a.told_at, a.due_at, lead.email, lead.company)
        .add_columns(lead.first_name, lead.last_name)
        .join(t.lead, lead.id == a.lead_id)
        .where(a.rep == rep, a.status.in_([status.value for status in statuses]))
        .order_by(a.told_at, a.id)
        .limit(limit)
    )
    return [
        AlertLine(
            id=row.id,
            status=AlertStatus(row.status),
            rule=row.rule,
            reasons=tuple(row.reasons),
            at=row.due_at if row.status == AlertStatus.SNOOZED.value else row.told_at,
            email=row.email,
            name=" ".join(part for part in (row.first_name, row.last_name) if part),
            company=row.company,
        )
        for row in rows
    ]


def may_call(connection: Connection, lead_ids: Sequence[int]) -> set[int]:
    """Leads whose latest word on calls is a yes."""
    c = t.consent.c
    rows = connection.execute(
        select(c.lead_id, c.granted).where(one_of(c.lead_id, lead_ids), c.kind == "phone").order_by(c.at, c.id)
    )
    latest = {row.lead_id: row.granted for row in rows}
    return {lead_id for lead_id, granted in latest.items() if granted}

"""Leads as people look at them: a list with scores of this moment, and everything that is known of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, select

from nurture.domain.conditions import Condition
from nurture.domain.scoring import engagement_at
from nurture.store import tables as t
from nurture.store.lead_fields import LEAD_FIELDS
from nurture.store.segments import Asking, lead_clause
from nurture.store.suppressions import suppressed_among

ERASED_KEY = "erased:"
"""Begins the key of a lead who was erased: a row that only counts."""

_TIMES = (
    "created_at",
    "stage_at",
    "consented_at",
    "consent_until",
    "last_engaged_at",
    "contacted_at",
    "email_verified_at",
    "phone_verified_at",
    "hold_until",
)
_INNER = ("lead_id", "lease_owner", "lease_epoch", "lease_until")
"""Columns that say nothing of the person."""
_AT_ONCE = 500


def list_leads(
    connection: Connection, asking: Asking, *, condition: Condition | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """The leads that meet the condition, the newest first; `engagement` and `score` are those of `asking.now`."""
    lead = t.lead.c
    query = select(t.lead).where(_is_somebody()).order_by(lead.created_at.desc(), lead.id.desc()).limit(limit)
    if condition is not None:
        query = query.where(lead_clause(condition, asking))
    return list(_summaries(connection, query, asking))


def show_lead(connection: Connection, address_key: str, asking: Asking) -> dict[str, Any] | None:
    """One lead with its history; None where nobody has this address."""
    lead = t.lead.c
    found = connection.execute(select(t.lead).where(lead.email_key == address_key)).mappings().one_or_none()
    if found is None:
        return None
    summary = next(_summaries(connection, select(t.lead).where(lead.id == found["id"]), asking))
    own = {name: found[name] for name in (*LEAD_FIELDS, *_TIMES)}
    tags = connection.scalars(select(t.lead_tag.c.tag).where(t.lead_tag.c.lead_id == found["id"]).order_by("tag"))
    return {
        **summary,
        **own,
        "hold_reason": found["hold_reason"],
        "custom": found["custom"],
        "tags": list(tags),
        "events": _rows(connection, t.event, found["id"], order="at"),
        "messages": _rows(connection, t.message, found["id"], order="created_at"),
        "consents": _rows(connection, t.consent, found["id"], order="at"),
        "enrollments": _rows(connection, t.enrollment, found["id"], order="enrolled_at"),
        "stages": _rows(connection, t.stage_history, found["id"], order="at"),
        "score_ledger": _rows(connection, t.score_ledger, found["id"], order="at"),
    }


def export_lead(connection: Connection, address_key: str, asking: Asking) -> dict[str, Any] | None:
    """All that is known of one person, for whoever asks by right; None where nobody has this address."""
    shown = show_lead(connection, address_key, asking)
    if shown is None:
        return None
    lead_id = connection.scalar(select(t.lead.c.id).where(t.lead.c.email_key == address_key))
    alerts = _rows(connection, t.alert, lead_id, order="created_at")
    messages = select(t.message.c.id).where(t.message.c.lead_id == lead_id)
    keys = [address_key, "@" + address_key.rpartition("@")[2]]
    return {
        **shown,
        "alerts": alerts,
        "alert_answers": _where(
            connection, t.alert_answer, t.alert_answer.c.alert_id.in_([each["id"] for each in alerts])
        ),
        "opt_ins": _rows(connection, t.opt_in, lead_id, order="at"),
        "decisions": _rows(connection, t.decision, lead_id, order="at"),
        "experiments": _rows(connection, t.assignment, lead_id, order="at"),
        "hits": _where(connection, t.hit, t.hit.c.message_id.in_(messages)),
        "suppressions": _where(connection, t.suppression, t.suppression.c.address_key.in_(keys)),
    }


def _is_somebody() -> ColumnElement[bool]:
    """Not one who was erased."""
    return t.lead.c.email_key.not_like(f"{ERASED_KEY}%")


def _summaries(connection: Connection, query: Select[Any], asking: Asking) -> Iterator[dict[str, Any]]:
    for rows in connection.execute(query).mappings().partitions(_AT_ONCE):
        suppressed = suppressed_among(connection, [row["email_key"] for row in rows])
        for row in rows:
            yield _summary(dict(row), suppressed.get(row["email_key"]), asking)


def _summary(row: Mapping[str, Any], suppression: str | None, asking: Asking) -> dict[str, Any]:
    engagement = engagement_at(
        row["gains"], row["losses"], asking.now, half_life=asking.half_life, cap=asking.engagement_cap
    )
    name = " ".join(part for part in (row["first_name"], row["last_name"]) if part)
    return {
        "email": row["email"],
        "name": name or None,
        "company": row["company"],
        "country": row["country"],
        "stage": row["stage"],
        "fit": row["fit"],
        "engagement": round(engagement, 2),
        "score": round(row["fit_points"] + engagement, 2),
        "owner": row["owner"],
        "suppression": suppression,
        "channel": row["channel"],
        "campaign": row["campaign"],
        "created_at": row["created_at"],
        "last_engaged_at": row["last_engaged_at"],
    }


def _rows(connection: Connection, table: Table, lead_id: int | None, *, order: str) -> list[dict[str, Any]]:
    query = select(table).where(table.c.lead_id == lead_id).order_by(table.c[order])
    return [_plain(dict(row)) for row in connection.execute(query).mappings()]


def _where(connection: Connection, table: Table, clause: ColumnElement[bool]) -> list[dict[str, Any]]:
    return [_plain(dict(row)) for row in connection.execute(select(table).where(clause)).mappings()]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _INNER}

"""Colleagues of one company, as leads of one domain that is nobody's freemail; what concerns one may concern all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from nurture.domain.freemail import FREEMAIL
from nurture.domain.stages import Stage
from nurture.store import tables as t

CHUNK = 500


def account_exits(connection: Connection, rows: Sequence[Any]) -> set[int]:
    """The ids of those of these enrollments during which a colleague became a customer."""
    lead, won_at = t.lead.c, dict[str, datetime]()
    for names in _domains(rows):
        found = connection.execute(
            select(lead.email_domain, func.max(lead.stage_at))
            .where(lead.email_domain.in_(names), lead.stage == Stage.CUSTOMER.value, lead.stage_at.is_not(None))
            .group_by(lead.email_domain)
        )
        won_at.update(found.all())
    others = [row for row in rows if row.lead_stage != Stage.CUSTOMER.value]
    return {row.id for row in others if (at := won_at.get(row.lead_email_domain)) is not None and at >= row.enrolled_at}


def colleagues_holds(connection: Connection, rows: Sequence[Any], *, now: datetime) -> dict[int, tuple[datetime, str]]:
    """enrollment id -> (until when, why), where sales holds a colleague."""
    lead, held = t.lead.c, dict[str, datetime]()
    for names in _domains(rows):
        found = connection.execute(
            select(lead.email_domain, func.max(lead.hold_until))
            .where(lead.email_domain.in_(names), lead.hold_until > now)
            .group_by(lead.email_domain)
        )
        held.update(found.all())
    return {row.id: (at, "a colleague") for row in rows if (at := held.get(row.lead_email_domain)) is not None}


def colleagues_of(connection: Connection, lead_ids: Collection[int]) -> list[int]:
    """The leads of the same companies, without these; a freemail domain is no company."""
    lead, found = t.lead.c, set[int]()
    ids = sorted(lead_ids)
    for start in range(0, len(ids), CHUNK):
        domains = select(lead.email_domain).where(
            lead.id.in_(ids[start : start + CHUNK]), lead.email_domain.not_in(sorted(FREEMAIL))
        )
        found.update(connection.scalars(select(lead.id).where(lead.email_domain.in_(domains))))
    return sorted(found.difference(ids))


def _domains(rows: Sequence[Any]) -> list[list[str]]:
    names = sorted({row.lead_email_domain for row in rows} - FREEMAIL)
    return [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]

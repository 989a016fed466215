"""Stage 1: leads who meet a live cadence's segment get an enrollment, once.

One query a cadence finds them; the unique key (lead, cadence, run) makes a second pass, or a second worker, harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, literal, not_, or_, select

from nurture.domain.cadence import Cadence
from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.domain.reasons import Reason
from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.cadences import current_cadences, is_in_force, remember_current, take_up
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import arrange, enroll_leads
from nurture.store.segments import Asking, lead_clause

BATCH = 2000


@dataclass(frozen=True, kw_only=True)
class EnrollReport:
    enrolled: int


def take_up_cadences(
    *, database: Database, cadences: Mapping[str, Cadence], vocabulary: Vocabulary, asking: Asking
) -> list[str]:
    """Put the files' cadences in force; an `only_future` one remembers who meets its segment today.

    Leads of an import that ran before count as current, too. Returns the stems that are new.
    """
    with database.transaction() as connection:
        new = take_up(connection, cadences, now=asking.now)
        for name in new:
            cadence = cadences[name]
            if cadence.enroll == "only_future" and cadence.segment is not None:
                clause = _segment_clause(cadence, vocabulary, asking)
                remember_current(connection, name, list(connection.scalars(select(t.lead.c.id).where(clause))))
    return new


def enroll(*, database: Database, vocabulary: Vocabulary, asking: Asking) -> EnrollReport:
    """Enroll everyone who meets a live cadence's segment now. Batches commit by themselves."""
    with database.reading() as connection:
        current = current_cadences(connection)
    count = 0
    for version, cadence in current.values():
        if cadence.status != "live" or cadence.segment is None:
            continue
        while made := _enroll_batch(database, version, cadence, vocabulary, asking):
            count += made
    return EnrollReport(enrolled=count)


def _enroll_batch(database: Database, version: str, cadence: Cadence, vocabulary: Vocabulary, asking: Asking) -> int:
    with database.reading() as connection:
        ids: list[int] = [row.id for row in connection.execute(_candidates(cadence, vocabulary, asking).limit(BATCH))]
    if not ids:
        return 0
    with database.transaction() as connection:
        if not is_in_force(connection, cadence.name, version):
            return 0  # edited meanwhile: the next pass asks by the new version
        return len(enroll_in(connection, ids, version=version, cadence=cadence, now=asking.now))


def enroll_in(
    connection: Connection, lead_ids: list[int], *, version: str, cadence: Cadence, now: datetime
) -> list[tuple[int, int]]:
    """Enroll these leads in this version of the cadence. Returns (enrollment id, lead id) of the new ones."""
    values = {
        "cadence": cadence.name,
        "version": version,
        "run": "1",
        "priority": cadence.priority,
        "concurrent": cadence.concurrent,
        "step": cadence.first,
    }
    made = enroll_leads(connection, lead_ids, values=values, now=now)
    record_decisions(
        connection,
        [
            NewDecision(
                lead_id=lead_id, enrollment_id=enrollment_id, cadence=cadence.name, code=Reason.ENROLLED, at=now
            )
            for enrollment_id, lead_id in made
        ],
    )
    if not cadence.concurrent:
        arrange(connection, [lead_id for _, lead_id in made], now=now)
    return made


def _segment_clause(cadence: Cadence, vocabulary: Vocabulary, asking: Asking) -> ColumnElement[bool]:
    return lead_clause(parse_condition(cadence.segment or "true", vocabulary), asking)


def _candidates(cadence: Cadence, vocabulary: Vocabulary, asking: Asking) -> Select[tuple[int]]:
    """Leads with consent who meet the segment, are nowhere suppressed or held, and were never in this cadence."""
    lead, e = t.lead.c, t.enrollment
    clauses = [
        _segment_clause(cadence, vocabulary, asking),
        may_be_mailed(asking.now),
        lead.stage != Stage.VISITOR.value,
        lead.id.not_in(select(e.c.lead_id).where(e.c.cadence == cadence.name)),
        or_(lead.hold_until.is_(None), lead.hold_until <= asking.now),
    ]
    if not cadence.customers:
        clauses.append(lead.stage.not_in([Stage.CUSTOMER.value, Stage.DISQUALIFIED.value]))
    if cadence.goal is not None:
        clauses.append(lead_clause(parse_condition(cadence.goal, vocabulary).negated(), asking))
    current = select(t.current_lead.c.lead_id).where(t.current_lead.c.cadence == cadence.name)
    if cadence.enroll == "only_future":
        clauses.append(lead.id.not_in(current))
    return select(lead.id).where(and_(*clauses)).order_by(lead.id)


def may_be_mailed(now: datetime) -> ColumnElement[bool]:
    """Consent in force, and no active suppression of the address or its domain."""
    lead, s = t.lead.c, t.suppression.c
    return and_(
        lead.consented_at.is_not(None),
        or_(lead.consent_until.is_(None), lead.consent_until > now),
        not_(
            exists().where(
                s.lifted_at.is_(None),
                or_(s.address_key == lead.email_key, s.address_key == literal("@").concat(lead.email_domain)),
            )
        ),
    )

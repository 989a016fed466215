"""Why a lead is worth a call, as it was when the rep was told: score, what it did, what it got, what comes next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.event import Verdict
from nurture.domain.explain import coming_step, say_event, say_step
from nurture.domain.message import MessageKind, MessageStatus
from nurture.domain.promotion import NO_INTEREST
from nurture.domain.scoring import engagement_at, sums_of
from nurture.store import tables as t
from nurture.store.alerts import may_call
from nurture.store.cadences import load_versions
from nurture.store.database import one_of
from nurture.store.scores import ENGAGEMENT, FIT
from nurture.store.segments import Asking

LATELY = timedelta(days=7)
ACTIONS_TOLD = 5
MAILS_TOLD = 5


def gather_evidence(connection: Connection, lead_ids: Sequence[int], asking: Asking) -> dict[int, dict[str, Any]]:
    """lead id -> JSON-able evidence; times are RFC 3339 in UTC. One query a topic, for all leads."""
    ids = sorted(set(lead_ids))
    scores, actions = _scores(connection, ids, asking), _actions(connection, ids)
    mails, coming = _mails(connection, ids), _coming(connection, ids)
    callable_leads = may_call(connection, ids)
    return {
        lead_id: {
            "at": asking.now.isoformat(),
            **scores[lead_id],
            "actions": actions.get(lead_id, []),
            **mails.get(lead_id, {"mails": [], "mails_count": 0}),
            "next": coming.get(lead_id),
            "may_call": lead_id in callable_leads,
        }
        for lead_id in ids
    }


def _scores(connection: Connection, ids: Sequence[int], asking: Asking) -> dict[int, dict[str, Any]]:
    """Score now, and its change over the last seven days, by the ledger."""
    line, lead = t.score_ledger.c, t.lead.c
    lines: dict[int, list[Any]] = defaultdict(list)
    booked = select(line.lead_id, line.kind, line.at, line.points).where(one_of(line.lead_id, ids))
    for each in connection.execute(booked):
        lines[each.lead_id].append(each)
    known = connection.execute(select(lead.id, lead.fit, lead.stage).where(one_of(lead.id, ids)))
    scores = {}
    for row in known:
        now, before = (_score_at(lines[row.id], moment, asking) for moment in (asking.now, asking.now - LATELY))
        scores[row.id] = {
            "grade": row.fit,
            "stage": row.stage,
            "score": round(now, 1),
            "score_change": round(now - before, 1),
        }
    return scores


def _score_at(lines: Sequence[Any], moment: datetime, asking: Asking) -> float:
    stood = [line for line in lines if line.at <= moment]
    fit: float = sum(line.points for line in stood if line.kind == FIT)
    gains, losses = sums_of([(line.at, line.points) for line in stood if line.kind == ENGAGEMENT], asking.half_life)
    engagement = engagement_at(gains, losses, moment, half_life=asking.half_life, cap=asking.engagement_cap)
    return fit + engagement


def _actions(connection: Connection, ids: Sequence[int]) -> dict[int, list[dict[str, str]]]:
    """The last few things that each person did itself, latest first; opens prove nothing, and are left out."""
    e = t.event.c
    place = func.row_number().over(partition_by=e.lead_id, order_by=(e.at.desc(), e.id.desc())).label("place")
    told = (e.verdict == Verdict.HUMAN.value) & e.kind.not_in([*sorted(NO_INTEREST), "opened"])
    columns = (e.lead_id, e.at, e.kind, e.link, e.link_name, e.path, e.value, e.currency, e.props, e.step)
    numbered = select(*columns, place).where(one_of(e.lead_id, ids), told).subquery()
    rows = connection.execute(
        select(numbered).where(numbered.c.place <= ACTIONS_TOLD).order_by(numbered.c.lead_id, numbered.c.place)
    )
    actions: dict[int, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        actions[row.lead_id].append({"at": row.at.isoformat(), "kind": row.kind, "text": _say(row)})
    return actions


def _say(row: Any) -> str:
    detail = {
        **row.props,
        "link": row.link_name or row.link,
        "path": row.path,
        "value": row.value,
        "currency": row.currency,
    }
    return say_event(row.kind, detail, zone=UTC)


def _mails(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The last few mails of cadences that each got, latest first, and how many in all."""
    m = t.message.c
    sent = (m.kind == MessageKind.STEP.value) & (m.status == MessageStatus.SENT.value)
    place = func.row_number().over(partition_by=m.lead_id, order_by=(m.sent_at.desc(), m.id.desc())).label("place")
    count = func.count().over(partition_by=m.lead_id).label("count")
    columns = (m.lead_id, m.sent_at, m.subject, m.cadence, m.step)
    numbered = select(*columns, place, count).where(one_of(m.lead_id, ids), sent).subquery()
    rows = connection.execute(
        select(numbered).where(numbered.c.place <= MAILS_TOLD).order_by(numbered.c.lead_id, numbered.c.place)
    )
    mails: dict[int, dict[str, Any]] = {}
    for row in rows:
        of_lead = mails.setdefault(row.lead_id, {"mails": [], "mails_count": row.count})
        subject = row.subject or f"{row.cadence}/{row.step}"
        of_lead["mails"].append({"at": row.sent_at.isoformat(), "subject": subject})
    return mails


def _coming(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The next step of the cadence that runs, and when, where that is known."""
    e = t.enrollment.c
    rows = connection.execute(
        select(e.lead_id, e.cadence, e.version, e.step, e.ready_at)
        .where(one_of(e.lead_id, ids), e.status == EnrollmentStatus.ACTIVE.value)
        .order_by(e.priority, e.enrolled_at.desc(), e.id.desc())
    ).all()
    cadences = load_versions(connection, {row.version for row in rows})
    coming: dict[int, dict[str, Any]] = {}
    for row in rows:  # the one of highest priority comes last, and stays
        step = coming_step(cadences[row.version], row.step) if row.version in cadences else None
        coming[row.lead_id] = {
            "cadence": row.cadence,
            "text": say_step(step) if step is not None else "the end of the cadence",
            "at": row.ready_at.isoformat() if row.ready_at is not None else None,
        }
    return coming

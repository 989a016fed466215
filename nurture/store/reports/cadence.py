"""Each cadence step by step: who came, who waits, what was sent, and what people did with it.

The cohort is the enrollments that began in the period; every number of a row speaks of those, as often as they ran.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select, union_all

from nurture.domain.cadence import Cadence
from nurture.domain.enrollment import RUNNING, EnrollmentStatus, ExitReason
from nurture.domain.event import EventName, Verdict
from nurture.domain.message import MessageStatus
from nurture.store import tables as t
from nurture.store.cadences import load_versions
from nurture.store.reports.request import ReportRequest, Row, lookup, rate

Key = tuple[str, str | None]
"""(cadence, step)."""

FRACTIONS = {
    "click_rate": ("clicked", "delivered"),
    "reply_rate": ("replied", "delivered"),
    "unsubscribe_rate": ("unsubscribed", "delivered"),
}


def report_cadence(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{cadence, step, entered, waiting, sent, delivered, bounced, unknown, clicked, replied, unsubscribed, …}`.

    `sent` was accepted by the next hop; `delivered` is that without what bounced later, and is every rate's
    denominator. Readers are counted once a step, machines not at all. `goal` are the exits with that reason, which
    `exited` lists as well, at the step where they happened.
    """
    entered = _entered(connection, request)
    standing = _standing(connection, request)
    exited = _exited(connection, request)
    mail = _mail(connection, request)
    readers = _readers(connection, request)
    rows = []
    for key in _keys(connection, set(entered) | set(standing) | set(exited) | set(mail)):
        sent = mail.get(key, {})
        delivered = sent.get("delivered", 0)
        did = readers.get(key, {})
        reasons = exited.get(key, {})
        clicked, replied, left = (
            did.get(name.value, 0) for name in (EventName.CLICKED, EventName.REPLIED, EventName.UNSUBSCRIBED)
        )
        rows.append(
            {
                "cadence": key[0],
                "step": key[1],
                "entered": entered.get(key, 0),
                "waiting": standing.get(key, 0),
                "sent": sent.get("sent", 0),
                "delivered": delivered,
                "bounced": sent.get("bounced", 0),
                "unknown": sent.get("unknown", 0),
                "clicked": clicked,
                "click_rate": rate(clicked, delivered),
                "replied": replied,
                "reply_rate": rate(replied, delivered),
                "unsubscribed": left,
                "unsubscribe_rate": rate(left, delivered),
                "goal": reasons.get(ExitReason.GOAL.value, 0),
                "exited": dict(sorted(reasons.items())),
            }
        )
    return rows


def _keys(connection: Connection, seen: set[Key]) -> Iterator[Key]:
    """Every step of every cadence in the order of its file; steps that are gone from it come after."""
    shapes = _shapes(connection)
    for name in sorted(set(shapes) | {cadence for cadence, _ in seen}):
        steps: list[str | None] = list(shapes[name].steps) if name in shapes else []
        gone = sorted({step for cadence, step in seen if cadence == name and step not in steps}, key=str)
        for step in [*steps, *gone]:
            yield name, step


def _shapes(connection: Connection) -> Mapping[str, Cadence]:
    """cadence -> the version in force; removed cadences keep the last one."""
    state = t.cadence_state.c
    versions = lookup(connection, select(state.cadence, state.version))
    loaded = load_versions(connection, set(versions.values()))
    return {name: loaded[version] for name, version in versions.items() if version in loaded}


def _in_period(request: ReportRequest) -> ColumnElement[bool]:
    return request.period.holds(t.enrollment.c.enrolled_at)


def _entered(connection: Connection, request: ReportRequest) -> dict[Key, int]:
    """Enrollments that came to the step: they decided something there, sent from there, or stand there."""
    e, d, m = t.enrollment, t.decision, t.message
    came = union_all(
        select(e.c.id.label("enrollment_id"), e.c.cadence, e.c.step).where(_in_period(request), e.c.step.is_not(None)),
        select(e.c.id, e.c.cadence, d.c.step)
        .join(d, d.c.enrollment_id == e.c.id)
        .where(_in_period(request), d.c.step.is_not(None)),
        select(e.c.id, e.c.cadence, m.c.step)
        .join(m, m.c.enrollment_id == e.c.id)
        .where(_in_period(request), m.c.step.is_not(None)),
    ).subquery()
    rows = connection.execute(
        select(came.c.cadence, came.c.step, func.count(func.distinct(came.c.enrollment_id)).label("total")).group_by(
            came.c.cadence, came.c.step
        )
    )
    return {(row.cadence, row.step): row.total for row in rows}


def _standing(connection: Connection, request: ReportRequest) -> dict[Key, int]:
    e = t.enrollment.c
    rows = connection.execute(
        select(e.cadence, e.step, func.count().label("total"))
        .where(_in_period(request), e.status.in_([status.value for status in RUNNING]))
        .group_by(e.cadence, e.step)
    )
    return {(row.cadence, row.step): row.total for row in rows}


def _exited(connection: Connection, request: ReportRequest) -> dict[Key, dict[str, int]]:
    e = t.enrollment.c
    rows = connection.execute(
        select(e.cadence, e.step, e.exit_reason, func.count().label("total"))
        .where(_in_period(request), e.status == EnrollmentStatus.EXITED.value)
        .group_by(e.cadence, e.step, e.exit_reason)
    )
    exits: dict[Key, dict[str, int]] = defaultdict(dict)
    for row in rows:
        exits[row.cadence, row.step][row.exit_reason or "unknown"] = row.total
    return exits


def _mail(connection: Connection, request: ReportRequest) -> dict[Key, dict[str, int]]:
    m, e = t.message, t.enrollment
    accepted_first = and_(m.c.status == MessageStatus.BOUNCED.value, m.c.sent_at.is_not(None))

    def count(clause: ColumnElement[bool]) -> ColumnElement[Any]:
        return func.sum(case((clause, 1), else_=0))

    rows = connection.execute(
        select(
            m.c.cadence,
            m.c.step,
            count((m.c.status == MessageStatus.SENT.value) | accepted_first).label("sent"),
            count(m.c.status == MessageStatus.SENT.value).label("delivered"),
            count(m.c.status == MessageStatus.BOUNCED.value).label("bounced"),
            count(m.c.status == MessageStatus.UNKNOWN.value).label("unknown"),
        )
        .join(e, e.c.id == m.c.enrollment_id)
        .where(_in_period(request), m.c.step.is_not(None))
        .group_by(m.c.cadence, m.c.step)
    )
    names = ("sent", "delivered", "bounced", "unknown")
    return {(row.cadence, row.step): {name: getattr(row, name) for name in names} for row in rows}


def _readers(connection: Connection, request: ReportRequest) -> dict[Key, dict[str, int]]:
    """People who did something with a step's message: {event: leads}."""
    m, e, event = t.message, t.enrollment, t.event
    kinds = [name.value for name in (EventName.CLICKED, EventName.REPLIED, EventName.UNSUBSCRIBED)]
    rows = connection.execute(
        select(m.c.cadence, m.c.step, event.c.kind, func.count(func.distinct(m.c.enrollment_id)).label("total"))
        .join(m, m.c.id == event.c.message_id)
        .join(e, e.c.id == m.c.enrollment_id)
        .where(
            _in_period(request),
            event.c.kind.in_(kinds),
            event.c.verdict == Verdict.HUMAN.value,
            m.c.status == MessageStatus.SENT.value,
        )
        .group_by(m.c.cadence, m.c.step, event.c.kind)
    )
    did: dict[Key, dict[str, int]] = defaultdict(dict)
    for row in rows:
        did[row.cadence, row.step][row.kind] = row.total
    return did

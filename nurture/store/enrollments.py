"""Enrollments as rows: who is due, who runs beside whom, and the guarded moves between states."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    update,
)

from nurture.domain.enrollment import RUNNING, EnrollmentStatus, ExitReason
from nurture.domain.event import EventName, Verdict
from nurture.domain.message import CAPPED, MessageKind, MessageStatus
from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.database import insert_ignore, with_lock_skipped
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.messages import cancel_messages
from nurture.store.suppressions import suppressed_among

CHUNK = 500

_LEAD_COLUMNS = (
    "email",
    "email_key",
    "email_domain",
    "timezone",
    "country",
    "stage",
    "consented_at",
    "consent_until",
    "hold_until",
    "hold_reason",
    "owner",
)


@dataclass(frozen=True, kw_only=True)
class Placing:
    """Where an enrollment stands after a look at it; written back guarded by `active`."""

    enrollment_id: int
    step: str | None
    due_at: datetime | None
    since_at: datetime
    ready_at: datetime | None
    late_from: datetime | None
    message_id: int | None
    blocked_by: str | None
    visit: int


def enroll_leads(
    connection: Connection, runs: Sequence[Mapping[str, Any]], *, values: Mapping[str, Any], now: datetime
) -> list[tuple[int, int]]:
    """New enrollments as (id, lead_id), of `runs` with lead_id, run and event_id; one that exists is left alone."""
    made: list[tuple[int, int]] = []
    for start in range(0, len(runs), CHUNK):
        rows = [
            {
                **values,
                **run,
                "status": EnrollmentStatus.ACTIVE.value,
                "visit": 1,
                "enrolled_at": now,
                "since_at": now,
                "due_at": now,
            }
            for run in runs[start : start + CHUNK]
        ]
        statement = insert_ignore(connection, t.enrollment).returning(t.enrollment.c.id, t.enrollment.c.lead_id)
        made.extend((row.id, row.lead_id) for row in connection.execute(statement, rows))
    return made


def claim_due(connection: Connection, *, now: datetime, limit: int) -> list[Any]:
    """Active enrollments that are due, with what their leads bring; both rows stay locked until the commit."""
    e = t.enrollment
    due = _with_lead().where(e.c.status == EnrollmentStatus.ACTIVE.value, e.c.due_at <= now)
    return list(connection.execute(with_lock_skipped(due.order_by(e.c.due_at, e.c.id).limit(limit))))


def claim_paused(connection: Connection, versions: Sequence[str], *, now: datetime, limit: int) -> list[Any]:
    """Of these versions, enrollments that are due while they are paused behind others; locked as above."""
    e = t.enrollment
    paused = _with_lead().where(e.c.status == EnrollmentStatus.PAUSED.value, e.c.due_at <= now)
    some = paused.where(e.c.version.in_(versions)).order_by(e.c.due_at, e.c.id).limit(limit)
    return list(connection.execute(with_lock_skipped(some)))


def behind_them(connection: Connection, rows: Sequence[Any], *, besides: Collection[int] = ()) -> list[Any]:
    """The paused enrollments of the same leads, with what their leads bring; without those that are `besides`."""
    e = t.enrollment
    found: list[Any] = []
    ids = sorted({row.lead_id for row in rows})
    for start in range(0, len(ids), CHUNK):
        paused = _with_lead().where(
            e.c.lead_id.in_(ids[start : start + CHUNK]), e.c.status == EnrollmentStatus.PAUSED.value
        )
        found += connection.execute(with_lock_skipped(paused.order_by(e.c.id))).all()
    return [row for row in found if row.id not in besides]


def load_enrollments(connection: Connection, enrollment_ids: Sequence[int]) -> list[Any]:
    """These, as they stand, with what their leads bring."""
    found: list[Any] = []
    for start in range(0, len(enrollment_ids), CHUNK):
        some = _with_lead().where(t.enrollment.c.id.in_(enrollment_ids[start : start + CHUNK]))
        found += connection.execute(some).all()
    return found


def _with_lead() -> Select[Any]:
    lead = t.lead.c
    return select(t.enrollment, *(lead[name].label(f"lead_{name}") for name in _LEAD_COLUMNS)).join(
        t.lead, lead.id == t.enrollment.c.lead_id
    )


def versions_at_rest(connection: Connection, *, now: datetime) -> list[str]:
    """The versions in which anybody waits."""
    return list(connection.scalars(select(t.enrollment.c.version).where(*_at_rest(now)).distinct()))


def at_rest(
    connection: Connection, version: str, *, step: str | None, after: int, now: datetime, limit: int
) -> list[int]:
    """The ids above `after` of those who wait, in order; with `step` of those who stand there."""
    e = t.enrollment.c
    standing = [] if step is None else [e.step == step]
    some = select(e.id).where(*_at_rest(now), e.version == version, e.id > after, *standing)
    return list(connection.scalars(some.order_by(e.id).limit(limit)))


def wake(connection: Connection, enrollment_ids: Sequence[int], *, now: datetime) -> int:
    """Have `advance` look at these at once; how many of them still wait."""
    e, woken = t.enrollment, 0
    for start in range(0, len(enrollment_ids), CHUNK):
        some = update(e).where(e.c.id.in_(enrollment_ids[start : start + CHUNK]), *_at_rest(now))
        woken += connection.execute(some.values(due_at=now)).rowcount
    return woken


def _at_rest(now: datetime) -> tuple[ColumnElement[bool], ...]:
    e = t.enrollment.c
    return e.status == EnrollmentStatus.ACTIVE.value, or_(e.due_at.is_(None), e.due_at > now)


def put_off(connection: Connection, enrollment_id: int, *, now: datetime, until: datetime) -> None:
    """Have an enrollment that is due, active or paused, looked at later."""
    e = t.enrollment
    due = update(e).where(e.c.id == enrollment_id, e.c.status.in_([each.value for each in RUNNING]), e.c.due_at <= now)
    connection.execute(due.values(due_at=until))


def settle(connection: Connection, placings: Sequence[Placing]) -> None:
    """Write where the enrollments stand now; one that ended meanwhile is left alone."""
    if not placings:
        return
    e = t.enrollment
    names = [name for name in Placing.__dataclass_fields__ if name != "enrollment_id"]
    connection.execute(
        update(e)
        .where(e.c.id == bindparam("b_enrollment_id"), or_(*(e.c.status == each.value for each in RUNNING)))
        .values({name: bindparam(f"b_{name}") for name in names}),
        [{f"b_{name}": getattr(each, name) for name in Placing.__dataclass_fields__} for each in placings],
    )


def end(
    connection: Connection, enrollment_ids: Sequence[int], *, reason: str | None, now: datetime
) -> list[tuple[int, int]]:
    """Complete (no reason) or exit running enrollments. Returns (id, lead_id) of those that ended by this call."""
    status = EnrollmentStatus.COMPLETED if reason is None else EnrollmentStatus.EXITED
    e = t.enrollment
    ended: list[tuple[int, int]] = []
    for start in range(0, len(enrollment_ids), CHUNK):
        rows = connection.execute(
            update(e)
            .where(
                e.c.id.in_(enrollment_ids[start : start + CHUNK]),
                e.c.status.in_([each.value for each in RUNNING]),
            )
            .values(status=status.value, exit_reason=reason, ended_at=now, due_at=None, blocked_by=None)
            .returning(e.c.id, e.c.lead_id)
        )
        ended.extend((row.id, row.lead_id) for row in rows)
    if reason is not None:
        cancel_waiting(connection, ended, now=now)
    return ended


def cancel_waiting(connection: Connection, ended: Sequence[tuple[int, int]], *, now: datetime) -> None:
    """Cancel the messages of these enrollments (id, lead id) that are not yet on their way."""
    m = t.message.c
    for start in range(0, len(ended), CHUNK):
        some = ended[start : start + CHUNK]
        cancel_messages(
            connection,
            m.lead_id.in_([lead_id for _, lead_id in some]),  # by index; enrollments have none
            m.enrollment_id.in_([enrollment_id for enrollment_id, _ in some]),
            now=now,
        )


def recent_sends(
    connection: Connection, lead_ids: Iterable[int], *, since: datetime, now: datetime
) -> dict[int, list[datetime]]:
    """What takes a place in each lead's frequency cap since that moment."""
    sends = defaultdict(list)
    for row in _taking_places(connection, lead_ids, since=since, now=now):
        sends[row.lead_id].append(row.at)
    return sends


def sends_besides(
    connection: Connection, messages: Mapping[int, int], *, since: datetime, now: datetime
) -> dict[int, list[datetime]]:
    """message id -> what else takes a place in its lead's cap; `messages` are id -> lead id.

    Locks the leads until the commit: who asks for another message of one of them sees what became of these.
    """
    ids, taken = sorted(set(messages.values())), defaultdict(list)
    lock_lead_rows(connection, ids)
    for row in _taking_places(connection, ids, since=since, now=now):
        taken[row.lead_id].append(row)
    return {
        message_id: [row.at for row in taken[lead_id] if row.id != message_id]
        for message_id, lead_id in messages.items()
    }


def _taking_places(
    connection: Connection, lead_ids: Iterable[int], *, since: datetime, now: datetime
) -> list[Row[Any]]:
    """(id, lead_id, at) of each message that counts: when it went, may have gone, or was decided.

    One that is on its way goes now, however long ago it was decided.
    """
    m, ids = t.message, sorted(set(lead_ids))
    is_going = and_(m.c.status == MessageStatus.SENDING.value, m.c.dotted_at.is_(None))
    decided = func.coalesce(m.c.sent_at, m.c.dotted_at, m.c.created_at)
    at = case((is_going, literal(now, m.c.created_at.type)), else_=decided)
    rows: list[Row[Any]] = []
    for start in range(0, len(ids), CHUNK):
        rows += connection.execute(
            select(m.c.id, m.c.lead_id, at.label("at")).where(
                m.c.lead_id.in_(ids[start : start + CHUNK]),
                m.c.kind == MessageKind.STEP.value,
                m.c.transactional.is_(None),
                m.c.status.in_([each.value for each in CAPPED]),
                at > since,
            )
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class MessageState:
    """How a message stands, and of which step it is."""

    status: MessageStatus
    step: str | None


def message_states(connection: Connection, message_ids: Iterable[int]) -> dict[int, MessageState]:
    m, ids, states = t.message.c, sorted(set(message_ids)), {}
    for start in range(0, len(ids), CHUNK):
        rows = connection.execute(select(m.id, m.status, m.step).where(m.id.in_(ids[start : start + CHUNK])))
        states.update({row.id: MessageState(status=MessageStatus(row.status), step=row.step) for row in rows})
    return states


_SUPPRESSION_EXITS = {
    "unsubscribed": ExitReason.UNSUBSCRIBED,
    "bounced": ExitReason.BOUNCED,
    "complained": ExitReason.COMPLAINED,
    "erased": ExitReason.ERASED,
}


def forced_exits(connection: Connection, rows: Sequence[Any], *, now: datetime) -> dict[int, ExitReason]:
    """enrollment id -> the built-in exit that holds: suppression, no consent, a human reply to this enrollment."""
    suppressed = suppressed_among(connection, sorted({row.lead_email_key for row in rows}))
    exits: dict[int, ExitReason] = {}
    for row in rows:
        reason = suppressed.get(row.lead_email_key)
        if reason is not None:
            exits[row.id] = _SUPPRESSION_EXITS.get(reason, ExitReason.SUPPRESSED)
        elif row.lead_consented_at is None or (row.lead_consent_until is not None and row.lead_consent_until <= now):
            exits[row.id] = ExitReason.CONSENT_EXPIRED
    event = t.event
    replied = connection.scalars(
        select(event.c.enrollment_id)
        .where(
            event.c.enrollment_id.in_([row.id for row in rows]),
            event.c.kind == EventName.REPLIED.value,
            event.c.verdict == Verdict.HUMAN.value,
        )
        .distinct()
    )
    for enrollment_id in replied:
        exits.setdefault(enrollment_id, ExitReason.REPLIED)
    return exits


def arrange(connection: Connection, lead_ids: Iterable[int], *, now: datetime) -> None:
    """Of a lead's enrollments let only the one of highest priority run; equal ones run by enrollment time.

    Those of `concurrent` cadences run beside the others. What was due while it was paused is due when it resumes. The
    leads' rows are locked, so that of two who arrange one lead the second sees what the first did.
    """
    ids = sorted(set(lead_ids))
    e = t.enrollment
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK]
        lock_lead_rows(connection, some)
        rows = connection.execute(
            select(e.c.id, e.c.lead_id, e.c.cadence, e.c.status, e.c.concurrent)
            .where(e.c.lead_id.in_(some), e.c.status.in_([each.value for each in RUNNING]))
            .order_by(e.c.lead_id, e.c.priority.desc(), e.c.enrolled_at, e.c.id)
        ).all()
        _pause_and_resume(connection, rows, now=now)


def lock_lead_rows(connection: Connection, lead_ids: Iterable[int]) -> None:
    """In one order for everybody, and before the enrollments of these leads."""
    lead, ids = t.lead.c.id, sorted(set(lead_ids))
    for start in range(0, len(ids), CHUNK):
        some = select(lead).where(lead.in_(ids[start : start + CHUNK]))
        connection.execute(some.order_by(lead).with_for_update()).all()


def _pause_and_resume(connection: Connection, rows: Sequence[Any], *, now: datetime) -> None:
    first: dict[int, Any] = {}
    paused, resumed, decisions = [], [], []
    for row in rows:
        ahead = row if row.concurrent else first.setdefault(row.lead_id, row)
        if ahead is row and row.status == EnrollmentStatus.PAUSED.value:
            resumed.append(row.id)
        elif ahead is not row and row.status == EnrollmentStatus.ACTIVE.value:
            paused.append(row.id)
            decisions.append(
                NewDecision(
                    lead_id=row.lead_id,
                    enrollment_id=row.id,
                    cadence=row.cadence,
                    code=Reason.PAUSED,
                    at=now,
                    detail={"by": ahead.cadence},
                )
            )
    e = t.enrollment
    if paused:
        connection.execute(
            update(e)
            .where(e.c.id.in_(paused), e.c.status == EnrollmentStatus.ACTIVE.value)
            .values(status=EnrollmentStatus.PAUSED.value, paused_at=now, blocked_by=Reason.PAUSED.value)
        )
    if resumed:
        connection.execute(
            update(e)
            .where(e.c.id.in_(resumed), e.c.status == EnrollmentStatus.PAUSED.value)
            .values(status=EnrollmentStatus.ACTIVE.value, paused_at=None, resumed_at=now, blocked_by=None, due_at=now)
        )
    record_decisions(connection, decisions)


def paused_too_long(
    connection: Connection, *, now: datetime, max_pauses: Mapping[str, timedelta], limit: int
) -> list[Row[Any]]:
    """(id, lead_id, cadence) of those that others have kept waiting longer than `max_pauses` (by version) allows."""
    e = t.enrollment
    patient = or_(*((e.c.version == version) & (e.c.paused_at < now - most) for version, most in max_pauses.items()))
    paused = e.c.status == EnrollmentStatus.PAUSED.value
    return list(connection.execute(select(e.c.id, e.c.lead_id, e.c.cadence).where(paused, patient).limit(limit)))


def versions_paused(connection: Connection) -> list[str]:
    """The versions in which anybody is paused."""
    e = t.enrollment.c
    return list(connection.scalars(select(e.version).where(e.status == EnrollmentStatus.PAUSED.value).distinct()))

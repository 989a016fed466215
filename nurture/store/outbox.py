"""The guarded moves of a message from claim to outcome: each write names the owner and lease epoch it relies on.

    queued, deferred --claim--> sending --mark_dotted--> sending (dotted) --record--> sent, bounced, deferred, failed
                                   │ lease over, no dot written      -> deferred, the next epoch tries again
                                   └ lease over after mark_dotted    -> unknown, never sent again by itself

A write that matches no row means that somebody else decided meanwhile; the caller then says nothing more on the wire.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    String,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from nurture.domain.cadence import JUST_ASKED
from nurture.domain.clearance import ABSOLUTE_SUPPRESSIONS
from nurture.domain.enrollment import RUNNING, EnrollmentStatus
from nurture.domain.message import MessageKind, MessageStatus, ReplyCause
from nurture.store import tables as t
from nurture.store.database import insert_ignore, with_lock_skipped
from nurture.store.indexed import IS_SENDING, IS_WAITING
from nurture.store.prepared import Given, Prepared
from nurture.store.spellings import as_given, given_for, given_rows
from nurture.store.suppressions import acts_on_lead

_JUST_ASKED = func.coalesce(t.message.c.transactional, "").in_(JUST_ASKED) & exists(
    select(1)
    .where(t.enrollment.c.id == t.message.c.enrollment_id, t.enrollment.c.event_id.is_not(None))
    .correlate(t.message)
)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who claims, and until when."""

    owner: str
    until: datetime


ClaimKey = tuple[int, int]
"""(message row, lease epoch): an owner may lose one claim of a message and make another."""


@dataclass(frozen=True, kw_only=True)
class OfAClaim:
    """What is written for one claim, and for no other of the same message."""

    message_row: int
    epoch: int

    @property
    def claim(self) -> ClaimKey:
        return self.message_row, self.epoch


@dataclass(frozen=True, kw_only=True)
class Dotted(OfAClaim):
    """What must be stored before the dot: the claim it stands on, and what the letter turned out to be."""

    subject: str
    link_set: str | None
    links: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome(OfAClaim):
    """How an attempt ended. `not_before` only for deferred. `is_answer`: a server said so of this message.

    `is_counted`: back-off grows with it. One that never came to be spoken is no attempt; where it keeps its place in
    line as well, for want of a `not_before`, it was merely given back.
    """

    status: MessageStatus
    reply_class: str | None = None
    reply: str | None = None
    not_before: datetime | None = None
    cause: ReplyCause | None = None
    is_answer: bool = False
    is_counted: bool = True
    is_forgotten: bool = False
    """Its reader was erased meanwhile: nothing more is kept of what was said."""

    @property
    def is_given_back(self) -> bool:
        return not self.is_counted and self.not_before is None


def claim(connection: Connection, message_ids: Mapping[int, str], lease: Lease) -> list[int]:
    """Take these messages (row id -> Message-ID header) for one attempt each. Returns those that were free."""
    given = as_given([{"id": row, "header": header} for row, header in message_ids.items()])
    done = _CLAIM.run(connection, given=given, b_owner=lease.owner, b_lease_until=lease.until)
    return list(done.scalars())


def _claiming(_: Connection) -> Any:
    m, given = t.message, given_rows({"id": BigInteger(), "header": Text()})
    return (
        update(m)
        .where(m.c.id == given.c.id, IS_WAITING)
        .values(
            status=MessageStatus.SENDING.value,
            attempt=m.c.attempt + 1,
            message_id=func.coalesce(m.c.message_id, given.c.header),
            lease_epoch=m.c.lease_epoch + 1,
            lease_owner=_OWNER,
            lease_until=_LEASE_UNTIL,
            dotted_at=None,
        )
        .returning(m.c.id)
    )


def postpone(connection: Connection, moments: Mapping[int, tuple[datetime, datetime | None]]) -> None:
    """Waiting messages that may not go now: (look again then, and give up then), by row id."""
    if moments:
        m = t.message
        connection.execute(
            update(m)
            .where(m.c.id == bindparam("b_id"), IS_WAITING)
            .values(not_before=bindparam("b_until"), give_up_at=bindparam("b_give_up")),
            [{"b_id": row, "b_until": until, "b_give_up": give_up_at} for row, (until, give_up_at) in moments.items()],
        )


def tell_blocks(connection: Connection, blocks: Mapping[int, str | None]) -> None:
    """message row -> the reason code of what stands in its way now (None: nothing), on who awaits it."""
    e = t.enrollment
    for code in set(blocks.values()):
        rows = [row for row, one in blocks.items() if one == code]
        awaiting = update(e).where(e.c.message_id.in_(rows), e.c.status.in_([each.value for each in RUNNING]))
        connection.execute(awaiting.values(blocked_by=code))


def give_up(connection: Connection, rows: Sequence[int], status: MessageStatus, *, why: str, now: datetime) -> None:
    """Waiting messages that will not go any more: canceled, or failed."""
    if rows:
        m = t.message
        connection.execute(
            update(m).where(m.c.id.in_(rows), IS_WAITING).values(status=status.value, reply=why, ended_at=now)
        )
        wake_awaiting(connection, rows, now=now)


def mark_dotted(
    connection: Connection, batch: Sequence[Dotted], *, owner: str, now: datetime, lease_until: datetime
) -> set[ClaimKey]:
    """Commit point 3 of the promise. Returns the claims whose final dot may be written; for all others it may not.

    Guarded by owner and epoch, and by what may have changed since the claim: suppression, consent, the enrollment.
    """
    link_sets = {each.link_set: list(each.links) for each in batch if each.link_set is not None}
    if link_sets:
        rows = [{"digest": digest, "urls": urls} for digest, urls in sorted(link_sets.items())]
        _KEEP_LINKS.run(connection, given=as_given(rows))
    given = as_given(
        [
            {"id": each.message_row, "epoch": each.epoch, "subject": each.subject, "link_set": each.link_set}
            for each in sorted(batch, key=_row)  # locked in one order, whoever else locks them
        ]
    )
    done = _DOT.run(connection, given=given, b_owner=owner, b_now=now, b_lease_until=lease_until)
    return {(row.id, row.lease_epoch) for row in done}


def _keeping_links(connection: Connection) -> Any:
    names = ["digest", "urls"]
    return insert_ignore(connection, t.link_set).from_select(names, given_for(t.link_set, names))


def _dotting(_: Connection) -> Any:
    m = t.message
    given = given_rows({**_GUARD, "subject": Text(), "link_set": Text()})
    return (
        update(m)
        .where(
            *_claimed_as(given),
            m.c.status == MessageStatus.SENDING.value,
            m.c.dotted_at.is_(None),
            _still_wanted(_NOW),
        )
        .values(
            dotted_at=_NOW,
            lease_until=_LEASE_UNTIL,
            subject=given.c.subject,
            link_set=given.c.link_set,
        )
        .returning(m.c.id, m.c.lease_epoch)
    )


_row = attrgetter("message_row")
_GUARD: Mapping[str, TypeEngine[Any]] = {"id": BigInteger(), "epoch": BigInteger()}
_NOW, _LEASE_UNTIL = (Given(name, t.message.c.lease_until.type) for name in ("b_now", "b_lease_until"))
_OWNER = Given("b_owner", String())


def _claimed_as(given: FromClause) -> tuple[ColumnElement[bool], ...]:
    """These rows at these epochs, by this owner."""
    m = t.message.c
    return m.id == given.c.id, m.lease_epoch == given.c.epoch, m.lease_owner == _OWNER


def _still_wanted(now: ColumnElement[Any]) -> ColumnElement[bool]:
    """The reader has not left since the claim. Mail that a person just asked for bows to absolute reasons only."""
    m, lead, e = t.message.c, t.lead, t.enrollment
    suppressed = exists(
        select(1)
        .select_from(t.suppression.join(lead, lead.c.id == m.lead_id))
        .where(
            acts_on_lead(),
            or_(
                and_(m.kind == MessageKind.STEP.value, not_(_JUST_ASKED)),
                t.suppression.c.reason.in_(sorted(ABSOLUTE_SUPPRESSIONS)),
            ),
        )
        .correlate(t.message)
    )
    consented = exists(
        select(1)
        .where(
            lead.c.id == m.lead_id,
            lead.c.consented_at.is_not(None),
            or_(lead.c.consent_until.is_(None), lead.c.consent_until > now),
        )
        .correlate(t.message)
    )
    # what was asked for goes whichever cadence goes first
    behind = and_(e.c.status == EnrollmentStatus.PAUSED.value, m.transactional.is_not(None))
    runs = or_(e.c.status == EnrollmentStatus.ACTIVE.value, behind)
    enrolled = exists(select(1).where(e.c.id == m.enrollment_id, runs).correlate(t.message))
    return or_(
        m.kind == MessageKind.ALERT.value,
        and_(
            m.kind == MessageKind.STEP.value,
            not_(suppressed),
            or_(consented, _JUST_ASKED),
            or_(enrolled, m.resent_at.is_not(None)),
        ),
        and_(m.kind.in_([MessageKind.CONFIRMATION.value, MessageKind.DELIVERY.value]), not_(suppressed)),
    )


def record_outcomes(connection: Connection, outcomes: Sequence[Outcome], *, owner: str, now: datetime) -> list[Outcome]:
    """Commit point 5, guarded by owner and epoch, also over `unknown`. Returns those that were written."""
    given = as_given(
        [
            {
                "id": each.message_row,
                "epoch": each.epoch,
                "status": each.status.value,
                "reply_class": each.reply_class,
                "reply": each.reply,
                "not_before": each.not_before,
                "uncounted": 0 if each.is_counted else 1,
            }
            for each in sorted(outcomes, key=_row)
        ]
    )
    recorded = _RECORD.run(connection, given=given, b_owner=owner, b_now=now)
    done = {(row.id, row.lease_epoch): row.to_address for row in recorded}
    written = [
        each if done[each.claim] else replace(each, reply=None, is_forgotten=True)
        for each in outcomes
        if each.claim in done
    ]
    ended = [each.message_row for each in written if each.status is not MessageStatus.DEFERRED]
    wake_awaiting(connection, ended, now=now)
    return written


def _recording(_: Connection) -> Any:
    m = t.message
    texts = {"status": Text(), "reply_class": Text(), "reply": Text()}
    given = given_rows({**_GUARD, **texts, "not_before": m.c.not_before.type, "uncounted": Integer()})
    deferred = given.c.status == MessageStatus.DEFERRED.value
    return (
        update(m)
        .where(*_claimed_as(given), m.c.status.in_([MessageStatus.SENDING.value, MessageStatus.UNKNOWN.value]))
        .values(
            status=given.c.status,
            attempt=m.c.attempt - given.c.uncounted,
            lease_until=None,
            sent_at=case((given.c.status == MessageStatus.SENT.value, _NOW), else_=m.c.sent_at),
            ended_at=case((deferred, None), else_=_NOW),
            dotted_at=case((deferred, None), else_=m.c.dotted_at),  # a refusal ends the attempt
            reply_class=given.c.reply_class,
            reply=case((m.c.to_address == "", None), else_=given.c.reply),  # erased meanwhile
            not_before=func.coalesce(given.c.not_before, m.c.not_before),
        )
        .returning(m.c.id, m.c.lease_epoch, m.c.to_address)
    )


def settle_unknown(connection: Connection, message_rows: Sequence[int], *, now: datetime) -> None:
    """A person did something with these messages, so they arrived: those of unknown outcome were sent."""
    m = t.message
    for start in range(0, len(message_rows), 500):
        connection.execute(
            update(m)
            .where(m.c.id.in_(message_rows[start : start + 500]), m.c.status == MessageStatus.UNKNOWN.value)
            .values(status=MessageStatus.SENT.value, sent_at=func.coalesce(m.c.dotted_at, now))
        )


def wake_awaiting(connection: Connection, message_rows: Sequence[int], *, now: datetime) -> None:
    """The enrollments that await these messages go on: a wait counts from now, when the step was really done."""
    if message_rows:
        given = as_given([{"id": row} for row in sorted(message_rows)])
        _WAKE.run(connection, given=given, b_now=now)


def _waking(_: Connection) -> Any:
    e, given = t.enrollment, given_rows({"id": BigInteger()})
    awaiting = update(e).where(e.c.message_id == given.c.id, e.c.status.in_([each.value for each in RUNNING]))
    return awaiting.values(due_at=_NOW, since_at=_NOW)


_CLAIM, _KEEP_LINKS, _DOT = Prepared(_claiming), Prepared(_keeping_links), Prepared(_dotting)
_RECORD, _WAKE = Prepared(_recording), Prepared(_waking)


def renew(connection: Connection, message_rows: Sequence[int], lease: Lease) -> None:
    """Claimed messages that still wait for a connection keep their lease.

    One that is being marked or ended needs none, and is not waited for: who marks it may wait for another of these.
    """
    m = t.message
    for start in range(0, len(message_rows), 500):
        waiting = select(m.c.id).where(
            m.c.id.in_(message_rows[start : start + 500]),
            m.c.lease_owner == lease.owner,
            m.c.status == MessageStatus.SENDING.value,
            m.c.dotted_at.is_(None),
        )
        connection.execute(update(m).where(m.c.id.in_(with_lock_skipped(waiting))).values(lease_until=lease.until))


def owners_sending(connection: Connection, *, besides: str | None = None) -> list[str]:
    """Whoever has messages under way, but for this one."""
    m = t.message.c
    sending = select(m.lease_owner).where(IS_SENDING).distinct()
    return [owner for owner in connection.scalars(sending) if owner is not None and owner != besides]


@dataclass(frozen=True, kw_only=True)
class Own:
    """An owner's claims that end by a moment, but for messages that it knows of: their answers were lost on the way."""

    owner: str
    until: datetime
    known: Collection[int] = ()


def is_left(gone: Sequence[str], own: Own | None) -> ColumnElement[bool]:
    """A message under way that is not dotted and that nobody speaks for: of owners that are gone, or a lost claim."""
    m = t.message.c
    left: ColumnElement[bool] = m.lease_owner.in_(gone)
    if own is not None:
        lost = and_(m.lease_owner == own.owner, m.lease_until <= own.until, m.id.not_in(list(own.known)))
        left = or_(left, lost)
    return and_(left, m.dotted_at.is_(None))


def end_leases(
    connection: Connection,
    *,
    now: datetime,
    grace: timedelta,
    dead_owners_only: str | None,
    gone: Sequence[str] = (),
    own: Own | None = None,
    limit: int = 1000,
) -> tuple[list[int], list[Any]]:
    """Decide the messages of owners that are gone. Returns (tried again, unknown): row ids, and rows.

    `dead_owners_only`: this process's own name where it knows that no other lives (it holds the installation's lock);
    then every lease of another owner is over at once. Otherwise a lease is over `grace` after it ended. Owners that are
    `gone`, as far as anybody can see, lose at once what they have not dotted: if one lives, its mark will be refused.
    `own`: whoever asks loses in the same way what it does not know of.
    """
    m = t.message
    over = or_(m.c.lease_until < now - grace, is_left(gone, own))
    if dead_owners_only is not None:
        over = or_(over, m.c.lease_owner != dead_owners_only)
    rows = connection.execute(
        with_lock_skipped(
            select(m.c.id, m.c.lead_id, m.c.enrollment_id, m.c.cadence, m.c.step, m.c.dotted_at)
            .where(IS_SENDING, over)
            .limit(limit)
        )
    ).all()
    again = [row.id for row in rows if row.dotted_at is None]
    unknown = [row for row in rows if row.dotted_at is not None]
    if again:
        connection.execute(
            update(m)
            .where(m.c.id.in_(again), m.c.status == MessageStatus.SENDING.value, m.c.dotted_at.is_(None))
            .values(status=MessageStatus.DEFERRED.value, not_before=now, lease_owner=None, lease_until=None)
        )
    if unknown:
        connection.execute(
            update(m)
            .where(m.c.id.in_([row.id for row in unknown]), m.c.status == MessageStatus.SENDING.value)
            .values(status=MessageStatus.UNKNOWN.value, ended_at=now)
        )
        wake_awaiting(connection, [row.id for row in unknown], now=now)
    return again, unknown

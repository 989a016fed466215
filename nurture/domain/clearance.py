"""Whether a message that is due may go now: the last look before an attempt, pure.

An intent was decided by `decide`; hours may have passed since (a deferral, a stopped daemon), so window, holds,
consent, suppression and the enrollment are looked at again. Its place in the frequency cap it has already, unless it
waited so long that others took theirs meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.message import MessageKind, MessageStatus
from nurture.domain.reasons import Reason

PAUSED_LOOK = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message that is due, with what it depends on now.

    `opens_at`: its window's next opening (now, if open). `free_at`: when the frequency caps have room for it.
    `expires_at`: what its step's `expires` says; from then on it is not sent, whatever held it.
    """

    kind: MessageKind
    transactional: bool
    give_up_at: datetime | None
    suppressed: str | None
    consented: bool
    enrollment_status: EnrollmentStatus | None
    is_awaited: bool
    is_resent: bool
    """A person said to send it again, so that the enrollment, which went on, is not asked."""
    hold_until: datetime | None
    opens_at: datetime | None
    free_at: datetime
    expires_at: datetime | None = None
    just_asked: bool = False
    """By its reader, who may have unsubscribed before."""
    leaves: str | None = None
    """The exit that acts now."""


@dataclass(frozen=True, kw_only=True)
class Go:
    """Nothing is in the way."""


@dataclass(frozen=True, kw_only=True)
class NotNow:
    until: datetime
    code: Reason


@dataclass(frozen=True, kw_only=True)
class Never:
    """`failed` where the time to send is over, `canceled` or `skipped_expired` where nobody wants it any more."""

    code: Reason
    why: str

    @property
    def status(self) -> MessageStatus:
        return MessageStatus.FAILED if self.code is Reason.FAILED else MessageStatus.CANCELED


# While one of these holds a message back, no time to deliver it passes.
HOLDS_BACK = frozenset({Reason.PAUSED, Reason.HELD, Reason.CAPPED, Reason.LIMITED})
# What keeps even the mail that a person just asked for.
ABSOLUTE_SUPPRESSIONS = frozenset({"complained", "erased", "bounced", "do_not_contact"})


def clear(message: Waiting, now: datetime) -> Go | NotNow | Never:
    """The decision for this attempt."""
    decided = _wanted(message, now)
    is_over = message.give_up_at is not None and message.give_up_at <= now
    if is_over and (isinstance(decided, Go) or (isinstance(decided, NotNow) and decided.code not in HOLDS_BACK)):
        return Never(code=Reason.FAILED, why="given up: it could not be delivered in time")
    if isinstance(decided, NotNow) and message.expires_at is not None:
        return replace(decided, until=min(decided.until, message.expires_at))  # then the cadence goes on without it
    return decided


def _wanted(message: Waiting, now: datetime) -> Go | NotNow | Never:
    if message.kind is MessageKind.ALERT:
        return Go()
    marketing = message.kind is MessageKind.STEP and not message.just_asked
    if message.suppressed is not None and (marketing or message.suppressed in ABSOLUTE_SUPPRESSIONS):
        return Never(code=Reason.CANCELED, why=f"suppressed: {message.suppressed}")
    if message.kind is not MessageKind.STEP:
        return Go()
    return _clear_step(message, now)


def _clear_step(message: Waiting, now: datetime) -> Go | NotNow | Never:
    if not message.consented and not message.just_asked:
        return Never(code=Reason.CANCELED, why="no consent in force")
    is_paused = message.enrollment_status is EnrollmentStatus.PAUSED
    runs = message.enrollment_status is EnrollmentStatus.ACTIVE and message.is_awaited
    if not (runs or is_paused or message.is_resent):
        return Never(code=Reason.CANCELED, why="its enrollment has ended")
    if message.expires_at is not None and message.expires_at <= now:
        return Never(code=Reason.SKIPPED_EXPIRED, why=f"expired at {message.expires_at.isoformat()}")
    if message.is_resent:
        return Go()
    if message.leaves is not None:
        return Never(code=Reason.CANCELED, why=f"leaves the cadence: {message.leaves}")
    if is_paused and not message.transactional:
        return NotNow(until=now + PAUSED_LOOK, code=Reason.PAUSED)
    if message.transactional:
        return Go()
    if message.hold_until is not None and message.hold_until > now:
        # looked at again before it is over: sales may let go early
        return NotNow(until=min(message.hold_until, now + PAUSED_LOOK), code=Reason.HELD)
    if message.opens_at is None:
        return Never(code=Reason.FAILED, why="its window never opens")
    if message.opens_at > now:
        return NotNow(until=message.opens_at, code=Reason.OUT_OF_WINDOW)
    if message.free_at > now:
        return NotNow(until=message.free_at, code=Reason.CAPPED)
    return Go()

"""A message that expires is not sent after that moment, whatever held it; what else holds it is asked in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nurture.domain.clearance import Go, Never, NotNow, Waiting, clear
from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.message import MessageKind, MessageStatus
from nurture.domain.reasons import Reason

NOON = datetime(2026, 11, 6, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
READY = Waiting(
    kind=MessageKind.STEP,
    transactional=False,
    give_up_at=None,
    suppressed=None,
    consented=True,
    enrollment_status=EnrollmentStatus.ACTIVE,
    is_awaited=True,
    is_resent=False,
    hold_until=None,
    opens_at=NOON,
    free_at=NOON,
    expires_at=NOON,
)
HELD = {
    "paused": replace(READY, enrollment_status=EnrollmentStatus.PAUSED),
    "held": replace(READY, hold_until=NOON + 9 * HOUR),
    "out of window": replace(READY, opens_at=NOON + 9 * HOUR),
    "capped": replace(READY, free_at=NOON + 9 * HOUR),
    "resent": replace(READY, is_resent=True, is_awaited=False),
    "transactional": replace(READY, transactional=True),
}


@pytest.mark.parametrize("why", [*HELD, "ready"])
def test_from_that_moment_on_it_is_called_off(why: str) -> None:
    waiting = HELD.get(why, READY)
    decided = clear(waiting, NOON)
    assert isinstance(decided, Never)
    assert (decided.code, decided.status) == (Reason.SKIPPED_EXPIRED, MessageStatus.CANCELED)
    later = clear(replace(waiting, expires_at=None), NOON)
    assert isinstance(later, Go | NotNow)


def test_what_holds_it_is_looked_at_again_when_it_expires() -> None:
    for why in ("held", "out of window", "capped", "paused"):
        decided = clear(replace(HELD[why], expires_at=NOON + timedelta(minutes=5)), NOON)
        assert isinstance(decided, NotNow)
        assert decided.until == NOON + timedelta(minutes=5), why


def test_who_left_is_told_as_having_left() -> None:
    left = clear(replace(READY, enrollment_status=EnrollmentStatus.EXITED), NOON)
    assert isinstance(left, Never) and left.code is Reason.CANCELED
    gone = clear(replace(READY, suppressed="unsubscribed"), NOON)
    assert isinstance(gone, Never) and gone.code is Reason.CANCELED
    over = clear(replace(READY, expires_at=None, give_up_at=NOON), NOON)
    assert isinstance(over, Never) and over.status is MessageStatus.FAILED

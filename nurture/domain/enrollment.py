"""An enrollment is one lead's run through one cadence; its states, and the only moves between them."""

from __future__ import annotations

from enum import StrEnum


class EnrollmentStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    EXITED = "exited"


class ExitReason(StrEnum):
    """Why an enrollment ended before its last step. An `exit:` step adds reasons of its own."""

    GOAL = "goal"
    GOAL_EXPIRED = "goal_expired"
    CONDITION = "condition"
    REPLIED = "replied"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    SUPPRESSED = "suppressed"
    ERASED = "erased"
    NO_CONSENT = "no_consent"
    CUSTOMER = "customer"
    DISQUALIFIED = "disqualified"
    LEFT_SEGMENT = "left_segment"
    SUPERSEDED = "superseded"
    MISSING_DATE = "missing_date"
    BY_HAND = "by_hand"
    CADENCE_REMOVED = "cadence_removed"


# from -> the states it may go to; a status is assigned nowhere but through a write guarded by the "from" side.
TRANSITIONS: dict[EnrollmentStatus, frozenset[EnrollmentStatus]] = {
    EnrollmentStatus.ACTIVE: frozenset({EnrollmentStatus.PAUSED, EnrollmentStatus.COMPLETED, EnrollmentStatus.EXITED}),
    EnrollmentStatus.PAUSED: frozenset({EnrollmentStatus.ACTIVE, EnrollmentStatus.EXITED}),
    EnrollmentStatus.COMPLETED: frozenset(),
    EnrollmentStatus.EXITED: frozenset(),
}

RUNNING = (EnrollmentStatus.ACTIVE, EnrollmentStatus.PAUSED)

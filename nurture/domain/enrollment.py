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
    CONSENT_EXPIRED = "consent_expired"
    STAGE = "stage"
    ACCOUNT_WON = "account_won"
    SUNSET = "sunset"
    LEFT_SEGMENT = "left_segment"
    SUPERSEDED = "superseded"
    MISSING_DATE = "missing_date"
    REMOVED = "removed"


WHY_IT_ENDED: dict[ExitReason, str] = {
    ExitReason.GOAL: "the cadence's goal was reached",
    ExitReason.GOAL_EXPIRED: "the goal was not reached within `goal_within`",
    ExitReason.CONDITION: "the cadence's `exit` condition holds",
    ExitReason.REPLIED: "a person replied to its mail",
    ExitReason.UNSUBSCRIBED: "unsubscribed",
    ExitReason.BOUNCED: "the address takes no mail",
    ExitReason.COMPLAINED: "reported mail as spam",
    ExitReason.SUPPRESSED: "the address is suppressed for another reason",
    ExitReason.ERASED: "erased on request",
    ExitReason.CONSENT_EXPIRED: "no consent is in force any more: it ran out, or was withdrawn",
    ExitReason.STAGE: "became a customer, or was disqualified",
    ExitReason.ACCOUNT_WON: "a colleague became a customer (`account: {won: exit}`)",
    ExitReason.SUNSET: "gone cold: a `sunset` step",
    ExitReason.LEFT_SEGMENT: "no longer meets the segment (`exit_on_leave: true`)",
    ExitReason.SUPERSEDED: "another cadence went first for longer than `max_pause`",
    ExitReason.MISSING_DATE: "the field of a `wait_until` holds no date",
    ExitReason.REMOVED: "taken out by hand, or with the cadence's file",
}


# from -> the states it may go to; a status is assigned nowhere but through a write guarded by the "from" side.
TRANSITIONS: dict[EnrollmentStatus, frozenset[EnrollmentStatus]] = {
    EnrollmentStatus.ACTIVE: frozenset({EnrollmentStatus.PAUSED, EnrollmentStatus.COMPLETED, EnrollmentStatus.EXITED}),
    EnrollmentStatus.PAUSED: frozenset({EnrollmentStatus.ACTIVE, EnrollmentStatus.EXITED}),
    EnrollmentStatus.COMPLETED: frozenset(),
    EnrollmentStatus.EXITED: frozenset({EnrollmentStatus.ACTIVE}),  # a bounce that was taken back: the domain is ill
}

RUNNING = (EnrollmentStatus.ACTIVE, EnrollmentStatus.PAUSED)

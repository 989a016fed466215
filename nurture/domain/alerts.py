"""An alert tells a rep that a lead turned hot; its states, the only moves between them, and what a rep may answer."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

BURST = timedelta(seconds=90)
"""A click tells nobody before this has passed: a scanner's next click in it gives the first one away."""


class AlertStatus(StrEnum):
    OPEN = "open"
    SNOOZED = "snoozed"
    CLAIMED = "claimed"
    MEETING = "meeting"
    REJECTED = "rejected"
    WON = "won"
    LOST = "lost"
    CLOSED = "closed"
    """Taken back before anybody was told: what raised it was no person."""
    NOTICE = "notice"
    """A message to a rep that asks for no answer."""


class Answer(StrEnum):
    CLAIM = "claim"
    SNOOZE = "snooze"
    REJECT = "reject"
    MEETING = "meeting"
    WON = "won"
    LOST = "lost"


class Rejection(StrEnum):
    """Why a rep does not want the lead."""

    TIMING = "timing"
    BUDGET = "budget"
    NO_NEED = "no_need"
    NOT_A_FIT = "not_a_fit"
    COMPETITOR = "competitor"
    STUDENT = "student"
    WRONG_PERSON = "wrong_person"
    BAD_DATA = "bad_data"
    DUPLICATE = "duplicate"
    DO_NOT_CONTACT = "do_not_contact"


RECYCLES = (Rejection.TIMING, Rejection.BUDGET, Rejection.NO_NEED)
DISQUALIFIES = (Rejection.NOT_A_FIT, Rejection.COMPETITOR, Rejection.STUDENT)

LEADS_TO: dict[Answer, AlertStatus] = {
    Answer.CLAIM: AlertStatus.CLAIMED,
    Answer.SNOOZE: AlertStatus.SNOOZED,
    Answer.REJECT: AlertStatus.REJECTED,
    Answer.MEETING: AlertStatus.MEETING,
    Answer.WON: AlertStatus.WON,
    Answer.LOST: AlertStatus.LOST,
}
_ENDS = frozenset({AlertStatus.REJECTED, AlertStatus.MEETING, AlertStatus.WON, AlertStatus.LOST})

# from -> the states it may go to; a status is assigned nowhere but through a write guarded by the "from" side.
TRANSITIONS: dict[AlertStatus, frozenset[AlertStatus]] = {
    AlertStatus.OPEN: frozenset({AlertStatus.SNOOZED, AlertStatus.CLAIMED, AlertStatus.CLOSED}) | _ENDS,
    AlertStatus.SNOOZED: frozenset({AlertStatus.SNOOZED, AlertStatus.OPEN, AlertStatus.CLAIMED}) | _ENDS,
    AlertStatus.CLAIMED: _ENDS,
    AlertStatus.MEETING: _ENDS - {AlertStatus.MEETING},
    AlertStatus.REJECTED: frozenset(),
    AlertStatus.WON: frozenset(),
    AlertStatus.LOST: frozenset(),
    AlertStatus.CLOSED: frozenset(),
    AlertStatus.NOTICE: frozenset(),
}

STANDING = (AlertStatus.OPEN, AlertStatus.SNOOZED)
"""Not yet answered for good: a lead has one such at most, and they fill a rep's capacity."""
TAKEN = (AlertStatus.CLAIMED, AlertStatus.MEETING)
"""In the hands of the rep who answered last."""

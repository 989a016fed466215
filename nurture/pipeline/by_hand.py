"""What a person may do to enrollments by hand: put leads into a cadence, and take a lead out. No stage: called once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from nurture.domain.conditions import Vocabulary
from nurture.domain.enrollment import RUNNING, ExitReason
from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.cadences import current_cadences, is_in_force
from nurture.store.database import one_of
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import arrange, end, lock_lead_rows
from nurture.store.entries import Entrant, enter, may_be_mailed, may_enter, not_again
from nurture.store.segments import Asking


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """`enrolled` leads, and why the others were not.

    `no_consent` (or suppressed); `already` there, now or before; `barred`: held by sales, at its goal, or a customer.
    """

    enrolled: int
    refused: Counter[str]


def enroll_by_hand(
    connection: Connection, lead_ids: Sequence[int], *, cadence: str, asking: Asking, vocabulary: Vocabulary
) -> ByHand:
    """Put these leads into the cadence in force, whether or not they meet its segment; never without consent.

    Raises LookupError where no such cadence is in force.
    """
    version, found = current_cadences(connection)[cadence]
    if not is_in_force(connection, cadence, version):
        raise LookupError(cadence)
    lead, now = t.lead.c, asking.now
    mailable = set(connection.scalars(select(lead.id).where(one_of(lead.id, lead_ids), may_be_mailed(now))))
    fresh = not_again(connection, found, sorted(mailable), now=now)
    may = may_enter(connection, found, sorted(fresh), asking=asking, vocabulary=vocabulary)
    entrants = [Entrant(lead_id=each) for each in sorted(may)]
    made = enter(connection, entrants, version=version, cadence=found, now=now, arm_key=None).made
    no_consent, again = len(set(lead_ids)) - len(mailable), len(mailable) - len(fresh)
    refused = Counter({"no_consent": no_consent, "already": again, "barred": len(fresh) - len(made)})
    return ByHand(enrolled=len(made), refused=+refused)


def exit_by_hand(connection: Connection, lead_id: int, *, cadence: str | None, now: datetime) -> list[str]:
    """End the lead's running enrollments, in one cadence or in all. Returns the cadences it left."""
    lock_lead_rows(connection, [lead_id])
    e = t.enrollment.c
    running = select(e.id, e.cadence).where(e.lead_id == lead_id, e.status.in_([each.value for each in RUNNING]))
    rows = connection.execute(running if cadence is None else running.where(e.cadence == cadence)).all()
    ended = {enrollment_id for enrollment_id, _ in end(connection, [row.id for row in rows], reason=BY_HAND, now=now)}
    left = [row for row in rows if row.id in ended]
    record_decisions(
        connection,
        [
            NewDecision(
                lead_id=lead_id,
                enrollment_id=row.id,
                cadence=row.cadence,
                code=Reason.EXITED,
                at=now,
                detail={"reason": BY_HAND},
            )
            for row in left
        ],
    )
    arrange(connection, [lead_id], now=now)
    return sorted(row.cadence for row in left)


BY_HAND = ExitReason.REMOVED.value

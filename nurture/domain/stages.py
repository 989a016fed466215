"""Where a lead stands, and in which order."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    VISITOR = "visitor"
    LEAD = "lead"
    MQL = "mql"
    PQL = "pql"
    SQL = "sql"
    OPPORTUNITY = "opportunity"
    CUSTOMER = "customer"
    DISQUALIFIED = "disqualified"


# Forward order of the stages a lead climbs; `disqualified` stands outside of it.
LADDER: tuple[Stage, ...] = (
    Stage.VISITOR,
    Stage.LEAD,
    Stage.MQL,
    Stage.PQL,
    Stage.SQL,
    Stage.OPPORTUNITY,
    Stage.CUSTOMER,
)


class MoveKind(StrEnum):
    """Why a stage changed: up by a condition or a step, down, back into nurturing, or by a person."""

    PROMOTION = "promotion"
    DEMOTION = "demotion"
    RECYCLE = "recycle"
    BY_HAND = "by_hand"
    CONSENT = "consent"
    CORRECTION = "correction"


def is_forward(before: Stage, after: Stage) -> bool:
    """Whether the move climbs the ladder; anything from or to `disqualified` does not."""
    return before in LADDER and after in LADDER and LADDER.index(after) > LADDER.index(before)

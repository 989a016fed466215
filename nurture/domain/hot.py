"""When a hot lead is told to a rep: the line, the fit gate, hysteresis and the cool-down. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nurture.domain.conditions.vocabulary import GRADES, UNKNOWN_GRADE
from nurture.domain.lifecycle import Hot
from nurture.domain.stages import Stage

# Who has given nothing, has bought, or is no customer for us, is not hot.
NEVER_HOT = (Stage.VISITOR, Stage.CUSTOMER, Stage.DISQUALIFIED)


@dataclass(frozen=True, kw_only=True)
class HotFacts:
    """A lead whose last event was a person's. `told_at`: its last alert; `has_standing`: one is open still."""

    stage: str
    fit: str
    armed: bool
    told_at: datetime | None
    has_standing: bool


def passes_gate(hot: Hot, fit: str) -> bool:
    """Whether the grade is at least the one that alerts ask for; an unknown one as `unknown_fit` says."""
    if fit == UNKNOWN_GRADE:
        return hot.unknown_fit == "pass" or hot.fit is None
    return hot.fit is None or GRADES.index(fit) >= GRADES.index(hot.fit)


def may_alert(hot: Hot, facts: HotFacts, now: datetime) -> bool:
    """Whether crossing the line now is told. A reason may join a standing alert at any time; a new one cools down."""
    if facts.stage in NEVER_HOT or not facts.armed or not passes_gate(hot, facts.fit):
        return False
    cooled = facts.told_at is None or facts.told_at + hot.cool_down <= now
    return facts.has_standing or cooled


def rearms(hot: Hot, line: float, *lowest: float) -> bool:
    """Whether one of these scores lies so far below the line that crossing it is news again."""
    return any(score < line - hot.hysteresis for score in lowest)

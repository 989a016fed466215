"""Stage moves: guarded by the stage that was read, with their history."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from nurture.domain.reasons import Reason
from nurture.domain.stages import LADDER, MoveKind, Stage, is_forward
from nurture.store import tables as t
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.events import wake_enrollments

# Other kinds of move are told from the history itself.
_DECIDED = {MoveKind.PROMOTION: Reason.PROMOTED, MoveKind.DEMOTION: Reason.DEMOTED}
# What happened before one of these no longer promotes; a correction takes back what should not have been.
_SET_BACK = (MoveKind.DEMOTION, MoveKind.RECYCLE, MoveKind.BY_HAND)


def move_stage(
    connection: Connection,
    lead_id: int,
    after: Stage,
    *,
    kind: MoveKind,
    because: str,
    now: datetime,
    event_id: int | None = None,
) -> bool:
    """Move the lead, append the history, and wake its enrollments. False when there is nothing to move.

    A promotion goes forward only. `because` names the condition, the step or the person.
    """
    lead = t.lead.c
    found = connection.scalar(select(lead.stage).where(lead.id == lead_id))
    if found is None or found == after:
        return False
    before = Stage(found)
    forward = is_forward(before, after)
    if kind is MoveKind.PROMOTION and not forward:
        return False
    changes = {"stage": after.value, "stage_at": now, "demote_since": None}
    if kind in _SET_BACK and not forward:
        changes["set_back_at"] = now
    moved = connection.execute(update(t.lead).where(lead.id == lead_id, lead.stage == before.value).values(changes))
    if moved.rowcount != 1:
        return False
    row = {"before": before.value, "after": after.value, "because": because}
    connection.execute(
        insert(t.stage_history).values(lead_id=lead_id, at=now, kind=kind.value, event_id=event_id, **row)
    )
    if kind in _DECIDED:
        record_decisions(connection, [NewDecision(lead_id=lead_id, code=_DECIDED[kind], at=now, detail=row)])
    wake_enrollments(connection, [lead_id], now=now)
    return True


def recycle(connection: Connection, lead_id: int, *, because: str, now: datetime, event_id: int | None = None) -> bool:
    """Back into nurturing after sales said "not now": from any stage between lead and customer. False elsewhere."""
    stage = connection.scalar(select(t.lead.c.stage).where(t.lead.c.id == lead_id))
    between = LADDER[LADDER.index(Stage.LEAD) + 1 : LADDER.index(Stage.CUSTOMER)]
    if stage not in between:
        return False
    return move_stage(
        connection, lead_id, Stage.LEAD, kind=MoveKind.RECYCLE, because=because, now=now, event_id=event_id
    )

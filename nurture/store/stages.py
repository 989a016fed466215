"""Stage moves: guarded by the stage that was read, with their history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from nurture.domain.reasons import Reason
from nurture.domain.stages import LADDER, MoveKind, Stage, is_forward
from nurture.store import tables as t
from nurture.store.database import one_of
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.events import wake_enrollments

# Other kinds of move are told from the history itself.
_DECIDED = {MoveKind.PROMOTION: Reason.PROMOTED, MoveKind.DEMOTION: Reason.DEMOTED}
# What happened before one of these no longer promotes; a correction takes back what should not have been.
_SET_BACK = (MoveKind.DEMOTION, MoveKind.RECYCLE, MoveKind.BY_HAND)


@dataclass(frozen=True, kw_only=True)
class NewMove:
    """Where a lead goes. `because` names the condition, the step or the person; `event_id` the event that did it.

    With `only_from`, whoever stands elsewhere by now does not move.
    """

    lead_id: int
    after: Stage
    because: str
    event_id: int | None = None
    only_from: Stage | None = None


def move_stages(connection: Connection, moves: Sequence[NewMove], *, kind: MoveKind, now: datetime) -> set[int]:
    """Move these leads, one move each, append the history, and wake their enrollments. Returns who moved.

    A promotion goes forward only; who stands there already does not move.
    """
    if not moves:
        return set()
    before = _locked_stages(connection, [move.lead_id for move in moves])
    moving = [move for move in moves if move.lead_id in before and _goes(move, before[move.lead_id], kind)]
    rows = [_history(move, before[move.lead_id], kind, now) for move in moving]
    for going_back in (False, True):
        some = [row for row in rows if is_forward(Stage(row["before"]), Stage(row["after"])) is not going_back]
        _update(connection, some, now, set_back=going_back and kind in _SET_BACK)
    if rows:
        connection.execute(insert(t.stage_history), rows)
        record_decisions(connection, _decisions(rows, kind, now))
        wake_enrollments(connection, [row["lead_id"] for row in rows], now=now)
    return {row["lead_id"] for row in rows}


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
    """Move one lead, as `move_stages` does. False when there is nothing to move."""
    move = NewMove(lead_id=lead_id, after=after, because=because, event_id=event_id)
    return bool(move_stages(connection, [move], kind=kind, now=now))


def recycle(connection: Connection, lead_id: int, *, because: str, now: datetime, event_id: int | None = None) -> bool:
    """Back into nurturing after sales said "not now": from any stage between lead and customer. False elsewhere."""
    stage = connection.scalar(select(t.lead.c.stage).where(t.lead.c.id == lead_id))
    between = LADDER[LADDER.index(Stage.LEAD) + 1 : LADDER.index(Stage.CUSTOMER)]
    if stage not in between:
        return False
    return move_stage(
        connection, lead_id, Stage.LEAD, kind=MoveKind.RECYCLE, because=because, now=now, event_id=event_id
    )


def _locked_stages(connection: Connection, ids: Sequence[int]) -> dict[int, Stage]:
    lead = t.lead.c
    rows = connection.execute(
        select(lead.id, lead.stage).where(one_of(lead.id, sorted(ids))).order_by(lead.id).with_for_update()
    )
    return {row.id: Stage(row.stage) for row in rows}


def _goes(move: NewMove, before: Stage, kind: MoveKind) -> bool:
    if before == move.after or move.only_from not in (None, before):
        return False
    return kind is not MoveKind.PROMOTION or is_forward(before, move.after)


def _history(move: NewMove, before: Stage, kind: MoveKind, now: datetime) -> dict[str, Any]:
    return {
        "lead_id": move.lead_id,
        "at": now,
        "before": before.value,
        "after": move.after.value,
        "kind": kind.value,
        "because": move.because,
        "event_id": move.event_id,
    }


def _update(connection: Connection, rows: Sequence[dict[str, Any]], now: datetime, *, set_back: bool) -> None:
    if not rows:
        return
    lead = t.lead.c
    changes: dict[str, Any] = {"stage_at": now, "demote_since": None}
    if set_back:
        changes["set_back_at"] = now
    connection.execute(
        update(t.lead)
        .where(lead.id == bindparam("lead"), lead.stage == bindparam("old"))
        .values(stage=bindparam("new"), **changes),
        [{"lead": row["lead_id"], "old": row["before"], "new": row["after"]} for row in rows],
    )


def _decisions(rows: Sequence[dict[str, Any]], kind: MoveKind, now: datetime) -> list[NewDecision]:
    if kind not in _DECIDED:
        return []
    told = ("before", "after", "because")
    return [
        NewDecision(lead_id=row["lead_id"], code=_DECIDED[kind], at=now, detail={name: row[name] for name in told})
        for row in rows
    ]

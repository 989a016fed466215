"""Stage moves by condition: up when one holds, down when it has stopped holding long enough, back when it never did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from nurture.domain.conditions import Condition
from nurture.domain.lifecycle import StageRule
from nurture.domain.promotion import falling_line, lately
from nurture.domain.stages import LADDER, MoveKind, Stage, is_forward
from nurture.pipeline.lifecycle_rules import LifecycleRules
from nurture.store import tables as t
from nurture.store.database import one_of
from nurture.store.reactions import Revision
from nurture.store.segments import lead_clause
from nurture.store.stages import NewMove, move_stage, move_stages

CAUSED_WITHIN = timedelta(days=1)
"""A promotion this soon after an event that is taken back may rest on it; later, fading alone may have undone it."""
_CLIMBING = (*LADDER[LADDER.index(Stage.LEAD) : LADDER.index(Stage.CUSTOMER)],)


@dataclass(frozen=True, kw_only=True)
class Promoted:
    lead_id: int
    rule: StageRule
    cause: Any | None
    """The event that was the last one needed, where events were looked at."""


def promote(
    connection: Connection,
    rules: LifecycleRules,
    leads: Mapping[int, dict[str, Any]],
    causes: Mapping[int, Any | None],
) -> list[Promoted]:
    """Move each lead of `causes` to the highest stage whose condition holds; `leads` are changed along.

    Who was set back rises again by an event after that only, and tests of events look no further back.
    """
    waiting = {lead_id for lead_id in causes if leads[lead_id]["stage"] in _CLIMBING}
    moved: list[Promoted] = []
    for rule, condition in reversed(rules.promoting):
        below = [
            lead_id for lead_id in sorted(waiting) if is_forward(Stage(leads[lead_id]["stage"]), Stage(rule.stage))
        ]
        deserving = sorted(_deserving(connection, rules, rule, condition, leads, causes, below))
        moves = [_rise(lead_id, rule, condition, causes[lead_id]) for lead_id in deserving]
        for lead_id in sorted(move_stages(connection, moves, kind=MoveKind.PROMOTION, now=rules.now)):
            leads[lead_id]["stage"] = rule.stage
            moved.append(Promoted(lead_id=lead_id, rule=rule, cause=causes[lead_id]))
        waiting.difference_update(deserving)
    return moved


def _rise(lead_id: int, rule: StageRule, condition: Condition, cause: Any | None) -> NewMove:
    event_id = cause.id if cause is not None else None
    return NewMove(lead_id=lead_id, after=Stage(rule.stage), because=condition.text, event_id=event_id)


def _deserving(
    connection: Connection,
    rules: LifecycleRules,
    rule: StageRule,
    condition: Condition,
    leads: Mapping[int, Mapping[str, Any]],
    causes: Mapping[int, Any | None],
    ids: Sequence[int],
) -> set[int]:
    groups: dict[datetime | None, list[int]] = defaultdict(list)
    for lead_id in ids:
        set_back_at, cause = leads[lead_id]["set_back_at"], causes[lead_id]
        if set_back_at is None or (cause is not None and cause.at > set_back_at):
            groups[set_back_at].append(lead_id)
    met: set[int] = set()
    for set_back_at, group in groups.items():
        narrowed = condition if set_back_at is None else lately(condition, rules.now - set_back_at)
        met |= rules.leads_deserving(connection, narrowed, group)
    return _knowing(connection, met, rule.requires) if rule.requires and met else met


def _knowing(connection: Connection, ids: set[int], required: Sequence[str]) -> set[int]:
    """Those of whom every required field is known."""
    columns = [t.lead.c[name] for name in required if name in t.lead.c]
    rows = connection.execute(select(t.lead.c.id, t.lead.c.custom, *columns).where(one_of(t.lead.c.id, sorted(ids))))

    def known(row: Any, name: str) -> bool:
        value = row.custom.get(name.removeprefix("custom.")) if name.startswith("custom.") else getattr(row, name)
        return value not in (None, "", "unknown")

    return {row.id for row in rows if all(known(row, name) for name in required)}


# --- taken back


def correct_stages(
    connection: Connection,
    rules: LifecycleRules,
    leads: Mapping[int, dict[str, Any]],
    taken_back: Sequence[Revision],
) -> None:
    """Undo promotions that rested on events which were no person's, where their condition no longer holds."""
    if not taken_back:
        return
    revised = {each.event.lead_id: each for each in taken_back}
    history = t.stage_history.c
    rows = connection.execute(
        select(t.stage_history)
        .where(one_of(history.lead_id, sorted(revised)))
        .order_by(history.lead_id, history.at.desc(), history.id.desc())
    ).all()
    holding = {
        condition.text: rules.leads_deserving(connection, condition, revised) for _, condition in rules.promoting
    }
    moves: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        moves[row.lead_id].append(row)
    for lead_id, each in revised.items():
        stage = _unearned(leads[lead_id]["stage"], moves[lead_id], each.event, holding, lead_id)
        because = f"what promoted was no person: {each.reason}"
        if stage != leads[lead_id]["stage"] and move_stage(
            connection,
            lead_id,
            Stage(stage),
            kind=MoveKind.CORRECTION,
            because=because,
            now=rules.now,
            event_id=each.event.id,
        ):
            leads[lead_id]["stage"] = stage


def _unearned(
    stage: str, latest_first: Sequence[Any], event: Any, holding: Mapping[str, set[int]], lead_id: int
) -> str:
    """The stage before every promotion, made since the event, whose condition does not hold without it."""
    for move in latest_first:
        soon = event.reacted_at <= move.at <= event.reacted_at + CAUSED_WITHIN
        by_condition = move.kind == MoveKind.PROMOTION.value and move.because in holding
        if move.after != stage or not by_condition or not soon or lead_id in holding[move.because]:
            break
        stage = move.before
    return stage


# --- down


def sweep_demotions(connection: Connection, rules: LifecycleRules) -> int:
    """Move down whoever has met their stage's `demote_when` for `demote_after`. Returns how many."""
    moved = 0
    for rule, condition in rules.demoting:
        _begin(connection, rules, rule, condition)
        _end(connection, rules, rule, condition)
        moved += _demote(connection, rules, rule, condition)
    return moved


def _begin(connection: Connection, rules: LifecycleRules, rule: StageRule, condition: Condition) -> None:
    """Note since when it holds: a score's fall below a line is computed, anything else counts from now on."""
    lead = t.lead.c
    rows = connection.execute(
        select(lead.id, lead.fit_points, lead.gains, lead.losses, lead.stage_at).where(
            lead.stage == rule.stage,
            lead.demote_since.is_(None) | (lead.demote_since < lead.stage_at),
            lead_clause(condition, rules.asking),
        )
    ).all()
    if rows:
        connection.execute(
            update(t.lead).where(lead.id == bindparam("lead")).values(demote_since=bindparam("since")),
            [{"lead": row.id, "since": _since(rules, condition, row)} for row in rows],
        )


def _since(rules: LifecycleRules, condition: Condition, row: Any) -> datetime:
    line = falling_line(condition)
    fell = rules.until(line, row._mapping) if line is not None else None
    since = fell if fell is not None and fell <= rules.now else rules.now
    return max(since, row.stage_at) if row.stage_at is not None else since


def _end(connection: Connection, rules: LifecycleRules, rule: StageRule, condition: Condition) -> None:
    lead = t.lead.c
    connection.execute(
        update(t.lead)
        .where(
            lead.stage == rule.stage,
            lead.demote_since.is_not(None),
            lead_clause(condition.negated(), rules.asking),
        )
        .values(demote_since=None)
    )


def _demote(connection: Connection, rules: LifecycleRules, rule: StageRule, condition: Condition) -> int:
    lead = t.lead.c
    ripe = connection.scalars(
        select(lead.id).where(lead.stage == rule.stage, lead.demote_since <= rules.now - rule.demote_after)
    ).all()
    stage = Stage(rule.stage)
    below = _came_from(connection, ripe, stage)
    moves = [
        NewMove(lead_id=lead_id, after=below[lead_id], because=condition.text, only_from=stage) for lead_id in ripe
    ]
    return len(move_stages(connection, moves, kind=MoveKind.DEMOTION, now=rules.now))


def _came_from(connection: Connection, ids: Sequence[int], stage: Stage) -> dict[int, Stage]:
    """Where each stood before it rose to this stage; `lead` where that is not known or not lower."""
    history = t.stage_history.c
    rows = connection.execute(
        select(history.lead_id, history.before)
        .where(one_of(history.lead_id, list(ids)), history.after == stage.value)
        .order_by(history.at, history.id)
    )
    came = {row.lead_id: Stage(row.before) for row in rows}

    def below(lead_id: int) -> Stage:
        before = came.get(lead_id, Stage.LEAD)
        return before if before in _CLIMBING and is_forward(before, stage) else Stage.LEAD

    return {lead_id: below(lead_id) for lead_id in ids}

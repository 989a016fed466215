"""Experiments as rows: assignments drawn once, tallies read set-wise, and what `maintain` learns from them.

The unit is a lead: its first message of the step counts, and what it did within 72 hours of that. Sends count once
those hours are over, so the sends judged at any look are the earliest ones, whatever came of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, Subquery, and_, func, or_, select, update

from nurture.domain.cadence import Cadence, Email, Split, Test
from nurture.domain.event import EventName, Verdict
from nurture.domain.experiment import (
    MATURE_AFTER,
    Tally,
    draw_arm,
    e_value,
    equal_odds,
    leading_arm,
    next_odds,
    paused_arms,
    proves,
)
from nurture.domain.message import MessageStatus
from nurture.domain.stages import MoveKind
from nurture.store import tables as t
from nurture.store.database import insert_ignore

CHUNK = 500
GENERATIONS_TRIED = 10
PATH_MATURE_AFTER = timedelta(days=30)
"""A path is judged by the mail of weeks, not by one message."""
LOOK_EVERY = timedelta(minutes=10)
"""A look reads every send of the experiment, so `maintain` takes one at most so often."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A step with arms, as its file says it now."""

    key: str
    """`cadence/step`, without a generation."""
    arms: tuple[str, ...]
    test: Test
    weights: Mapping[str, float] | None = None
    """Of the paths of a split, adding up to 1; None: the arms of mail, which are alike."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """An experiment with one set of arms: `key` gains `@2`, `@3` … when the arms themselves are changed."""

    key: str
    compares_paths: bool
    odds: Mapping[str, float]
    metric: str
    winner: str | None
    proven_arm: str | None
    proven_at: datetime | None
    computed_at: datetime

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(self.odds)

    @property
    def step(self) -> tuple[str, str]:
        """(cadence, step)."""
        cadence, _, step = re.sub(r"@\d+$", "", self.key).partition("/")
        return cadence, step


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a look taught: the odds for the next assignments, and a proof where there was none before."""

    key: str
    odds: Mapping[str, float]
    metric: str
    winner: str | None
    e_value: float
    newly_proven: str | None


def experiments_in(cadences: Iterable[Cadence]) -> list[Experiment]:
    """Every step with more than one arm, and every split; without a `test:` the defaults hold."""
    found: list[Experiment] = []
    for cadence in cadences:
        for step in cadence.steps.values():
            key = f"{cadence.name}/{step.key}"
            if isinstance(step, Email) and len(step.arms) > 1:
                found.append(Experiment(key=key, arms=step.arms, test=step.test or Test()))
            elif isinstance(step, Split):
                found.append(Experiment(key=key, arms=tuple(step.paths), test=step.test, weights=weights_of(step)))
    return found


def weights_of(split: Split) -> dict[str, float]:
    """path -> its share of the leads."""
    total = sum(path.weight for path in split.paths.values())
    return {name: path.weight / total for name, path in split.paths.items()}


def arms_for(
    connection: Connection,
    experiment: str,
    lead_ids: Iterable[int],
    arms: Sequence[str],
    *,
    seed_key: bytes,
    now: datetime,
    weights: Mapping[str, float] | None = None,
) -> dict[int, tuple[str, float]]:
    """lead id -> (arm, the odds it was drawn at). An assignment that stands is kept; a second worker finds it.

    `weights` are the odds to begin with, of the paths of a split; the arms of mail are alike.
    """
    generation = _generation(connection, experiment, arms, weights=weights, now=now)
    return lots_for(connection, generation.key, lead_ids, generation.odds, seed_key=seed_key, now=now)


def lots_for(
    connection: Connection,
    key: str,
    lead_ids: Iterable[int],
    odds: Mapping[str, float],
    *,
    seed_key: bytes,
    now: datetime,
) -> dict[int, tuple[str, float]]:
    """As `arms_for`, of lots that nothing is learned from, such as a holdout: the odds are what they are."""
    ids = sorted(set(lead_ids))
    found = _assigned(connection, key, ids)
    new = [lead_id for lead_id in ids if lead_id not in found]
    if new:
        rows = [_draw(key, odds, lead_id, seed_key=seed_key, now=now) for lead_id in new]
        connection.execute(insert_ignore(connection, t.assignment), rows)
        found |= _assigned(connection, key, new)
    return found


def generations(connection: Connection, experiment: str | None = None) -> list[Generation]:
    """Those of one experiment, or of all."""
    state = t.experiment_state.c
    query = select(t.experiment_state).order_by(state.experiment)
    if experiment is not None:
        query = query.where(
            or_(state.experiment == experiment, state.experiment.startswith(f"{experiment}@", autoescape=True))
        )
    return [
        Generation(
            key=row.experiment,
            compares_paths=row.compares == "path",
            odds=row.odds,
            metric=row.metric,
            winner=row.winner,
            proven_arm=row.proven_arm,
            proven_at=row.proven_at,
            computed_at=row.computed_at,
        )
        for row in connection.execute(query)
    ]


def tallies(connection: Connection, generation: Generation, *, sent_by: datetime, metric: str) -> list[Tally]:
    """Leads by arm and odds: those whose mail went out by `sent_by`, and of them those who did `metric` in 72 hours.

    `metric` is click, reply, promotion, or an event's name. Machines count for nothing.
    """
    first = _first_sends(generation).subquery()
    sent = connection.execute(
        select(first.c.arm, first.c.odds, func.count().label("leads"))
        .where(first.c.sent_at <= sent_by)
        .group_by(first.c.arm, first.c.odds)
    ).all()
    happened = _happened(generation, metric)
    found = connection.execute(
        select(first.c.lead_id, first.c.arm, first.c.odds, first.c.sent_at, func.min(happened.c.at).label("at"))
        .join(happened, and_(happened.c.lead_id == first.c.lead_id, happened.c.at >= first.c.sent_at))
        .where(first.c.sent_at <= sent_by)
        .group_by(first.c.lead_id, first.c.arm, first.c.odds, first.c.sent_at)
    )
    converted: dict[tuple[str, float], int] = {}
    for row in found:
        if row.at < row.sent_at + matures_after(generation):
            converted[row.arm, row.odds] = converted.get((row.arm, row.odds), 0) + 1
    return [
        Tally(arm=row.arm, odds=row.odds, sent=row.leads, converted=converted.get((row.arm, row.odds), 0))
        for row in sent
    ]


def matures_after(generation: Generation) -> timedelta:
    """How long what a lead does counts: after its mail, or after it took its path."""
    return PATH_MATURE_AFTER if generation.compares_paths else MATURE_AFTER


def assigned_tallies(connection: Connection, generation: Generation) -> list[Tally]:
    """Assignments by arm and odds, counted as conversions, for the check of the sample ratio."""
    a = t.assignment.c
    rows = connection.execute(
        select(a.arm, a.odds, func.count().label("leads")).where(a.experiment == generation.key).group_by(a.arm, a.odds)
    )
    return [Tally(arm=row.arm, odds=row.odds, sent=row.leads, converted=row.leads) for row in rows]


def look(connection: Connection, experiment: Experiment, *, now: datetime, rng: random.Random) -> Learned | None:
    """What the matured sends say now. None where nobody was assigned yet, or the last look is younger than a while."""
    generation = next(
        (each for each in generations(connection, experiment.key) if set(each.arms) == set(experiment.arms)), None
    )
    if generation is None or now - generation.computed_at < LOOK_EVERY:
        return None
    matured = tallies(connection, generation, sent_by=now - matures_after(generation), metric=experiment.test.metric)
    odds, winner = next_odds(
        experiment.test.send,
        matured,
        generation.arms,
        chosen=generation.winner,
        paused=_harmful(connection, generation, now=now),
        rng=rng,
    )
    if experiment.weights is not None and experiment.test.send == "split":
        odds = dict(experiment.weights)
    return Learned(
        key=generation.key,
        odds=odds,
        metric=experiment.test.metric,
        winner=winner,
        e_value=e_value(matured, generation.arms),
        newly_proven=None if generation.proven_arm else _proven(matured, generation.arms),
    )


def record(connection: Connection, learned: Learned, *, now: datetime) -> None:
    """Put the odds in force; a proof that stands is never overwritten."""
    state = t.experiment_state
    connection.execute(
        update(state)
        .where(state.c.experiment == learned.key)
        .values(
            odds=dict(learned.odds),
            metric=learned.metric,
            winner=learned.winner,
            e_value=learned.e_value,
            computed_at=now,
        )
    )
    if learned.newly_proven is not None:
        connection.execute(
            update(state)
            .where(state.c.experiment == learned.key, state.c.proven_arm.is_(None))
            .values(proven_arm=learned.newly_proven, proven_at=now)
        )


def _generation(
    connection: Connection,
    experiment: str,
    arms: Sequence[str],
    *,
    weights: Mapping[str, float] | None,
    now: datetime,
) -> Generation:
    for _ in range(GENERATIONS_TRIED):
        stored = generations(connection, experiment)
        found = next((each for each in stored if set(each.arms) == set(arms)), None)
        if found is not None:
            return found
        key = f"{experiment}@{len(stored) + 1}" if stored else experiment
        row = {
            "experiment": key,
            "compares": "mail" if weights is None else "path",
            "odds": equal_odds(arms) if weights is None else dict(weights),
            "metric": "click",
            "e_value": 1.0,
            "computed_at": now,
        }
        connection.execute(insert_ignore(connection, t.experiment_state).values(row))
    raise RuntimeError(f"experiment {experiment}: others kept taking each new generation")


def _assigned(connection: Connection, key: str, lead_ids: Sequence[int]) -> dict[int, tuple[str, float]]:
    a = t.assignment.c
    found: dict[int, tuple[str, float]] = {}
    for start in range(0, len(lead_ids), CHUNK):
        rows = connection.execute(
            select(a.lead_id, a.arm, a.odds).where(a.experiment == key, a.lead_id.in_(lead_ids[start : start + CHUNK]))
        )
        found.update({row.lead_id: (row.arm, row.odds) for row in rows})
    return found


def _draw(key: str, odds: Mapping[str, float], lead_id: int, *, seed_key: bytes, now: datetime) -> dict[str, Any]:
    arm = draw_arm(key, lead_id, odds, seed_key=seed_key)
    return {"experiment": key, "lead_id": lead_id, "arm": arm, "odds": odds[arm], "at": now}


def _first_sends(generation: Generation) -> Select[Any]:
    """Each assigned lead whose message of the step was accepted and did not bounce, with the first such time."""
    a, m = t.assignment, t.message
    cadence, step = generation.step
    if generation.compares_paths:
        return select(a.c.lead_id, a.c.arm, a.c.odds, a.c.at.label("sent_at")).where(a.c.experiment == generation.key)
    return (
        select(a.c.lead_id, a.c.arm, a.c.odds, func.min(m.c.sent_at).label("sent_at"))
        .join(
            m,
            and_(
                m.c.lead_id == a.c.lead_id,
                m.c.cadence == cadence,
                m.c.step == step,
                m.c.variant == a.c.arm,
                m.c.created_at >= a.c.at,
                m.c.status == MessageStatus.SENT.value,
                m.c.sent_at.is_not(None),
            ),
        )
        .where(a.c.experiment == generation.key)
        .group_by(a.c.lead_id, a.c.arm, a.c.odds)
    )


_OF_THE_MESSAGE = {
    "click": EventName.CLICKED,
    "reply": EventName.REPLIED,
    EventName.UNSUBSCRIBED.value: EventName.UNSUBSCRIBED,
    EventName.COMPLAINED.value: EventName.COMPLAINED,
}
"""Metrics that are events of the step's own message; any other event counts wherever it came from."""


def _happened(generation: Generation, metric: str) -> Subquery:
    """(lead_id, at) of everything that counts as `metric`."""
    if metric == "promotion":
        moves = t.stage_history
        return select(moves.c.lead_id, moves.c.at).where(moves.c.kind == MoveKind.PROMOTION.value).subquery()
    e, m = t.event, t.message
    human = e.c.verdict == Verdict.HUMAN.value
    if metric in _OF_THE_MESSAGE:
        cadence, step = generation.step
        query = (
            select(e.c.lead_id, e.c.at)
            .join(m, m.c.id == e.c.message_id)
            .where(e.c.kind == _OF_THE_MESSAGE[metric].value, human, m.c.cadence == cadence)
        )
        return (query if generation.compares_paths else query.where(m.c.step == step)).subquery()
    return select(e.c.lead_id, e.c.at).where(e.c.kind == metric, human).subquery()


def _proven(matured: Sequence[Tally], arms: Sequence[str]) -> str | None:
    leader = leading_arm(matured, arms)
    return leader if leader is not None and proves(matured, arms, leader) else None


def _harmful(connection: Connection, generation: Generation, *, now: datetime) -> frozenset[str]:
    """Arms that the guardrails pause; harm is not waited out, so every send counts at once."""
    unsubscribed, complained = (
        tallies(connection, generation, sent_by=now, metric=name.value)
        for name in (EventName.UNSUBSCRIBED, EventName.COMPLAINED)
    )
    return paused_arms(unsubscribed, complained, generation.arms)

"""Stage 6, now and then: what keeps the installation in order. Each chore is a function; this file only calls them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from nurture.domain.cadence import Cadence
from nurture.store.cadences import in_force
from nurture.store.database import Database
from nurture.store.experiments import experiments_in, look, record
from nurture.store.trials import judge

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class MaintainReport:
    experiments: int
    """Looked at."""
    proven: tuple[str, ...]
    """`cadence/step: arm`, for each proof that this pass found."""


def maintain(
    *, database: Database, cadences: Mapping[str, Cadence], now: datetime, rng: random.Random
) -> MaintainReport:
    """Every chore once; a second pass changes nothing."""
    judge_trials(database=database, now=now)
    return look_at_experiments(database=database, cadences=cadences, now=now, rng=rng)


def look_at_experiments(
    *, database: Database, cadences: Mapping[str, Cadence], now: datetime, rng: random.Random
) -> MaintainReport:
    """Set the odds of every running experiment by its matured sends. A look locks nothing, and the write is short."""
    looked, proven = 0, []
    for experiment in experiments_in(cadences.values()):
        with database.reading() as connection:
            learned = look(connection, experiment, now=now, rng=rng)
        if learned is None:
            continue
        with database.transaction() as connection:
            record(connection, learned, now=now)
        looked += 1
        if learned.newly_proven is not None:
            proven.append(f"{experiment.key}: {learned.newly_proven}")
    return MaintainReport(experiments=looked, proven=tuple(proven))


def judge_trials(*, database: Database, now: datetime) -> None:
    """Stop changed cadences that do harm to those they are tried on, and take up those that did none."""
    with database.reading() as connection:
        tried = {name: state for name, state in in_force(connection).items() if state.trial is not None}
    for name, state in tried.items():
        with database.transaction() as connection:
            verdict = judge(connection, name, state, now=now)
        if verdict == "stopped":
            log.error("change_stopped", cadence=name, why="its mail is worse than before: edit the file, or release it")
        elif verdict is not None:
            log.info("change_taken_up", cadence=name)

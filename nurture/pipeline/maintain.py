"""Stage 6, now and then: what keeps the installation in order. Each chore is a function; this file only calls them."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from nurture.domain.cadence import Cadence
from nurture.domain.limits import REPUTATION_OVER, Reputation
from nurture.store.cadences import in_force
from nurture.store.database import Database
from nurture.store.domain_health import forget_old
from nurture.store.experiments import experiments_in, look, record
from nurture.store.limits import any_harm, judged_from, standing_of, warn_once
from nurture.store.pauses import pause, sender_scope
from nurture.store.trials import judge

WARN_EVERY = timedelta(days=1)

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class MaintainReport:
    experiments: int
    """Looked at."""
    proven: tuple[str, ...]
    """`cadence/step: arm`, for each proof that this pass found."""


def maintain(
    *,
    database: Database,
    cadences: Mapping[str, Cadence],
    senders: Collection[str],
    now: datetime,
    rng: random.Random,
) -> MaintainReport:
    """Every chore once; a second pass changes nothing."""
    judge_trials(database=database, now=now)
    judge_senders(database=database, senders=senders, now=now)
    with database.transaction() as connection:
        forget_old(connection, now=now)
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


def judge_senders(*, database: Database, senders: Collection[str], now: datetime) -> None:
    """Stop the mail of a sender whose reputation is at stake, until a person lets it go on; warn before that."""
    week_ago = now - REPUTATION_OVER
    with database.reading() as connection:
        if not any_harm(connection, since=week_ago):
            return
    for sender in senders:
        with database.reading() as connection:
            since = max(week_ago, judged_from(connection, sender) or week_ago)
            standing = standing_of(connection, sender, since=since)
        if standing.reputation is Reputation.GOOD:
            continue
        with database.transaction() as connection:
            if standing.reputation is Reputation.SPENT:
                if pause(connection, sender_scope(sender), now=now, note=f"by itself: {standing}"):
                    log.error(
                        "sender_stopped", sender=sender, why=str(standing), cure=f"nurture resume --sender {sender}"
                    )
            elif warn_once(connection, sender, again_after=now - WARN_EVERY, now=now):
                log.warning("sender_near_its_limit", sender=sender, why=str(standing))

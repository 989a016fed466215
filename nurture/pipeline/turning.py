"""What time alone makes true: an exit, a goal or a wait's condition that counts days, or asks for what fades.

Nothing happens that would wake the enrollments concerned, so they are looked for: one query for each condition of each
version that is under way. `advance` decides; being woken for nothing changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nurture.domain.cadence import Cadence, WaitFor
from nurture.domain.conditions import Condition, parse_condition
from nurture.domain.conditions.tree import turns_with_time
from nurture.pipeline.rules import Rules
from nurture.store.cadences import load_versions
from nurture.store.database import Database
from nurture.store.enrollments import at_rest, versions_at_rest, wake
from nurture.store.segments import Since, enrollments_meeting

AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """A condition that may come true by itself. `step`: for who stands there alone."""

    condition: Condition
    since: Since
    step: str | None = None


def wake_turned(*, database: Database, rules: Rules, now: datetime) -> int:
    """Have `advance` look at whoever such a condition is true of now. Returns how many were woken."""
    asking = rules.asking(now)
    with database.reading() as connection:
        versions = load_versions(connection, set(versions_at_rest(connection, now=now)))
    woken = 0
    for version, cadence in versions.items():
        for turn in _turns(cadence, rules):
            after = 0
            while True:
                with database.reading() as connection:
                    ids = at_rest(connection, version, step=turn.step, after=after, now=now, limit=AT_ONCE)
                    met = enrollments_meeting(connection, turn.condition, asking, ids=ids, since=turn.since)
                if met:
                    with database.transaction() as connection:
                        woken += wake(connection, sorted(met), now=now)
                if len(ids) < AT_ONCE:
                    break
                after = ids[-1]
    return woken


def _turns(cadence: Cadence, rules: Rules) -> Iterator[_Turn]:
    """Those of a cadence."""
    for text in (cadence.goal, cadence.exit):
        if text is not None:
            yield from _if_it_turns(_Turn(condition=parse_condition(text, rules.vocabulary), since="enrollment"))
    if cadence.exit_on_leave and cadence.segment is not None:
        left = parse_condition(cadence.segment, rules.vocabulary).negated()
        yield from _if_it_turns(_Turn(condition=left, since="ever"))
    for step in cadence.steps.values():
        if isinstance(step, WaitFor):
            condition = parse_condition(step.condition, rules.vocabulary)
            yield from _if_it_turns(_Turn(condition=condition, since="enrollment", step=step.key))


def _if_it_turns(turn: _Turn) -> Iterator[_Turn]:
    if turns_with_time(turn.condition.tree):
        yield turn

"""What came of simulated weeks: each run is read from its tables, and several runs become percentiles."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, case, func, select

from nurture.domain.alerts import AlertStatus
from nurture.domain.enrollment import RUNNING, EnrollmentStatus
from nurture.domain.event import EventName, Verdict
from nurture.domain.message import MessageKind
from nurture.domain.reasons import Reason
from nurture.domain.stages import MoveKind
from nurture.store import tables as t

Key = TypeVar("Key")
COMPLETED = "completed"
UNDER_WAY = "under way"
ENTERED = "entered"
ENDS = "="
"""Before the name of how a run ended, where it stands among the names of mails."""
MOST_TIMES = 5


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of several runs: a tenth of them had at most `p10`, half at most `p50`, nine tenths at most `p90`."""

    p10: int
    p50: int
    p90: int


def spread(values: Sequence[int]) -> Spread:
    """Percentiles by nearest rank, so that each is a number which some run really had."""
    ranked = sorted(values)
    p10, p50, p90 = (ranked[max(0, math.ceil(share * len(ranked)) - 1)] for share in (0.1, 0.5, 0.9))
    return Spread(p10=p10, p50=p50, p90=p90)


@dataclass(frozen=True, kw_only=True)
class StepNumbers:
    """How often a step was come to, what it sent and what readers clicked; who stands before it, and who left there."""

    entered: int = 0
    waiting: int = 0
    sent: int = 0
    clicked: int = 0
    exited: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RunFindings:
    """Of one run. Hours are those of the workspace's zone."""

    sends: Mapping[tuple[date, int], int]
    sends_by_step: Mapping[str, int]
    promotions: Mapping[str, int]
    alerts: Mapping[str, int]
    exits: Mapping[str, Mapping[str, int]]
    """cadence -> why runs ended, `completed` among it, and `under way` for those that have not."""
    enrolled: Mapping[str, int]
    capped: int
    bounced: int
    failed: int
    steps: Mapping[tuple[str, str], StepNumbers]
    flows: Mapping[str, Mapping[tuple[str, str], int]]
    """cadence -> (from, to) -> runs that went this way: from mail to mail, and to how they ended."""

    @property
    def total(self) -> int:
        return sum(self.sends.values())


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Of all runs. `middle` is the one whose number of sends is the median."""

    seed: int
    first_day: date
    days: int
    zone: ZoneInfo
    leads: int
    runs: Sequence[RunFindings]

    @property
    def middle(self) -> int:
        """Its place among the runs."""
        ranked = sorted(range(len(self.runs)), key=lambda place: (self.runs[place].total, place))
        return ranked[(len(ranked) - 1) // 2]

    @property
    def dates(self) -> list[date]:
        return [self.first_day + timedelta(days=number) for number in range(self.days)]

    @property
    def sends(self) -> Spread:
        return spread([run.total for run in self.runs])

    def sends_on(self, day: date) -> Spread:
        return spread([sum(count for (at, _), count in run.sends.items() if at == day) for run in self.runs])

    def one(self, number: Callable[[RunFindings], int]) -> Spread:
        return spread([number(run) for run in self.runs])

    @property
    def capped(self) -> Spread:
        return self.one(lambda run: run.capped)

    def each(
        self, numbers: Callable[[RunFindings], Mapping[str, int]], *, besides: Sequence[str] = ()
    ) -> dict[str, Spread]:
        """By name, `besides` first; a name that a run lacks counts as zero there."""
        found = [numbers(run) for run in self.runs]
        names = dict.fromkeys([*besides, *sorted({name for each in found for name in each})])
        return {name: spread([each.get(name, 0) for each in found]) for name in names}

    def exits(self) -> dict[str, dict[str, Spread]]:
        cadences = sorted({cadence for run in self.runs for cadence in run.exits})
        return {cadence: self._exits(cadence) for cadence in cadences}

    def _exits(self, cadence: str) -> dict[str, Spread]:
        return self.each(lambda run: run.exits.get(cadence, {}))


def read_run(connection: Connection, *, begins: datetime, zone: ZoneInfo) -> RunFindings:
    """What happened since `begins`."""
    m = t.message.c
    sends: Counter[tuple[date, int]] = Counter()
    by_step: Counter[str] = Counter()
    local = lru_cache(maxsize=100_000)(lambda at: at.astimezone(zone))
    sent = select(m.sent_at, m.cadence, m.step, func.count().label("total"))
    for row in connection.execute(sent.where(*_sent_since(begins)).group_by(m.sent_at, m.cadence, m.step)):
        at = local(row.sent_at)
        sends[at.date(), at.hour] += row.total
        by_step[f"{row.cadence}/{row.step}"] += row.total
    return RunFindings(
        sends=dict(sorted(sends.items())),
        sends_by_step=dict(sorted(by_step.items())),
        promotions=_promotions(connection, begins),
        alerts=_alerts(connection, begins),
        exits=_exits(connection, begins),
        enrolled=_decided(connection, Reason.ENROLLED, begins),
        capped=sum(_decided(connection, Reason.CAPPED, begins).values()),
        bounced=sum(_decided(connection, Reason.BOUNCED, begins).values()),
        failed=sum(_decided(connection, Reason.FAILED, begins).values()),
        steps=_steps(connection, begins),
        flows=_flows(connection, begins),
    )


def _sent_since(begins: datetime) -> tuple[Any, ...]:
    m = t.message.c
    return (m.kind == MessageKind.STEP.value, m.sent_at >= begins)


def _counts(rows: Iterable[Any]) -> dict[Any, int]:
    """Rows whose last value is a count; the others are the key, alone or as a tuple."""
    return {row[0] if len(row) == 2 else tuple(row[:-1]): row[-1] for row in rows}


def _decided(connection: Connection, code: Reason, begins: datetime) -> dict[str, int]:
    """cadence -> decisions of this code."""
    d = t.decision.c
    decided = select(d.cadence, func.count()).where(d.code == code.value, d.at >= begins)
    rows = connection.execute(decided.group_by(d.cadence))
    return {str(cadence): total for cadence, total in sorted(_counts(rows).items(), key=str)}


def _promotions(connection: Connection, begins: datetime) -> dict[str, int]:
    s = t.stage_history.c
    moved = select(s.after, func.count()).where(s.kind == MoveKind.PROMOTION.value, s.at >= begins)
    return _counts(connection.execute(moved.group_by(s.after).order_by(s.after)))


def _alerts(connection: Connection, begins: datetime) -> dict[str, int]:
    """rep (or the room that was told) -> alerts that ask for an answer; a notice does not."""
    a = t.alert.c
    whom = case((a.rep != "", a.rep), else_=a.channel)
    told = select(whom, func.count()).where(a.told_at >= begins, a.status != AlertStatus.NOTICE.value)
    return _counts(connection.execute(told.group_by(whom).order_by(whom)))


def _exits(connection: Connection, begins: datetime) -> dict[str, dict[str, int]]:
    e = t.enrollment.c
    exits: dict[str, dict[str, int]] = defaultdict(dict)
    ended = select(e.cadence, e.status, e.exit_reason, func.count().label("total")).where(e.ended_at >= begins)
    for row in connection.execute(ended.group_by(e.cadence, e.status, e.exit_reason).order_by(e.cadence)):
        exits[row.cadence][_ending(row)] = row.total
    running = select(e.cadence, func.count()).where(e.status.in_([each.value for each in RUNNING]))
    for cadence, total in connection.execute(running.group_by(e.cadence).order_by(e.cadence)):
        exits[cadence][UNDER_WAY] = total
    return dict(exits)


def _ending(row: Any) -> str:
    if row.status == EnrollmentStatus.COMPLETED.value:
        return COMPLETED
    return str(row.exit_reason) if row.status == EnrollmentStatus.EXITED.value else UNDER_WAY


# --- the path through the steps


def _steps(connection: Connection, begins: datetime) -> dict[tuple[str, str], StepNumbers]:
    d, e, m, event = t.decision.c, t.enrollment.c, t.message.c, t.event.c
    people = func.count(func.distinct(d.enrollment_id))
    entered = _counts(
        connection.execute(
            select(d.cadence, d.step, people)
            .where(d.at >= begins, d.step.is_not(None), d.cadence.is_not(None), d.enrollment_id.is_not(None))
            .group_by(d.cadence, d.step)
        )
    )
    entered = dict(Counter(entered) + Counter(_promoted_by_steps(connection, begins)))
    waiting = _counts(
        connection.execute(
            select(e.cadence, e.step, func.count())
            .where(e.status.in_([each.value for each in RUNNING]), e.step.is_not(None))
            .group_by(e.cadence, e.step)
        )
    )
    sent = _counts(
        connection.execute(
            select(m.cadence, m.step, func.count()).where(*_sent_since(begins)).group_by(m.cadence, m.step)
        )
    )
    clicked = _counts(
        connection.execute(
            select(event.cadence, event.step, func.count(func.distinct(event.message_id)))
            .where(
                event.kind == EventName.CLICKED.value,
                event.verdict == Verdict.HUMAN.value,
                event.at >= begins,
                event.cadence.is_not(None),
            )
            .group_by(event.cadence, event.step)
        )
    )
    exited: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    left = select(e.cadence, e.step, e.exit_reason, func.count().label("total")).where(
        e.status == EnrollmentStatus.EXITED.value, e.ended_at >= begins, e.step.is_not(None)
    )
    for row in connection.execute(left.group_by(e.cadence, e.step, e.exit_reason).order_by(e.exit_reason)):
        exited[row.cadence, row.step][row.exit_reason] = row.total
    keys = sorted({*entered, *waiting, *sent, *clicked, *exited})
    return {
        key: StepNumbers(
            entered=max(entered.get(key, 0), waiting.get(key, 0)),
            waiting=waiting.get(key, 0),
            sent=sent.get(key, 0),
            clicked=clicked.get(key, 0),
            exited=exited.get(key, {}),
        )
        for key in keys
    }


def _promoted_by_steps(connection: Connection, begins: datetime) -> dict[tuple[str, str], int]:
    """A stage move names the step that made it, and is told as the lead's, not the run's."""
    s = t.stage_history.c
    moved = select(s.because, func.count()).where(s.at >= begins, s.because.contains("/")).group_by(s.because)
    named = {because.partition("/"): total for because, total in connection.execute(moved)}
    return {(cadence, step): total for (cadence, _, step), total in named.items()}


def _flows(connection: Connection, begins: datetime) -> dict[str, dict[tuple[str, str], int]]:
    """From mail to mail, and from the last one to how the run ended; of runs with anything to tell of these weeks."""
    e, m = t.enrollment, t.message
    mails: dict[int, list[str]] = defaultdict(list)
    rows = select(m.c.enrollment_id, m.c.step).where(*_sent_since(begins)).order_by(m.c.sent_at, m.c.id)
    for enrollment_id, step in connection.execute(rows):
        mails[enrollment_id].append(step)
    flows: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    seen = select(e.c.id, e.c.cadence, e.c.status, e.c.exit_reason).where(
        e.c.status.in_([each.value for each in RUNNING]) | (e.c.ended_at >= begins)
    )
    for row in connection.execute(seen.order_by(e.c.id)):
        path = [ENTERED, *_numbered(mails.get(row.id, [])), f"{ENDS}{_ending(row)}"]
        flows[row.cadence].update(pairwise(path))
    return {cadence: dict(flow) for cadence, flow in sorted(flows.items())}


def _numbered(steps: Sequence[str]) -> list[str]:
    """A step that came again is told apart: `news`, `news ×2`; from a certain number on they are one."""
    times: Counter[str] = Counter()
    names: list[str] = []
    for step in steps:
        times[step] = min(times[step] + 1, MOST_TIMES)
        name = step if times[step] == 1 else f"{step} ×{times[step]}"
        if name not in names:
            names.append(name)
    return names

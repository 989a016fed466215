"""What the decisions of a batch depend on: read set-wise, one query for the group, and handed to `decide` as facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection

from nurture.domain.cadence import AccountRules, Cadence, Email, Task
from nurture.domain.conditions import parse_condition
from nurture.domain.decide import Facts, conditions_of, date_fields_of
from nurture.domain.enrollment import ExitReason
from nurture.domain.timing import zone_of
from nurture.pipeline.rules import Rules
from nurture.pipeline.walker import Walker
from nurture.store.absences import absences
from nurture.store.accounts import account_exits, colleagues_holds
from nurture.store.cadences import GONE, load_versions
from nurture.store.dates import date_values
from nurture.store.enrollments import (
    MessageState,
    behind_them,
    claim_due,
    claim_paused,
    forced_exits,
    message_states,
    recent_sends,
    versions_paused,
)
from nurture.store.pauses import backlogs, is_stopped, paused_scopes, stopped_trials
from nurture.store.segments import enrollments_meeting
from nurture.store.tasks import task_statuses


class Gathering:
    """The claimed enrollments of one transaction, and what is known of them beside their rows."""

    def __init__(self, connection: Connection, rules: Rules, now: datetime) -> None:
        self.connection = connection
        self.rules = rules
        self.now = now
        self.asking = rules.asking(now)
        self.walkers: dict[int, Walker] = {}
        self.claimed: list[int] = []
        """The enrollments that are due."""
        self.sends: dict[int, list[datetime]] = {}
        """lead id -> what takes a place in its frequency cap, for those claimed; grows as the batch queues mail."""
        self.states: dict[int, MessageState] = {}
        self._exits: dict[int, ExitReason] = {}
        self._holds: dict[int, tuple[datetime, str]] = {}
        """enrollment id -> what holds it beside its lead's own hold: a colleague's, or that the reader is away."""
        self._stopped: frozenset[str] = frozenset()
        self._stopped_versions: frozenset[str] = frozenset()
        self._backlogs: dict[str, datetime] = {}

    def claim(self, limit: int) -> int:
        """The due rows, and those that are paused behind them, whose exits act all the same."""
        active = claim_due(self.connection, now=self.now, limit=limit)
        beside = self._beside(limit - len(active))
        due = [*active, *beside]
        self.claimed = [row.id for row in due]
        behind = behind_them(self.connection, active, besides={row.id for row in beside})
        self.take([*due, *behind])
        if self.rules.caps:  # each lead's whole past is read for it
            self.sends = self._recent_sends([*due, *behind])
        for row in behind:
            self.walkers[row.id].behind = True
        for row in beside:
            self.walkers[row.id].beside = True
        return len(due)

    def _recent_sends(self, rows: Sequence[Any]) -> dict[int, list[datetime]]:
        longest = max(cap.within for cap in self.rules.caps)
        return recent_sends(self.connection, [row.lead_id for row in rows], since=self.now - longest, now=self.now)

    def _beside(self, limit: int) -> list[Any]:
        """Of the paused ones those that are due in a cadence with transactional mail."""
        paused = load_versions(self.connection, set(versions_paused(self.connection)))
        asked_for = sorted(version for version, cadence in paused.items() if _has_transactional(cadence))
        return claim_paused(self.connection, asked_for, now=self.now, limit=limit) if asked_for and limit else []

    def _walker(self, row: Any, cadence: Cadence) -> Walker:
        return Walker(
            row=row,
            cadence=cadence,
            step=None if row.step == GONE else row.step,
            since_at=row.since_at or row.enrolled_at,
            zone=zone_of(row.lead_timezone, row.lead_country, self.rules.workspace_zone.key),
            floor_at=_latest_of(row.resumed_at, row.late_from, _past(row.lead_hold_until, self.now)),
            message_id=row.message_id,
            visit=row.visit,
        )

    def _gather(self, rows: Sequence[Any]) -> None:
        """What decisions depend on beside the rows, read once."""
        connection = self.connection
        self._stopped = paused_scopes(connection)
        self._stopped_versions = stopped_trials(connection)
        self._backlogs = backlogs(connection)
        self._exits = forced_exits(connection, rows, now=self.now)
        self.states = message_states(connection, [row.message_id for row in rows if row.message_id is not None])
        won = [row for row in rows if _account(self.walkers[row.id]).won == "exit"]
        for enrollment_id in account_exits(connection, won):
            self._exits.setdefault(enrollment_id, ExitReason.ACCOUNT_WON)
        heeding = [row for row in rows if _account(self.walkers[row.id]).hold == "pause_colleagues"]
        self._holds = colleagues_holds(connection, heeding, now=self.now)
        for enrollment_id, until in absences(connection, [row.id for row in rows], now=self.now).items():
            if enrollment_id not in self._holds or until > self._holds[enrollment_id][0]:
                self._holds[enrollment_id] = (until, "out of office")

    def take(self, rows: Sequence[Any]) -> None:
        """These rows, and what is known of them."""
        cadences = load_versions(self.connection, {row.version for row in rows})
        for row in rows:
            self.walkers[row.id] = self._walker(row, cadences[row.version])
        if rows:
            self._gather(rows)

    def facts(self, moving: Sequence[Walker]) -> list[tuple[Walker, Facts]]:
        """The facts of each at its present step."""
        holds, dates, tasks = self._ask(moving), self._dates(moving), self._tasks(moving)
        return [(walker, self._facts(walker, holds[walker.row.id], dates, tasks)) for walker in moving]

    def _ask(self, moving: Sequence[Walker]) -> dict[int, frozenset[str]]:
        """Every condition of a group in one query each: enrollment id -> the conditions that hold."""
        groups: dict[tuple[str, Literal["enrollment", "ever"]], list[int]] = defaultdict(list)
        for walker in moving:
            ever, since_enrollment = conditions_of(walker.cadence, walker.current)
            for text in ever:
                groups[(text, "ever")].append(walker.row.id)
            for text in since_enrollment:
                groups[(text, "enrollment")].append(walker.row.id)
        holds: dict[int, set[str]] = {walker.row.id: set() for walker in moving}
        for (text, since), ids in groups.items():
            condition = parse_condition(text, self.rules.vocabulary)
            for enrollment_id in enrollments_meeting(self.connection, condition, self.asking, ids=ids, since=since):
                holds[enrollment_id].add(text)
        return {enrollment_id: frozenset(texts) for enrollment_id, texts in holds.items()}

    def _dates(self, moving: Sequence[Walker]) -> dict[tuple[int, str], datetime]:
        """What the date fields of the present steps hold."""
        wanted = {walker.row.id: fields for walker in moving if (fields := date_fields_of(walker.current))}
        zones = {enrollment_id: self.walkers[enrollment_id].zone for enrollment_id in wanted}
        return date_values(self.connection, zones, frozenset().union(*wanted.values()))

    def _tasks(self, moving: Sequence[Walker]) -> dict[str, str]:
        """The status of the tasks that are waited for."""
        keys = [walker.deed for walker in moving if isinstance(step := walker.current, Task) and step.wait]
        return task_statuses(self.connection, keys) if keys else {}

    def _facts(
        self,
        walker: Walker,
        holds: frozenset[str],
        dates: Mapping[tuple[int, str], datetime],
        tasks: Mapping[str, str],
    ) -> Facts:
        row = walker.row
        held_until, held_by = self._hold(row)
        message = self.states.get(walker.message_id) if walker.message_id is not None else None
        return Facts(
            cadence=walker.cadence,
            step=walker.step,
            now=self.now,
            enrolled_at=row.enrolled_at,
            since_at=walker.since_at,
            floor_at=walker.floor_at,
            zone=walker.zone,
            workspace_zone=self.rules.workspace_zone,
            is_holiday=self.rules.calendar.is_holiday(row.lead_country),
            holds=holds,
            forced_exit=self._exits.get(row.id),
            stage=row.lead_stage,
            message=message.status if message is not None else None,
            message_step=message.step if message is not None else None,
            held_until=held_until,
            held_by=held_by,
            is_triggered=row.event_id is not None,
            is_behind=walker.beside,
            is_paused=is_stopped(row.cadence, self._stopped) or row.version in self._stopped_versions,
            backlog_until=self._backlogs.get(row.cadence),
            dates={name: at for name in date_fields_of(walker.current) if (at := dates.get((row.id, name)))},
            task=tasks.get(walker.deed),
            caps=self.rules.caps,
            sends=self.sends.get(row.lead_id, ()),
        )

    def _hold(self, row: Any) -> tuple[datetime | None, str | None]:
        """Until when marketing is held, and why: by what sales does with this lead, or with a colleague."""
        own, other = row.lead_hold_until, self._holds.get(row.id)
        if other is None or (own is not None and own >= other[0]):
            return own, row.lead_hold_reason
        return other


def _has_transactional(cadence: Cadence) -> bool:
    return any(isinstance(step, Email) and step.transactional is not None for step in cadence.steps.values())


def _account(walker: Walker) -> AccountRules:
    return walker.cadence.account or AccountRules()


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment <= now else None


def _latest_of(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)

"""Stage 2: enrollments that are due take their next step.

One transaction a batch: claim rows, group them by cadence version and step, answer each condition for the whole group
in one query, ask the pure `decide` for each enrollment, and write what the decisions say. Steps that are done at once
(a branch, a tag) are followed in further rounds of the same transaction, until every enrollment of the batch waits,
sends or ends. Whatever an enrollment waits for, this stage may look early: looking twice changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture.calendar import Calendar
from nurture.domain.cadence import AccountRules, Action, Cadence, Email, FrequencyCap, Split, Sunset, Task
from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.domain.decide import (
    STILL_PAUSED,
    Act,
    Await,
    Choose,
    Complete,
    Decision,
    Facts,
    GoOn,
    Later,
    Leave,
    Send,
    conditions_of,
    date_fields_of,
    decide,
    exit_of,
    goal_deadline,
    leave,
)
from nurture.domain.enrollment import ExitReason
from nurture.domain.message import GIVE_UP_AFTER, MessageKind, MessageStatus
from nurture.domain.reasons import Reason
from nurture.domain.timing import zone_of
from nurture.pipeline.acting import Deeds, Say
from nurture.pipeline.walker import Walker
from nurture.store.accounts import account_exits, colleagues_holds
from nurture.store.cadences import GONE, load_versions
from nurture.store.database import Database
from nurture.store.dates import date_values
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import (
    MessageState,
    Placing,
    arrange,
    behind_them,
    claim_due,
    end,
    forced_exits,
    message_states,
    paused_too_long,
    put_off,
    recent_sends,
    settle,
    versions_paused,
)
from nurture.store.events import wake_enrollments
from nurture.store.experiments import arms_for, weights_of
from nurture.store.messages import NewMessage, queue_intents
from nurture.store.pauses import is_stopped, paused_scopes
from nurture.store.segments import Asking, enrollments_meeting
from nurture.store.tasks import task_statuses

BATCH = 500
MOST_ROUNDS = 1000
"""Steps that one enrollment takes in one transaction, at most; what is left is due at once, in the next."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What of the workspace the stage depends on."""

    vocabulary: Vocabulary
    calendar: Calendar
    workspace_zone: ZoneInfo
    caps: tuple[FrequencyCap, ...]
    half_life: timedelta
    engagement_cap: float
    arm_key: bytes
    """Keys the assignment of experiment arms."""
    say: Say
    """Renders a one-line Jinja text with the given context. Raises RenderProblem."""
    default_sender: str
    rep_senders: Mapping[str, str]
    """rep -> the sender that `sender: owner` means for the leads it owns."""


@dataclass(frozen=True, kw_only=True)
class AdvanceReport:
    advanced: int
    exited: int = 0
    promoted: int = 0


def advance(*, database: Database, rules: Rules, now: datetime) -> AdvanceReport:
    """Move everything that is due. Commits batch by batch."""
    total: Counter[str] = Counter()
    _supersede(database, now=now)
    while True:
        try:
            claimed = _move_batch(database, rules, total, now=now, limit=BATCH)
        except SQLAlchemyError:
            raise
        except Exception:  # noqa: BLE001  logged there, with the enrollment that raised it
            claimed = _one_by_one(database, rules, total, now=now)
        if claimed < BATCH:
            return AdvanceReport(advanced=total["advanced"], exited=total["exited"], promoted=total["promoted"])


def _move_batch(database: Database, rules: Rules, total: Counter[str], *, now: datetime, limit: int) -> int:
    """Returns how many were due."""
    with database.transaction() as connection:
        batch = _Batch(connection, rules, now)
        claimed = batch.claim(limit)
        batch.walk()
        batch.write()
    total.update(batch.counts)
    return claimed


def _one_by_one(database: Database, rules: Rules, total: Counter[str], *, now: datetime) -> int:
    """A batch again, each enrollment in a transaction of its own: one that trips us is put off, and stops nobody."""
    for done in range(BATCH):
        try:
            if not _move_batch(database, rules, total, now=now, limit=1):
                return done
        except SQLAlchemyError:
            raise
        except Exception:
            with database.transaction() as connection:
                enrollment_id = put_off(connection, now=now, until=now + STILL_PAUSED)
            log.exception("enrollment_put_off", enrollment=enrollment_id)
    return BATCH


def _supersede(database: Database, *, now: datetime) -> None:
    """Whoever was kept waiting by higher priorities for longer than its cadence's `max_pause` leaves."""
    while True:
        with database.transaction() as connection:
            versions = load_versions(connection, set(versions_paused(connection)))
            max_pauses = {version: cadence.max_pause for version, cadence in versions.items()}
            rows = paused_too_long(connection, now=now, max_pauses=max_pauses, limit=BATCH) if versions else []
            reason = ExitReason.SUPERSEDED.value
            ended = {each for each, _ in end(connection, [row.id for row in rows], reason=reason, now=now)}
            record_decisions(connection, [_superseded(row, now) for row in rows if row.id in ended])
        if len(rows) < BATCH:
            return


def _superseded(row: Any, now: datetime) -> NewDecision:
    return NewDecision(
        lead_id=row.lead_id,
        enrollment_id=row.id,
        cadence=row.cadence,
        code=Reason.EXITED,
        at=now,
        detail={"reason": ExitReason.SUPERSEDED.value},
    )


class _Batch:
    """The rows of one transaction."""

    def __init__(self, connection: Connection, rules: Rules, now: datetime) -> None:
        self.connection = connection
        self.rules = rules
        self.now = now
        self.asking = Asking(now=now, half_life=rules.half_life, engagement_cap=rules.engagement_cap)
        self.walkers: dict[int, Walker] = {}
        self.placings: list[Placing] = []
        self.leaving: dict[str | None, list[int]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.sends: dict[int, list[datetime]] = {}
        self.exits: dict[int, ExitReason] = {}
        self.states: dict[int, MessageState] = {}
        self.holds: dict[int, tuple[datetime, str]] = {}
        """enrollment id -> a sales hold of a colleague, where the cadence's account rules heed it."""
        self.stopped: frozenset[str] = frozenset()
        self.deeds = Deeds(
            connection=connection,
            say=rules.say,
            workspace_zone=rules.workspace_zone,
            arm_key=rules.arm_key,
            now=now,
        )

    def claim(self, limit: int) -> int:
        """The due rows, and those that are paused behind them, whose exits act all the same."""
        due = claim_due(self.connection, now=self.now, limit=limit)
        behind = behind_them(self.connection, due)
        rows = [*due, *behind]
        cadences = load_versions(self.connection, {row.version for row in rows})
        waiting = {row.id for row in behind}
        for row in rows:
            self.walkers[row.id] = self._walker(row, cadences[row.version], behind=row.id in waiting)
        if rows:
            self._gather(rows)
        return len(due)

    def _walker(self, row: Any, cadence: Cadence, *, behind: bool) -> Walker:
        return Walker(
            row=row,
            cadence=cadence,
            step=None if row.step == GONE else row.step,
            since_at=row.since_at or row.enrolled_at,
            zone=zone_of(row.lead_timezone, row.lead_country, self.rules.workspace_zone.key),
            floor_at=_latest_of(row.resumed_at, row.late_from, _past(row.lead_hold_until, self.now)),
            message_id=row.message_id,
            visit=row.visit,
            behind=behind,
        )

    def _gather(self, rows: Sequence[Any]) -> None:
        """What decisions depend on beside the rows, read once."""
        connection = self.connection
        self.stopped = paused_scopes(connection)
        self.exits = forced_exits(connection, rows, now=self.now)
        self.states = message_states(connection, [row.message_id for row in rows if row.message_id is not None])
        longest = max((cap.within for cap in self.rules.caps), default=timedelta(0))
        self.sends = recent_sends(connection, [row.lead_id for row in rows], since=self.now - longest)
        won = [row for row in rows if _account(self.walkers[row.id]).won == "exit"]
        for enrollment_id in account_exits(connection, won):
            self.exits.setdefault(enrollment_id, ExitReason.ACCOUNT_WON)
        heeding = [row for row in rows if _account(self.walkers[row.id]).hold == "pause_colleagues"]
        self.holds = colleagues_holds(connection, heeding, now=self.now)

    def walk(self) -> None:
        """Follow steps in rounds until every enrollment is settled."""
        for _ in range(MOST_ROUNDS):
            moving = [walker for walker in self.walkers.values() if not walker.settled]
            if not moving:
                return
            self._round(moving)
        for walker in (each for each in self.walkers.values() if not each.settled):
            self._settle(walker, due_at=self.now)

    def _round(self, moving: list[Walker]) -> None:
        """One step of each."""
        holds, dates, tasks = self._ask(moving), self._dates(moving), self._tasks(moving)
        sending: list[tuple[Walker, Email]] = []
        choosing: list[tuple[Walker, Split]] = []
        acting: list[tuple[Walker, Action | Sunset]] = []
        for walker in moving:
            facts = self._facts(walker, holds[walker.row.id], dates, tasks)
            if walker.behind:
                self._exit_behind(walker, facts)
                continue
            walker.ends_at = _next_end(facts, walker.row.lead_consent_until)
            match decide(facts):
                case Send(step=email):
                    sending.append((walker, email))
                case Choose(step=split):
                    choosing.append((walker, split))
                case Act(step=action):
                    acting.append((walker, action))
                case decision:
                    self._apply(walker, decision)
        self._send(sending)
        self._choose(choosing)
        self._act(acting)

    def write(self) -> None:
        settle(self.connection, self.placings)
        wake_enrollments(self.connection, self.deeds.changed, now=self.now)
        ended: list[int] = []
        for reason, ids in self.leaving.items():
            ended.extend(lead_id for _, lead_id in end(self.connection, ids, reason=reason, now=self.now))
        record_decisions(self.connection, [each for walker in self.walkers.values() for each in walker.decisions])
        arrange(self.connection, {*ended, *self.deeds.entered}, now=self.now)
        self.counts.update(self.deeds.counts)

    # --- asking

    def _ask(self, moving: list[Walker]) -> dict[int, frozenset[str]]:
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

    def _dates(self, moving: list[Walker]) -> dict[tuple[int, str], datetime]:
        """What the date fields of the present steps hold."""
        wanted = {walker.row.id: fields for walker in moving if (fields := date_fields_of(walker.current))}
        zones = {enrollment_id: self.walkers[enrollment_id].zone for enrollment_id in wanted}
        return date_values(self.connection, zones, frozenset().union(*wanted.values()))

    def _tasks(self, moving: list[Walker]) -> dict[str, str]:
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
            forced_exit=self.exits.get(row.id),
            stage=row.lead_stage,
            message=message.status if message is not None else None,
            message_step=message.step if message is not None else None,
            held_until=held_until,
            held_by=held_by,
            is_paused=is_stopped(row.cadence, self.stopped),
            dates={name: at for name in date_fields_of(walker.current) if (at := dates.get((row.id, name)))},
            task=tasks.get(walker.deed),
            caps=self.rules.caps,
            sends=self.sends.get(row.lead_id, ()),
        )

    def _hold(self, row: Any) -> tuple[datetime | None, str | None]:
        """Until when marketing is held, and why: by what sales does with this lead, or with a colleague."""
        own, colleague = row.lead_hold_until, self.holds.get(row.id)
        if colleague is None or (own is not None and own >= colleague[0]):
            return own, row.lead_hold_reason
        return colleague

    # --- acting on decisions

    def _exit_behind(self, walker: Walker, facts: Facts) -> None:
        """Of one that is paused behind another: it leaves where an exit holds, else it stays as it is."""
        reason = exit_of(facts)
        walker.settled = True
        if reason is not None:
            self._apply(walker, leave(reason, facts))

    def _apply(self, walker: Walker, decision: Decision) -> None:
        match decision:
            case Leave(reason=reason, detail=detail):
                walker.note(Reason.EXITED, self.now, {"reason": reason, **detail})
                self.leaving[reason].append(walker.row.id)
                self._leave(walker, "exited")
            case Complete():
                walker.note(Reason.COMPLETED, self.now)
                self.leaving[None].append(walker.row.id)
                self._leave(walker, "advanced")
            case Await():
                self._settle(walker, due_at=None)
            case Later():
                self._wait(walker, decision)
            case GoOn():
                if decision.code is not None:
                    walker.note(decision.code, self.now, decision.detail)
                walker.visit += decision.revisits
                self._go_on(walker, decision.next, decision.since_at)

    def _leave(self, walker: Walker, counted: str) -> None:
        walker.settled = True
        self.counts[counted] += 1

    def _go_on(self, walker: Walker, step: str | None, since_at: datetime) -> None:
        walker.go_on(step, since_at)
        self.counts["advanced"] += 1

    def _wait(self, walker: Walker, later: Later) -> None:
        # told once, not at every look: a decision is recorded when what stands in the way changes
        if walker.row.blocked_by != later.code.value or walker.row.step != walker.step:
            walker.note(later.code, self.now, {**later.detail, "until": later.until.isoformat()})
        walker.floor_at = later.floor_at if later.floor_at is not None else walker.floor_at
        due_at = later.until if walker.ends_at is None else min(later.until, walker.ends_at)
        self._settle(walker, due_at=due_at, blocked_by=later.code)

    def _settle(self, walker: Walker, *, due_at: datetime | None, blocked_by: Reason | None = None) -> None:
        walker.settled = True
        self.placings.append(walker.placing(due_at=due_at, blocked_by=blocked_by))

    # --- effects

    def _send(self, sending: list[tuple[Walker, Email]]) -> None:
        """Commit the intents. A lead that took its place in the cap in this batch is looked at again."""
        free: list[tuple[Walker, Email]] = []
        taken: set[int] = set()
        for walker, step in sending:
            if walker.row.lead_id in taken and step.transactional is None:
                continue  # stays unsettled: the next round decides with this send counted
            taken.add(walker.row.lead_id)
            free.append((walker, step))
        arms = self._arms(free)
        intents = [self._intent(walker, step, arms[walker.row.id][0]) for walker, step in free]
        message_ids = queue_intents(self.connection, intents, now=self.now)
        self.states.update(message_states(self.connection, message_ids.values()))
        for (walker, step), intent in zip(free, intents, strict=True):
            walker.message_id = message_ids[intent.intent_key]
            if self.states[walker.message_id].status is MessageStatus.QUEUED:
                self._queued(walker, step, *arms[walker.row.id])
            # else it went before, and an edit put its step ahead again: the next round goes on from what became of it

    def _queued(self, walker: Walker, step: Email, arm: str, odds: float) -> None:
        if step.transactional is None:
            self.sends.setdefault(walker.row.lead_id, []).append(self.now)
        if arm:
            walker.note(Reason.VARIANT, self.now, {"arm": arm, "odds": odds})
        walker.note(Reason.QUEUED, self.now, {"variant": arm} if arm else {})
        self._settle(walker, due_at=None)
        self.counts["advanced"] += 1

    def _arms(self, sending: Iterable[tuple[Walker, Email]]) -> dict[int, tuple[str, float]]:
        """enrollment id -> (arm, odds); a step without variants has the arm ""."""
        arms: dict[int, tuple[str, float]] = {}
        groups: dict[tuple[str, tuple[str, ...]], list[Walker]] = defaultdict(list)
        for walker, step in sending:
            if len(step.arms) > 1:
                groups[(f"{walker.cadence.name}/{step.key}", step.arms)].append(walker)
            else:
                arms[walker.row.id] = (step.arms[0], 1.0)
        for (experiment, names), walkers in groups.items():
            assigned = arms_for(
                self.connection,
                experiment,
                [walker.row.lead_id for walker in walkers],
                names,
                seed_key=self.rules.arm_key,
                now=self.now,
            )
            arms.update({walker.row.id: assigned[walker.row.lead_id] for walker in walkers})
        return arms

    def _choose(self, choosing: Sequence[tuple[Walker, Split]]) -> None:
        """The path of each by its lot."""
        groups: dict[str, list[tuple[Walker, Split]]] = defaultdict(list)
        for walker, step in choosing:
            groups[f"{walker.cadence.name}/{step.key}"].append((walker, step))
        for experiment, chosen in groups.items():
            split = chosen[0][1]
            lots = arms_for(
                self.connection,
                experiment,
                [walker.row.lead_id for walker, _ in chosen],
                tuple(split.paths),
                seed_key=self.rules.arm_key,
                now=self.now,
                weights=weights_of(split),
            )
            for walker, step in chosen:
                path, odds = lots[walker.row.lead_id]
                walker.note(Reason.VARIANT, self.now, {"arm": path, "odds": odds})
                self._go_on(walker, step.paths[path].next, walker.since_at)

    def _act(self, acting: Sequence[tuple[Walker, Action | Sunset]]) -> None:
        self.deeds.do(acting)
        for walker, step in acting:
            if isinstance(step, Sunset):
                self._apply(walker, Leave(reason=ExitReason.SUNSET.value))
            elif not (isinstance(step, Task) and step.wait and walker.deed in self.deeds.given):
                self._go_on(walker, step.next, walker.since_at)

    def _intent(self, walker: Walker, step: Email, arm: str) -> NewMessage:
        row = walker.row
        return NewMessage(
            intent_key=f"step:{row.id}:{step.key}:{walker.visit}",
            kind=MessageKind.STEP,
            to_address=f"{row.lead_email.rpartition('@')[0]}@{row.lead_email_domain}",
            sender=self._sender(walker, step.sender_of(arm) or walker.cadence.sender),
            lead_id=row.lead_id,
            enrollment_id=row.id,
            cadence=walker.cadence.name,
            version=row.version,
            step=step.key,
            visit=walker.visit,
            variant=arm or None,
            transactional=step.transactional,
            give_up_at=self.now + GIVE_UP_AFTER,
        )

    def _sender(self, walker: Walker, said: str) -> str:
        """`owner` is the sender of the lead's rep, and where there is none the workspace's."""
        if said != "owner":
            return said
        return self.rules.rep_senders.get(walker.row.lead_owner or "", self.rules.default_sender)


def _account(walker: Walker) -> AccountRules:
    return walker.cadence.account or AccountRules()


def _next_end(facts: Facts, consent_until: datetime | None) -> datetime | None:
    ends = [each for each in (goal_deadline(facts), consent_until) if each is not None and each > facts.now]
    return min(ends, default=None)


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment <= now else None


def _latest_of(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)

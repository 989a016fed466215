"""Stage 2: enrollments that are due take their next step.

One transaction a batch: claim rows, group them by cadence version and step, answer each condition for the whole group
in one query, ask the pure `decide` for each enrollment, and write what the decisions say. Steps that are done at once
(a branch, a tag) are followed in further rounds of the same transaction, until every enrollment of the batch waits,
sends or ends. Whatever an enrollment waits for, this stage may look early: looking twice changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture.calendar import Calendar
from nurture.content.letters import RenderProblem
from nurture.domain.cadence import Cadence, Email, FrequencyCap, Notify, Promote, Step, Tag, Untag
from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.domain.decide import (
    STILL_PAUSED,
    Act,
    Await,
    Complete,
    Decision,
    Facts,
    GoOn,
    Later,
    Leave,
    Send,
    conditions_of,
    decide,
    goal_deadline,
)
from nurture.domain.enrollment import ExitReason
from nurture.domain.message import MessageKind, MessageStatus
from nurture.domain.reasons import Reason
from nurture.domain.stages import MoveKind, Stage, is_forward
from nurture.domain.timing import zone_of
from nurture.store.alerts import raise_alert
from nurture.store.cadences import GONE, load_versions
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import (
    MessageState,
    Placing,
    arrange,
    claim_due,
    end,
    forced_exits,
    message_states,
    paused_too_long,
    put_off,
    recent_sends,
    settle,
)
from nurture.store.events import wake_enrollments
from nurture.store.experiments import arms_for
from nurture.store.lead_facts import lead_views
from nurture.store.leads import tag_lead, untag_lead
from nurture.store.messages import NewMessage, queue_intents
from nurture.store.segments import Asking, enrollments_meeting
from nurture.store.stages import move_stage

BATCH = 500
MAX_PAUSE = timedelta(days=14)
GIVE_UP_AFTER = timedelta(days=2)

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
    say: Callable[[str, Mapping[str, Any]], str]
    """Renders a one-line Jinja text with the given context. Raises RenderProblem."""


@dataclass(frozen=True, kw_only=True)
class AdvanceReport:
    advanced: int
    exited: int = 0
    promoted: int = 0


@dataclass
class _Walker:
    """One enrollment of a batch, while its steps are followed."""

    row: Any
    cadence: Cadence
    step: str | None
    since_at: datetime
    zone: ZoneInfo
    floor_at: datetime | None
    message_id: int | None
    ends_at: datetime | None = None
    """When an exit will hold by the mere passing of time."""
    settled: bool = False
    decisions: list[NewDecision] = field(default_factory=list)

    @property
    def current(self) -> Step | None:
        return self.cadence.steps.get(self.step) if self.step is not None else None

    def note(self, code: Reason, now: datetime, detail: Mapping[str, Any] | None = None) -> None:
        self.decisions.append(
            NewDecision(
                lead_id=self.row.lead_id,
                enrollment_id=self.row.id,
                cadence=self.row.cadence,
                step=self.step,
                code=code,
                at=now,
                detail=dict(detail or {}),
            )
        )


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
    """Whoever was kept waiting by higher priorities for longer than MAX_PAUSE leaves."""
    while True:
        with database.transaction() as connection:
            rows = paused_too_long(connection, now=now, max_pause=MAX_PAUSE, limit=BATCH)
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
        self.walkers: dict[int, _Walker] = {}
        self.placings: list[Placing] = []
        self.leaving: dict[str | None, list[int]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.sends: dict[int, list[datetime]] = {}
        self.exits: dict[int, ExitReason] = {}
        self.states: dict[int, MessageState] = {}
        self.changed: set[int] = set()
        """Leads whose tags or stage changed: other enrollments of theirs may wait for that."""

    def claim(self, limit: int) -> int:
        rows = claim_due(self.connection, now=self.now, limit=limit)
        cadences = load_versions(self.connection, {row.version for row in rows})
        for row in rows:
            zone = zone_of(row.lead_timezone, row.lead_country, self.rules.workspace_zone.key)
            self.walkers[row.id] = _Walker(
                row=row,
                cadence=cadences[row.version],
                step=None if row.step == GONE else row.step,
                since_at=row.since_at or row.enrolled_at,
                zone=zone,
                floor_at=_latest_of(row.resumed_at, row.late_from, _past(row.lead_hold_until, self.now)),
                message_id=row.message_id,
            )
        if rows:
            self.exits = forced_exits(self.connection, rows, now=self.now)
            self.states = message_states(
                self.connection, [row.message_id for row in rows if row.message_id is not None]
            )
            longest = max((cap.within for cap in self.rules.caps), default=timedelta(0))
            self.sends = recent_sends(self.connection, [row.lead_id for row in rows], since=self.now - longest)
        return len(rows)

    def walk(self) -> None:
        """Follow steps in rounds until every enrollment is settled."""
        while moving := [walker for walker in self.walkers.values() if not walker.settled]:
            holds = self._ask(moving)
            sending: list[tuple[_Walker, Email]] = []
            acting: list[tuple[_Walker, Notify | Promote | Tag | Untag]] = []
            for walker in moving:
                facts = self._facts(walker, holds[walker.row.id])
                walker.ends_at = _next_end(facts, walker.row.lead_consent_until)
                self._apply(walker, decide(facts), sending, acting)
            self._send(sending)
            self._act(acting)

    def write(self) -> None:
        settle(self.connection, self.placings)
        wake_enrollments(self.connection, self.changed, now=self.now)
        ended: list[int] = []
        for reason, ids in self.leaving.items():
            ended.extend(lead_id for _, lead_id in end(self.connection, ids, reason=reason, now=self.now))
        record_decisions(self.connection, [each for walker in self.walkers.values() for each in walker.decisions])
        arrange(self.connection, ended, now=self.now)

    # --- asking

    def _ask(self, moving: list[_Walker]) -> dict[int, frozenset[str]]:
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

    def _facts(self, walker: _Walker, holds: frozenset[str]) -> Facts:
        row = walker.row
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
            held_until=row.lead_hold_until,
            held_by=row.lead_hold_reason,
            caps=self.rules.caps,
            sends=self.sends.get(row.lead_id, ()),
        )

    # --- acting on decisions

    def _apply(
        self,
        walker: _Walker,
        decision: Decision,
        sending: list[tuple[_Walker, Email]],
        acting: list[tuple[_Walker, Notify | Promote | Tag | Untag]],
    ) -> None:
        match decision:
            case Leave(reason=reason):
                walker.note(Reason.EXITED, self.now, {"reason": reason})
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
                self._go_on(walker, decision.next, decision.since_at)
            case Send(step=step):
                sending.append((walker, step))
            case Act(step=step):
                acting.append((walker, step))

    def _leave(self, walker: _Walker, counted: str) -> None:
        walker.settled = True
        self.counts[counted] += 1

    def _go_on(self, walker: _Walker, step: str | None, since_at: datetime) -> None:
        walker.step, walker.since_at, walker.message_id = step, since_at, None
        self.counts["advanced"] += 1

    def _wait(self, walker: _Walker, later: Later) -> None:
        # told once, not at every look: a decision is recorded when what stands in the way changes
        if walker.row.blocked_by != later.code.value or walker.row.step != walker.step:
            walker.note(later.code, self.now, {**later.detail, "until": later.until.isoformat()})
        walker.floor_at = later.floor_at if later.floor_at is not None else walker.floor_at
        due_at = later.until if walker.ends_at is None else min(later.until, walker.ends_at)
        self._settle(walker, due_at=due_at, blocked_by=later.code)

    def _settle(self, walker: _Walker, *, due_at: datetime | None, blocked_by: Reason | None = None) -> None:
        walker.settled = True
        self.placings.append(
            Placing(
                enrollment_id=walker.row.id,
                step=walker.step,
                due_at=due_at,
                since_at=walker.since_at,
                ready_at=due_at,
                late_from=walker.floor_at,
                message_id=walker.message_id,
                blocked_by=blocked_by.value if blocked_by is not None else None,
            )
        )

    # --- effects

    def _send(self, sending: list[tuple[_Walker, Email]]) -> None:
        """Commit the intents. A lead that took its place in the cap in this batch is looked at again."""
        free: list[tuple[_Walker, Email]] = []
        taken: set[int] = set()
        for walker, step in sending:
            if walker.row.lead_id in taken and step.transactional is None:
                continue  # stays unsettled: the next round decides with this send counted
            taken.add(walker.row.lead_id)
            free.append((walker, step))
        arms = self._arms(free)
        intents = [_intent(walker, step, arms[walker.row.id][0], self.now) for walker, step in free]
        message_ids = queue_intents(self.connection, intents, now=self.now)
        self.states.update(message_states(self.connection, message_ids.values()))
        for (walker, step), intent in zip(free, intents, strict=True):
            walker.message_id = message_ids[intent.intent_key]
            if self.states[walker.message_id].status is MessageStatus.QUEUED:
                self._queued(walker, step, *arms[walker.row.id])
            # else it went before, and an edit put its step ahead again: the next round goes on from what became of it

    def _queued(self, walker: _Walker, step: Email, arm: str, odds: float) -> None:
        if step.transactional is None:
            self.sends.setdefault(walker.row.lead_id, []).append(self.now)
        if arm:
            walker.note(Reason.VARIANT, self.now, {"arm": arm, "odds": odds})
        walker.note(Reason.QUEUED, self.now, {"variant": arm} if arm else {})
        self._settle(walker, due_at=None)
        self.counts["advanced"] += 1

    def _arms(self, sending: Iterable[tuple[_Walker, Email]]) -> dict[int, tuple[str, float]]:
        """enrollment id -> (arm, odds); a step without variants has the arm ""."""
        arms: dict[int, tuple[str, float]] = {}
        groups: dict[tuple[str, tuple[str, ...]], list[_Walker]] = defaultdict(list)
        for walker, step in sending:
            if len(step.subjects) > 1:
                groups[(f"{walker.cadence.name}/{step.key}", tuple(step.subjects))].append(walker)
            else:
                arms[walker.row.id] = (next(iter(step.subjects)), 1.0)
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

    def _act(self, acting: list[tuple[_Walker, Notify | Promote | Tag | Untag]]) -> None:
        noticed = [walker.row.lead_id for walker, step in acting if isinstance(step, Notify)]
        views = lead_views(self.connection, noticed)
        for walker, step in acting:
            match step:
                case Tag(tag=tag):
                    if tag_lead(self.connection, walker.row.lead_id, tag):
                        self.changed.add(walker.row.lead_id)
                    walker.note(Reason.TAGGED, self.now, {"tag": tag})
                case Untag(tag=tag):
                    if untag_lead(self.connection, walker.row.lead_id, tag):
                        self.changed.add(walker.row.lead_id)
                    walker.note(Reason.TAGGED, self.now, {"untag": tag})
                case Promote(stage=stage):
                    self._promote(walker, Stage(stage))
                case Notify():
                    self._notify(walker, step, views[walker.row.lead_id])
            self._go_on(walker, step.next, walker.since_at)

    def _promote(self, walker: _Walker, stage: Stage) -> None:
        if not is_forward(Stage(walker.row.lead_stage), stage):
            return
        because = f"{walker.cadence.name}/{walker.step}"
        moved = move_stage(
            self.connection, walker.row.lead_id, stage, kind=MoveKind.PROMOTION, because=because, now=self.now
        )
        if moved:
            self.counts["promoted"] += 1
            self.changed.add(walker.row.lead_id)

    def _notify(self, walker: _Walker, step: Notify, view: Mapping[str, Any]) -> None:
        try:
            text = self.rules.say(step.message, {"lead": view})
        except RenderProblem as error:
            walker.note(Reason.FAILED, self.now, {"why": str(error)})
            return
        raise_alert(
            self.connection,
            walker.row.lead_id,
            rule=f"{walker.cadence.name}/{step.key}",
            reason=text,
            message=text,
            to=step.to,
            answerable=False,
            now=self.now,
        )
        walker.note(Reason.NOTIFIED, self.now, {"to": step.to, "message": text})


def _intent(walker: _Walker, step: Email, arm: str, now: datetime) -> NewMessage:
    row = walker.row
    return NewMessage(
        intent_key=f"step:{row.id}:{step.key}:{row.visit}",
        kind=MessageKind.STEP,
        to_address=f"{row.lead_email.rpartition('@')[0]}@{row.lead_email_domain}",
        sender=step.sender or walker.cadence.sender,
        lead_id=row.lead_id,
        enrollment_id=row.id,
        cadence=walker.cadence.name,
        version=row.version,
        step=step.key,
        visit=row.visit,
        variant=arm or None,
        transactional=step.transactional,
        give_up_at=now + GIVE_UP_AFTER,
    )


def _next_end(facts: Facts, consent_until: datetime | None) -> datetime | None:
    ends = [each for each in (goal_deadline(facts), consent_until) if each is not None and each > facts.now]
    return min(ends, default=None)


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment <= now else None


def _latest_of(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)

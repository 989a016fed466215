"""Stage 2: enrollments that are due take their next step.

One transaction a batch: claim rows and gather what is known of them (`gathering.py`), ask the pure `decide` for each,
and do what the decisions say (`mailing.py`, `acting.py`). Steps that are done at once (a branch, a tag) are followed
in further rounds of the same transaction, until every enrollment of the batch waits, sends or ends. Whatever an
enrollment waits for, this stage may look early: looking twice changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture.domain.cadence import Email, Sunset, Task
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
    decide,
    exit_of,
    goal_deadline,
    leave,
)
from nurture.domain.enrollment import ExitReason
from nurture.domain.reasons import Reason
from nurture.pipeline.acting import Deeds
from nurture.pipeline.gathering import Gathering
from nurture.pipeline.mailing import draw_paths, queue_mail
from nurture.pipeline.rules import Rules
from nurture.pipeline.walker import Walker
from nurture.store.cadences import load_versions
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.enrollments import (
    Placing,
    arrange,
    end,
    paused_too_long,
    put_off,
    settle,
    versions_paused,
)
from nurture.store.events import wake_enrollments

BATCH = 500
ENTER_AGAIN = timedelta(hours=1)
"""How soon a step that enrolls knocks again at a cadence that takes no more for now."""
KNOCK_AGAIN = timedelta(seconds=5)
"""The same, where somebody is at the door."""
MOST_ROUNDS = 1000
"""Steps that one enrollment takes in one transaction, at most; what is left is due at once, in the next."""

log = structlog.get_logger()


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
        except _Tripped:  # logged there, with the enrollment that did it
            claimed = _one_by_one(database, rules, total, now=now)
        if claimed < BATCH:
            return AdvanceReport(advanced=total["advanced"], exited=total["exited"], promoted=total["promoted"])


class _Tripped(Exception):
    """One of these enrollments trips us over a mistake of ours."""

    def __init__(self, enrollment_ids: Sequence[int]) -> None:
        super().__init__(f"enrollments {enrollment_ids}")
        self.enrollment_ids = enrollment_ids


def _move_batch(database: Database, rules: Rules, total: Counter[str], *, now: datetime, limit: int) -> int:
    """Returns how many were due. Raises _Tripped, and SQLAlchemyError where the database is away."""
    with database.transaction() as connection:
        batch = _Batch(connection, rules, now)
        try:
            claimed = batch.claim(limit)
            batch.walk()
            batch.write()
        except SQLAlchemyError:
            raise
        except Exception as error:
            raise _Tripped(batch.gathering.claimed) from error
    total.update(batch.counts)
    return claimed


def _one_by_one(database: Database, rules: Rules, total: Counter[str], *, now: datetime) -> int:
    """A batch again, each enrollment in a transaction of its own: one that trips us is put off, and stops nobody."""
    for done in range(BATCH):
        try:
            if not _move_batch(database, rules, total, now=now, limit=1):
                return done
        except _Tripped as tripped:
            if not tripped.enrollment_ids:
                raise  # it is none of them
            (enrollment_id,) = tripped.enrollment_ids
            with database.transaction() as connection:
                put_off(connection, enrollment_id, now=now, until=now + STILL_PAUSED)
            log.error("enrollment_put_off", enrollment=enrollment_id, exc_info=tripped.__cause__)
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
        self.now = now
        self.gathering = Gathering(connection, rules, now)
        self.placings: list[Placing] = []
        self.leaving: dict[str | None, list[int]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.deeds = Deeds(connection=connection, rules=rules, now=now)

    def claim(self, limit: int) -> int:
        """Returns how many were due."""
        return self.gathering.claim(limit)

    def walk(self) -> None:
        """Follow steps in rounds until every enrollment is settled."""
        for _ in range(MOST_ROUNDS):
            moving = [walker for walker in self.gathering.walkers.values() if not walker.settled]
            if not moving:
                return
            self._round(moving)
        for walker in (each for each in self.gathering.walkers.values() if not each.settled):
            self._settle(walker, due_at=self.now)

    def _round(self, moving: list[Walker]) -> None:
        """One step of each."""
        sending: list[tuple[Walker, Email]] = []
        choosing: list[tuple[Walker, Choose]] = []
        acting: list[tuple[Walker, Act]] = []
        for walker, facts in self.gathering.facts(moving):
            if walker.behind:
                self._exit_behind(walker, facts)
                continue
            walker.ends_at = _next_end(facts, walker.row.lead_consent_until)
            match decide(facts):
                case Send(step=email):
                    sending.append((walker, email))
                case Choose() as choice:
                    choosing.append((walker, choice))
                case Act() as act:
                    acting.append((walker, act))
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
        record_decisions(
            self.connection, [each for walker in self.gathering.walkers.values() for each in walker.decisions]
        )
        arrange(self.connection, {*ended, *self.deeds.entered}, now=self.now)
        self.counts.update(self.deeds.counts)

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
        if not walker.beside and (walker.row.blocked_by != later.code.value or walker.row.step != walker.step):
            walker.note(later.code, self.now, {**later.detail, "until": later.until.isoformat()})
        walker.floor_at = later.floor_at if later.floor_at is not None else walker.floor_at
        if walker.beside:
            self._settle(walker, due_at=None if later.code is Reason.PAUSED else later.until, blocked_by=Reason.PAUSED)
            return
        due_at = later.until if walker.ends_at is None else min(later.until, walker.ends_at)
        self._settle(walker, due_at=due_at, blocked_by=later.code)

    def _settle(self, walker: Walker, *, due_at: datetime | None, blocked_by: Reason | None = None) -> None:
        walker.settled = True
        self.placings.append(walker.placing(due_at=due_at, blocked_by=blocked_by))

    # --- effects

    def _send(self, sending: Sequence[tuple[Walker, Email]]) -> None:
        for walker, _, (arm, odds) in queue_mail(self.gathering, sending):
            if arm:
                walker.note(Reason.VARIANT, self.now, {"arm": arm, "odds": odds})
            walker.note(Reason.QUEUED, self.now, {"variant": arm} if arm else {})
            self._settle(walker, due_at=None)
            self.counts["advanced"] += 1

    def _choose(self, choosing: Sequence[tuple[Walker, Choose]]) -> None:
        for walker, choice in choosing:
            walker.since_at = choice.since_at
        for walker, step, (path, odds) in draw_paths(self.gathering, [(each, it.step) for each, it in choosing]):
            walker.note(Reason.VARIANT, self.now, {"arm": path, "odds": odds})
            self._go_on(walker, step.paths[path].next, walker.since_at)

    def _act(self, acting: Sequence[tuple[Walker, Act]]) -> None:
        self.deeds.do([(walker, act.step) for walker, act in acting])
        for walker, act in acting:
            step = act.step
            if isinstance(step, Sunset):
                self._apply(walker, Leave(reason=ExitReason.SUNSET.value))
            elif walker.deed in self.deeds.full:
                again = Later(until=self.now + ENTER_AGAIN, code=Reason.LIMITED, detail={"limit": "that cadence's"})
                self._wait(walker, again)
            elif walker.deed in self.deeds.busy:
                self._settle(walker, due_at=self.now + KNOCK_AGAIN)
            elif not (isinstance(step, Task) and step.wait and walker.deed in self.deeds.given):
                self._go_on(walker, step.next, act.since_at)
            else:
                walker.since_at = act.since_at


def _next_end(facts: Facts, consent_until: datetime | None) -> datetime | None:
    ends = [each for each in (goal_deadline(facts), consent_until) if each is not None and each > facts.now]
    return min(ends, default=None)

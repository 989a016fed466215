"""All stages of the pipeline with what they need, ready to be woken: by a clock, by `--once`, or by a rehearsal."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nurture.authoring.workspace import Workspace
from nurture.content.tokens import Tokens
from nurture.pipeline.advance import AdvanceReport, advance
from nurture.pipeline.backlog import LongStops
from nurture.pipeline.claimed import DeliverReport, Equipment
from nurture.pipeline.counters import Counters
from nurture.pipeline.deliver import Deliverer
from nurture.pipeline.enroll import Admission, EnrollReport, enroll, take_up_cadences
from nurture.pipeline.hand_over import HandOverReport, hand_over
from nurture.pipeline.maintain import maintain
from nurture.pipeline.post import PostEquipment, Poster, PostReport
from nurture.pipeline.react import ReactReport, react
from nurture.pipeline.rules import Rules
from nurture.pipeline.turning import wake_turned
from nurture.store.database import Database

TURN_EVERY = timedelta(hours=1)
QUIET_AFTER = 100
"""Rounds of one `--once` pass at most; each round follows what the one before made due."""


@dataclass(frozen=True, kw_only=True)
class PassReport:
    """What one pass did; the fields of `run --once --json`."""

    enrolled: int = 0
    advanced: int = 0
    sent: int = 0
    deferred: int = 0
    bounced: int = 0
    failed: int = 0
    canceled: int = 0
    unknown: int = 0
    events: int = 0
    promoted: int = 0
    alerts: int = 0


class Stages:
    """The stages over one database. `workspace` may be replaced while running; the next stage sees it."""

    def __init__(
        self,
        *,
        database: Database,
        workspace: Workspace,
        rules: Callable[[Workspace], Rules],
        equipment: Callable[[Workspace], Equipment],
        deliverer: Callable[[Equipment], Deliverer],
        channels: Callable[[Workspace], PostEquipment],
        poster: Callable[[PostEquipment], Poster],
        tokens: Tokens,
        clock: Callable[[], datetime],
        rng: random.Random,
        counters: Counters,
    ) -> None:
        self._database = database
        self._make_rules = rules
        self._make_equipment = equipment
        self._make_channels = channels
        self._tokens = tokens
        self._clock = clock
        self._rng = rng
        self._counters = counters
        self._turned_at: datetime | None = None
        self._stops = LongStops(database=database, clock=clock)
        self.deliverer = deliverer(equipment(workspace))
        self.poster = poster(channels(workspace))
        self._put_in_force(workspace, rules(workspace))

    def use(self, workspace: Workspace) -> None:
        """Take up these files: new cadence versions are stored and those under way follow. Whole, or not at all."""
        equipment, channels = self._make_equipment(workspace), self._make_channels(workspace)
        self._put_in_force(workspace, self._make_rules(workspace))
        self.deliverer.use(equipment)
        self.poster.use(channels)

    def _put_in_force(self, workspace: Workspace, rules: Rules) -> None:
        take_up_cadences(
            database=self._database,
            cadences=workspace.cadences,
            vocabulary=workspace.vocabulary,
            asking=rules.asking(self._clock()),
        )
        self.workspace, self.rules = workspace, rules

    def enroll(self) -> EnrollReport:
        return self._enroll(at_once=self.workspace.settings.limits.enroll_at_once)

    def _enroll(self, *, at_once: int | None) -> EnrollReport:
        admission = Admission(vocabulary=self.workspace.vocabulary, arm_key=self.rules.arm_key, at_once=at_once)
        return enroll(database=self._database, admission=admission, asking=self.rules.asking(self._clock()))

    def advance(self) -> AdvanceReport:
        return advance(database=self._database, rules=self.rules, now=self._clock())

    async def deliver(self) -> DeliverReport:
        return await self.deliverer.deliver(before_claim=self._look_for_a_stop)

    async def post(self) -> PostReport:
        return await self.poster.post()

    def react(self) -> ReactReport:
        return react(
            database=self._database,
            lifecycle=self.workspace.lifecycle,
            vocabulary=self.workspace.vocabulary,
            now=self._clock(),
        )

    def hand_over(self) -> HandOverReport:
        return hand_over(
            database=self._database,
            lifecycle=self.workspace.lifecycle,
            settings=self.workspace.settings,
            vocabulary=self.workspace.vocabulary,
            tokens=self._tokens,
            rng=self._rng,
            now=self._clock(),
        )

    def maintain(self) -> None:
        self._wake_turned()
        maintain(
            database=self._database,
            cadences=self.workspace.cadences,
            senders=self.workspace.settings.senders,
            now=self._clock(),
            rng=self._rng,
        )

    def work(self, name: str) -> Callable[[], Awaitable[Any]]:
        """The stage of this name, to be awaited; those that are synchronous run in a thread."""
        stage: Callable[[], Any] = getattr(self, name)

        async def passing() -> Any:
            await asyncio.to_thread(self._look_for_a_stop)
            with self._counters.passing(name):
                return await (stage() if name in ("deliver", "post") else asyncio.to_thread(stage))

        return passing

    def _look_for_a_stop(self) -> None:
        """Before anything else is done, so that no backlog is older than the look at it."""
        if self._stops.is_due():
            self._stops.look(hold_over=self.workspace.settings.sending.hold_over)

    def _wake_turned(self) -> None:
        """Every hour: what counts days or fades is in no hurry."""
        now = self._clock()
        if self._turned_at is None or now >= self._turned_at + TURN_EVERY:
            wake_turned(database=self._database, rules=self.rules, now=now)
            self._turned_at = now

    async def once(self) -> PassReport:
        """Everything that is due now: round after round, until a round finds nothing left to do."""
        total: Counter[str] = Counter()
        await asyncio.to_thread(self._look_for_a_stop)
        await asyncio.to_thread(self.maintain)
        for _ in range(QUIET_AFTER):
            counts = await self._round()
            total.update(counts)
            if not any(counts.values()):
                break
        return PassReport(**{name: total[name] for name in PassReport.__dataclass_fields__})

    async def _round(self) -> Counter[str]:
        """react first, so that what readers did decides what is sent next."""
        reports = [
            await asyncio.to_thread(self.react),
            await asyncio.to_thread(self._enroll, at_once=None),  # somebody asked for this pass: nothing waits for them
            await asyncio.to_thread(self.advance),
            await asyncio.to_thread(self.hand_over),
            await self.deliverer.deliver(due_by=self._clock(), before_claim=self._look_for_a_stop),
            await self.post(),
        ]
        counts: Counter[str] = Counter()
        for report in reports:
            counts.update({name: value for name, value in vars(report).items() if isinstance(value, int)})
        return counts

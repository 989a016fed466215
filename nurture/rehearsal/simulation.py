"""One run of a simulation: time jumps to the next moment that matters, readers act, and the real stages do what is due.

Nothing is decided here. The stages are the daemon's, and so is every door by which a reader's act comes in; this file
moves the clock. It looks at every whole minute at which an enrollment, a message, an alert or a post is due, whenever
readers act, and at each whole hour, for what follows from time alone.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, select

from nurture.domain.cadence import Cadence
from nurture.domain.event import EventName
from nurture.domain.message import MessageKind
from nurture.domain.timing import zone_of
from nurture.domain.verdict import HitKind
from nurture.pipeline.deliver import Deliverer
from nurture.rehearsal.agenda import Work, next_due, work_at
from nurture.rehearsal.behaviour import Act, Deed, Mail, Readers, next_hour
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.next_hop import SimulatedHop
from nurture.rehearsal.readers import BROWSER
from nurture.settings import Settings
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event
from nurture.store.hits import RawHit, TrackingMode, record_hits
from nurture.store.unsubscribes import unsubscribe

SOURCE = "simulation"
ROUNDS = 100
"""Rounds of the stages at one moment, at most; each follows what the one before made due."""
CHUNK = 500
MAINTAIN_EVERY = timedelta(hours=1)
"""Experiments learn slowly, and so do senders wear out; the daemon looks more often than a forecast has to."""
_EVENTS = {
    Deed.VISIT: EventName.PAGE_VIEWED,
    Deed.DEMO: EventName.DEMO_REQUESTED,
    Deed.REPLY: EventName.REPLIED,
    Deed.COMPLAIN: EventName.COMPLAINED,
}
_OF_A_MAIL = (Deed.REPLY, Deed.COMPLAIN)
P = ParamSpec("P")
R = TypeVar("R")


class Stages(Protocol):
    """The stages, as an engine has them."""

    @property
    def deliverer(self) -> Deliverer: ...

    def react(self) -> object: ...

    def enroll(self) -> object: ...

    def advance(self) -> object: ...

    def hand_over(self) -> object: ...

    def maintain(self) -> None: ...

    async def post(self) -> object: ...


@dataclass(frozen=True, kw_only=True)
class World:
    """Where a run plays: a database of its own, time moved by hand, a next hop that keeps mail in, and who reads it."""

    database: Database
    clock: VirtualClock
    stages: Stages
    hops: Sequence[SimulatedHop]
    readers: Readers
    settings: Settings
    cadences: Mapping[str, Cadence]


def play(world: World, *, until: datetime, progress: Callable[[datetime], None]) -> None:
    """From the clock's time up to, not including, `until`. Everything runs in this thread, so in one order."""
    with asyncio.Runner() as runner, _calm_collector():
        runner.get_loop().set_default_executor(_Inline())
        runner.run(_Run(world).through(until, progress))


class _Run:
    """A run under way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ahead: list[tuple[datetime, int, Act]] = []
        self._order = itertools.count()
        self._thorough_at = world.clock()
        self._maintained_at = world.clock() - MAINTAIN_EVERY
        self._moved = False
        """Whether leads moved on since it was asked who may enter: a tag, a stage or an end lets them in elsewhere."""

    async def through(self, until: datetime, progress: Callable[[datetime], None]) -> None:
        moment = self._world.clock()
        while moment < until:
            self._world.clock.move_to(moment)
            self._perform(moment)
            await self._look(moment)
            progress(moment)
            moment = self._next(moment)

    async def _look(self, now: datetime) -> None:
        """Everything that is due now, as a pass of the daemon does it.

        Once an hour the stages look for themselves at which more can follow from time than what falls due in a row.
        """
        thorough = now >= self._thorough_at
        if thorough:
            self._thorough_at = next_hour(now)
            self._maintain(now)
        for _ in range(ROUNDS):
            with self._world.database.reading() as connection:
                work = work_at(connection, now)
            if not (work or thorough or self._moved):
                return
            await self._round(work, thorough=thorough)
            thorough = False

    def _maintain(self, now: datetime) -> None:
        if now >= self._maintained_at + MAINTAIN_EVERY:
            self._maintained_at = now
            self._world.stages.maintain()

    async def _round(self, work: Work, *, thorough: bool) -> None:
        """The stages in the order of the daemon's own pass, without those that have nothing to do.

        What one did gives work to those after it; only who may enter is asked again after whatever changed a lead.
        """
        stages = self._world.stages
        reacted = (thorough or work.happenings) and _did(stages.react())
        moving = work.enrollments or reacted
        if thorough or reacted or self._moved:
            self._moved = False
            moving |= _did(stages.enroll())
        if moving:
            self._moved = _did(stages.advance())
        told = (thorough or work.tellings or reacted or self._moved) and _did(stages.hand_over())
        if work.messages or told or self._moved:
            await stages.deliverer.deliver(due_by=self._world.clock())
            self._hand_out()
        if work.posts or reacted or self._moved:
            await stages.post()

    # --- readers

    def _hand_out(self) -> None:
        """Mail that arrived is read by whom it is for; what they will do of it is put ahead."""
        taken = [message_id for hop in self._world.hops for message_id in hop.taken]
        for hop in self._world.hops:
            hop.taken.clear()
        for mail in self._mails(taken):
            for act in self._world.readers.acts(mail):
                heapq.heappush(self._ahead, (act.at, next(self._order), act))

    def _mails(self, ids: Sequence[int]) -> Iterable[Mail]:
        m, lead = t.message.c, t.lead.c
        columns = (m.id, m.cadence, m.step, m.visit, m.sent_at, lead.email_key, lead.timezone, lead.country)
        for start in range(0, len(ids), CHUNK):
            with self._world.database.reading() as connection:
                rows = connection.execute(
                    select(*columns, t.link_set.c.urls)
                    .join(t.lead, lead.id == m.lead_id)
                    .outerjoin(t.link_set, t.link_set.c.digest == m.link_set)
                    .where(m.id.in_(ids[start : start + CHUNK]), m.kind == MessageKind.STEP.value)
                    .order_by(m.id)
                ).all()
            for row in rows:
                yield Mail(
                    message_id=row.id,
                    address=row.email_key,
                    cadence=row.cadence,
                    step=row.step,
                    visit=row.visit,
                    sent_at=row.sent_at,
                    zone=zone_of(row.timezone, row.country, self._world.settings.workspace.timezone),
                    links=row.urls or (),
                )

    def _perform(self, moment: datetime) -> None:
        """What readers do at this moment, in one transaction."""
        acts = []
        while self._ahead and self._ahead[0][0] <= moment:
            acts.append(heapq.heappop(self._ahead)[2])
        for start in range(0, len(acts), CHUNK):
            with self._world.database.transaction() as connection:
                self._record(connection, acts[start : start + CHUNK], moment)

    def _record(self, connection: Connection, acts: Sequence[Act], now: datetime) -> None:
        m = t.message.c
        rows = connection.execute(
            select(m.id, m.lead_id, m.enrollment_id, m.cadence, m.step).where(m.id.in_({a.message_id for a in acts}))
        )
        messages = {row.id: row for row in rows}
        hits = [self._hit(act, messages[act.message_id].cadence, now) for act in acts if act.deed in _HITS]
        record_hits(connection, hits, now=now)
        for act in acts:
            message = messages[act.message_id]
            if act.deed is Deed.LEAVE:
                unsubscribe(connection, message.lead_id, message_id=act.message_id, source=SOURCE, now=now)
            elif act.deed in _EVENTS:
                record_event(connection, _event(act, message, now), now=now)

    def _hit(self, act: Act, cadence: str, now: datetime) -> RawHit:
        """As the public listener would have it of a browser."""
        tracking = self._world.settings.tracking
        own = self._world.cadences[cadence].track if cadence in self._world.cadences else None
        opened = act.deed is Deed.OPEN
        mode: TrackingMode = tracking.opens if opened else tracking.clicks
        said: TrackingMode | None = None if own is None else own.opens if opened else own.clicks
        return RawHit(
            kind=_HITS[act.deed],
            method="GET",
            at=now,
            message_id=act.message_id,
            mode=said or mode,
            link_index=None if opened else act.link,
            user_agent=BROWSER,
        )

    def _next(self, now: datetime) -> datetime:
        """The next moment at which anything can change."""
        with self._world.database.reading() as connection:
            due = next_due(connection, now)
        moments = [next_hour(now), *([due] if due is not None else []), *(at for at, _, _ in self._ahead[:1])]
        return min(moments)


def _did(report: object) -> bool:
    return any(vars(report).values())


_HITS = {Deed.OPEN: HitKind.OPEN, Deed.CLICK: HitKind.CLICK}


def _event(act: Act, message: Any, now: datetime) -> NewEvent:
    """A reply belongs to its mail; a page and a request are the lead's alone."""
    ties = ("message_id", "enrollment_id", "cadence", "step")
    own = (act.message_id, message.enrollment_id, message.cadence, message.step) if act.deed in _OF_A_MAIL else ()
    return NewEvent(
        lead_id=message.lead_id,
        kind=_EVENTS[act.deed].value,
        at=now,
        source=SOURCE,
        source_id=f"{act.deed}:{act.message_id}",
        path=act.path or None,
        **dict(zip(ties, own, strict=False)),
    )


@contextmanager
def _calm_collector() -> Iterator[None]:
    """Rows and statements come and go in numbers that have the collector run all the time, and find little."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Inline(ThreadPoolExecutor):
    """Runs what is handed to it at once, in the caller's thread: threads would finish in an order of their own."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  handed on to whoever awaits it
            future.set_exception(error)
        return future

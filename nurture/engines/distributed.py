"""Any number of processes on any number of hosts over one PostgreSQL, which PgQueuer shares the work out to.

At each tick a process asks cheaply whether a stage has anything to do, and puts one job for it into the queue; whoever
is free takes it. Jobs save work, the rows' claims keep it apart: a stage run twice, or by two at once, is harmless.

- One process at a time runs a stage of `ONE_AT_A_TIME`. Its job lasts as long as the stage runs, and is taken up by
  another when its heartbeats end.
- Every process may run a stage of `SIDE_BY_SIDE`. Such a job is an errand, done when whoever took it has begun; a
  process that is already at it takes none, so that they reach those that are free.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import asyncpg
import structlog
from pgqueuer import AsyncpgPoolDriver, Job, Queries, QueueManager
from pgqueuer.errors import FailingListenerError
from pgqueuer.types import QueueEntrypoint
from sqlalchemy.exc import SQLAlchemyError

from nurture.engines.clock_check import ClockCheck
from nurture.engines.stages import Stages
from nurture.engines.ticking import RELOAD_S, TICKS, Ticking, contained, in_a_line, in_thread
from nurture.pipeline.deliver import LEASE_GRACE
from nurture.store.database import Database
from nurture.store.due import anything_due
from nurture.store.jobs import done_within, prune_log

SIDE_BY_SIDE = ("advance", "deliver", "post")
ONE_AT_A_TIME = ("react", "hand_over", "enroll", "maintain")
ANYWAY = {stage: timedelta(seconds=9 if stage == "enroll" else 55) for stage in TICKS}
"""A stage that nobody finished for so long is run whether or not rows ask for it: a little less than whole ticks."""
CLOCK_CHECK_S = 2
ATTEND_S = 2
HEARTBEAT_TIMEOUT = timedelta(seconds=6)
"""After it a silent process's job is another's."""
DEQUEUE_TIMEOUT = timedelta(seconds=1)
"""How soon a job is found whose notification was lost."""
BACK_OFF_S = (0.5, 1, 2, 4, 8)
CONNECT_WITHIN_S, ANSWER_WITHIN_S = 5.0, 10.0
CONNECTIONS = 4
AWAY = (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, FailingListenerError)
"""How two drivers, the network and PgQueuer say that the database does not answer."""

log = structlog.get_logger()


class _Worker(QueueManager):
    """Takes jobs of those stages that this process has a hand free for."""

    free: Callable[[str], bool]

    def entrypoints_below_capacity_limits(self) -> set[QueueEntrypoint]:
        return {stage for stage in super().entrypoints_below_capacity_limits() if self.free(stage)}


class Distributed:
    """Wakes the stages of this process, and those of others, until it is told to drain."""

    def __init__(
        self, stages: Stages, *, database: Database, clock: Callable[[], datetime], reload: Callable[[], None]
    ) -> None:
        self._stages = stages
        self._database = database
        self._clock = clock
        self._clock_check = ClockCheck(database, clock)
        self._busy: set[str] = set()
        self._worker: _Worker | None = None
        self._away = False
        self._draining = asyncio.Event()
        self._ticking = Ticking(clock=clock)
        for stage, seconds in TICKS.items():
            self._ticking.every(seconds, stage, partial(self._unless_away, partial(self._ask_for, stage)))
        self._ticking.every(CLOCK_CHECK_S, "clock", partial(self._unless_away, self._look_at_clocks))
        self._ticking.every(ATTEND_S, "attend", partial(self._unless_away, self._attend))
        self._ticking.every(RELOAD_S, "reload", partial(contained, "reload", in_thread(reload)))
        stages.deliverer.may_claim = lambda: self._clock_check.agreed

    def start(self) -> None:
        self._ticking.start()
        self._working = asyncio.create_task(self._work())

    async def drain(self) -> None:
        """No new job; whatever is under way is finished first."""
        self._draining.set()
        self._ticking.pause()
        self._stages.deliverer.drain()
        self._stages.poster.drain()
        if self._worker is not None:
            self._worker.shutdown.set()
        await self._ticking.finish()
        await self._working
        await self._stages.deliverer.close()

    # --- asking for work

    async def _ask_for(self, stage: str) -> None:
        worker = self._worker
        if worker is None or stage in self._busy or not self._clock_check.agreed:
            return
        if not await asyncio.to_thread(self._is_due, stage):
            return
        shard = self._stages.deliverer.owner if stage in SIDE_BY_SIDE else "all"
        await worker.queries.enqueue(stage, None, dedupe_key=f"{stage}:{shard}", on_conflict="skip")

    def _is_due(self, stage: str) -> bool:
        reps = list(self._stages.workspace.settings.reps)
        with self._database.reading() as connection:
            own = self._stages.deliverer.lost_claims()
            if anything_due(connection, stage, now=self._clock(), reps=reps, grace=LEASE_GRACE, own=own):
                return True
            return not done_within(connection, stage, ANYWAY[stage])

    async def _look_at_clocks(self) -> None:
        await asyncio.to_thread(self._clock_check.agrees)
        if self._away and self._worker is not None:
            self._away = False
            log.info("database_back")

    async def _attend(self) -> None:
        if "deliver" not in self._busy:  # a pass sees to it itself
            await self._stages.deliverer.attend()

    async def _unless_away(self, work: Callable[[], Awaitable[object]]) -> None:
        """Whatever keeps a look from being taken, the next tick looks again; told once."""
        try:
            await work()
        except AWAY as error:
            self._tell_away(error)
        except Exception:
            log.exception("look_failed")

    # --- doing it

    async def _work(self) -> None:
        """Serve PgQueuer's queue; whenever that ends, because the database went away, begin anew."""
        failures = 0
        while not self._draining.is_set():
            try:
                async with asyncpg.create_pool(
                    self._database.asyncpg_url,
                    min_size=0,
                    max_size=CONNECTIONS,
                    timeout=CONNECT_WITHIN_S,
                    command_timeout=ANSWER_WITHIN_S,
                ) as pool:
                    await pool.fetchval("SELECT 1")  # a pool is made without a connection
                    failures = 0
                    await self._serve(pool)
            except AWAY as error:
                self._tell_away(error)
            except Exception:
                log.exception("worker_failed")
            pause = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
            failures += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._draining.wait(), pause)

    async def _serve(self, pool: asyncpg.Pool) -> None:
        if self._draining.is_set():
            return
        worker = _Worker(Queries(AsyncpgPoolDriver(pool)))
        worker.free = lambda stage: self._clock_check.agreed and stage not in self._busy
        for stage in ONE_AT_A_TIME:
            worker.entrypoint(stage, concurrency_limit=1)(self._job(stage, wait=True))
        for stage in SIDE_BY_SIDE:
            worker.entrypoint(stage)(self._job(stage, wait=False))
        self._worker = worker
        try:
            await worker.run(
                batch_size=1,
                dequeue_timeout=DEQUEUE_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                shutdown_on_listener_failure=True,
                log_aggregation_interval=timedelta(0),
            )
        finally:
            self._worker = None
            pool.terminate()  # closing waits for connections that may never answer

    def _job(self, stage: str, *, wait: bool) -> Callable[[Job], Awaitable[None]]:
        async def job(_job: Job) -> None:
            if stage in self._busy or self._draining.is_set():
                return
            self._busy.add(stage)
            task = self._ticking.begin(partial(self._run, stage))
            if wait:
                await asyncio.shield(task)

        return job

    async def _run(self, stage: str) -> None:
        try:
            await contained(stage, partial(self._with_agreed_clock, stage))
        finally:
            self._busy.discard(stage)

    async def _with_agreed_clock(self, stage: str) -> object:
        if not await asyncio.to_thread(self._clock_check.agrees):
            return None
        if stage == "maintain":
            await asyncio.to_thread(self._prune)
        return await self._stages.work(stage)()

    def _prune(self) -> None:
        with self._database.transaction() as connection:
            prune_log(connection)

    def _tell_away(self, error: BaseException) -> None:
        if not self._away and not self._draining.is_set():
            self._away = True
            log.error("database_away", error=in_a_line(_root(error)), what="looking again until it answers")


def _root(error: BaseException) -> BaseException:
    """What began it: PgQueuer's clearing up after a lost connection fails as well, and hides it."""
    while error.__context__ is not None:
        error = error.__context__
    return error

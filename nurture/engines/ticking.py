"""The alarm clock that both engines share: a handful of ticks, never a job per lead.

A tick that comes late runs once; one that is still running is not started again. The scheduler goes by the wall clock,
so a clock that is set back would stop it for as long: ticks begin anew whenever somebody set the clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.exc import SQLAlchemyError

# seconds between two looks; each stage finds out by itself whether anything is due
TICKS = {"react": 1, "advance": 2, "deliver": 1, "post": 2, "hand_over": 5, "enroll": 10, "maintain": 60}
RELOAD_S = 3
CLOCK_WATCH_S = 1
JUMP_S = 2.0
"""By more than this the wall clock parts from the monotonic one between two looks only where somebody set it."""

Work = Callable[[], Awaitable[Any]]

log = structlog.get_logger()


class Engine(Protocol):
    """Wakes the stages until it is told to drain."""

    def start(self) -> None: ...

    async def drain(self) -> None:
        """Begin nothing new; whatever is under way is finished first."""


class Ticking:
    """Ticks, and the work that they or anybody else began; all of it can be waited for."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._running: set[asyncio.Task[Any]] = set()
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def every(self, seconds: int, name: str, work: Work) -> None:
        """Do this again and again, the first time `seconds` from the start."""

        async def tick() -> None:
            await asyncio.shield(self.begin(work))

        self._scheduler.add_job(tick, "interval", seconds=seconds, id=name)

    def begin(self, work: Work) -> asyncio.Task[Any]:
        """Do this once, at once. Whoever waits for it shields it."""
        task = asyncio.ensure_future(work())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def start(self) -> None:
        self._scheduler.start()
        self._watching = asyncio.create_task(self._watch_clock())

    def pause(self) -> None:
        """No new tick."""
        self._watching.cancel()
        self._scheduler.pause()

    async def _watch_clock(self) -> None:
        apart = self._apart()
        while True:
            await asyncio.sleep(CLOCK_WATCH_S)
            before, apart = apart, self._apart()
            if abs(apart - before) > JUMP_S:
                log.warning("clock_jumped", seconds=round(apart - before))
                for job in self._scheduler.get_jobs():
                    job.reschedule("interval", seconds=job.trigger.interval_length)

    def _apart(self) -> float:
        """Seconds from the monotonic clock to the wall clock."""
        return self._clock().timestamp() - time.monotonic()

    async def finish(self) -> None:
        """Wait for all that is under way."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        self._scheduler.shutdown(wait=False)


async def contained(name: str, work: Work) -> None:
    """A database that is away, or a mistake of ours, must not end the daemon: the next tick looks again."""
    try:
        report = await work()
    except SQLAlchemyError as error:
        log.error("stage_failed", stage=name, error=in_a_line(error.__cause__ or error))
        return
    except Exception:
        log.exception("stage_failed", stage=name)
        return
    told = {key: value for key, value in vars(report).items() if value} if report is not None else {}
    if told:
        log.info(name, **told)


def in_a_line(error: BaseException) -> str:
    """What the error says, short and in one line."""
    return " ".join(f"{error}".split())[:300] or type(error).__name__


def in_thread(work: Callable[[], Any]) -> Work:
    return lambda: asyncio.to_thread(work)

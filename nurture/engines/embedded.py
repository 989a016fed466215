"""One process, one database: APScheduler is the alarm clock, the database is the schedule.

A handful of ticks, never a job per lead. A tick that comes late runs once; one that is still running is not started
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.exc import SQLAlchemyError

from nurture.engines.stages import Stages

# seconds between two looks; each stage finds out by itself whether anything is due
TICKS = {"react": 1, "advance": 2, "deliver": 1, "post": 2, "hand_over": 5, "enroll": 10, "maintain": 60}

log = structlog.get_logger()


class Embedded:
    """Wakes the stages until it is told to drain."""

    def __init__(self, stages: Stages, *, reload: Callable[[], None]) -> None:
        self._stages = stages
        self._reload = reload
        self._running: set[asyncio.Task[Any]] = set()
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def start(self) -> None:
        """Begin ticking, each stage at once for the first time."""
        for name, seconds in TICKS.items():
            self._add(name, self._stage(name), seconds)
        self._add("reload", self._in_thread(self._reload), 3)
        self._scheduler.start()

    async def drain(self) -> None:
        """No new tick; whatever is under way is finished first."""
        self._scheduler.pause()
        self._stages.deliverer.drain()
        self._stages.poster.drain()
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        self._scheduler.shutdown(wait=False)
        await self._stages.deliverer.close()

    def _add(self, name: str, work: Callable[[], Awaitable[Any]], seconds: int) -> None:
        async def tick() -> None:
            task = asyncio.ensure_future(self._guarded(name, work))
            self._running.add(task)
            try:
                await asyncio.shield(task)
            finally:
                self._running.discard(task)

        self._scheduler.add_job(tick, "interval", seconds=seconds, id=name)

    async def _guarded(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        """A database that is away, or a mistake of ours, must not end the daemon: the next tick looks again."""
        try:
            report = await work()
        except SQLAlchemyError as error:
            log.error("stage_failed", stage=name, error=" ".join(str(error.__cause__ or error).split())[:300])
            return
        except Exception:
            log.exception("stage_failed", stage=name)
            return
        told = {key: value for key, value in vars(report).items() if value} if report is not None else {}
        if told:
            log.info(name, **told)

    def _stage(self, name: str) -> Callable[[], Awaitable[Any]]:
        if name in ("deliver", "post"):
            carry: Callable[[], Awaitable[Any]] = getattr(self._stages, name)
            return carry
        return self._in_thread(lambda: getattr(self._stages, name)())

    @staticmethod
    def _in_thread(work: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
        return lambda: asyncio.to_thread(work)

"""One process, one database: APScheduler is the alarm clock, the database is the schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from nurture.engines.stages import Stages
from nurture.engines.ticking import RELOAD_S, TICKS, Ticking, contained, in_thread


class Embedded:
    """Wakes the stages until it is told to drain."""

    def __init__(self, stages: Stages, *, clock: Callable[[], datetime], reload: Callable[[], None]) -> None:
        self._stages = stages
        self._ticking = Ticking(clock=clock)
        for name, seconds in TICKS.items():
            self._ticking.every(seconds, name, partial(contained, name, stages.work(name)))
        self._ticking.every(RELOAD_S, "reload", partial(contained, "reload", in_thread(reload)))

    def start(self) -> None:
        self._ticking.start()

    async def drain(self) -> None:
        """No new tick; whatever is under way is finished first."""
        self._ticking.pause()
        self._stages.deliverer.drain()
        self._stages.poster.drain()
        await self._ticking.finish()
        await self._stages.deliverer.close()

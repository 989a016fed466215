"""Ticks in real time, on a real scheduler, while somebody sets the clock that it goes by."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial

import pytest

from nurture.engines.ticking import Ticking
from tests.engine.world import in_a_loop

WITHIN_S = 10
"""As soon as that work goes on, also when a process clock jumps (spec 11)."""


class WallClock(datetime):
    """What the scheduler takes for `datetime`; `set_by` moves it."""

    set_by = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + cls.set_by  # noqa: TID251  the real one, moved


@pytest.mark.parametrize("hours", [-1, 1])
def test_ticks_go_on_when_the_clock_is_set(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("schedulers.base", "triggers.interval"):
        monkeypatch.setattr(f"apscheduler.{module}.datetime", WallClock)
    monkeypatch.setattr(WallClock, "set_by", timedelta())
    ticks: Counter[str] = Counter()

    async def tick(name: str) -> None:
        ticks[name] += 1

    async def ticked(**least: int) -> None:
        deadline = time.monotonic() + WITHIN_S
        while any(ticks[name] < count for name, count in least.items()):
            assert time.monotonic() < deadline, ticks
            await asyncio.sleep(0.02)

    async def story() -> None:
        ticking = Ticking(clock=lambda: WallClock.now(UTC))
        for name, seconds in (("often", 1), ("seldom", 2)):
            ticking.every(seconds, name, partial(tick, name))
        ticking.start()
        await ticked(often=1)
        WallClock.set_by = timedelta(hours=hours)
        await ticked(often=ticks["often"] + 3, seldom=ticks["seldom"] + 2)
        ticking.pause()
        await ticking.finish()

    in_a_loop(story)

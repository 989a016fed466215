"""When a deferred message is tried again: doubling, bounded, and spread by chance, or retries march in step."""

from __future__ import annotations

from datetime import datetime, timedelta

FIRST = timedelta(minutes=5)
LONGEST = timedelta(hours=4)


def next_attempt(now: datetime, *, attempt: int, chance: float) -> datetime:
    """`attempt` counts from 1; `chance` in [0, 1) spreads the moment over the upper half of the delay."""
    delay: timedelta = min(FIRST * 2 ** min(attempt - 1, 10), LONGEST)
    return now + delay * (0.5 + chance / 2)

"""A clock that somebody else moves."""

from __future__ import annotations

from datetime import datetime, timedelta


class VirtualClock:
    """Call it for the time; it only moves forward."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def __call__(self) -> datetime:
        return self._now

    def move_to(self, moment: datetime) -> None:
        """Set the time; a moment that has passed changes nothing."""
        self._now = max(self._now, moment)

    def advance(self, length: timedelta) -> None:
        self._now += length

"""A worker whose clock is wrong takes nothing: it would send too early, and end leases that others still hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from nurture.store.database import Database, clock_of

MOST_APART = timedelta(seconds=10)

log = structlog.get_logger()


class ClockCheck:
    """Compares this process's clock with the database's; says so when they part, and when they agree again."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self.agreed = True
        """As of the last look."""

    def agrees(self) -> bool:
        """Look now. The database answers at some moment between two readings of our own clock."""
        with self._database.reading() as connection:
            before, theirs, after = self._clock(), clock_of(connection), self._clock()
        apart = max(before - theirs, theirs - after)
        agreed = apart <= MOST_APART
        if self.agreed and not agreed:
            log.error(
                "clock_differs",
                seconds=round(apart.total_seconds()),
                what="this process takes no work while its clock is more than 10 s from the database's",
                cure="let the time service (chrony, systemd-timesyncd) set this host's clock, or the database's",
            )
        if agreed and not self.agreed:
            log.info("clock_agrees")
        self.agreed = agreed
        return agreed

"""After a long stop nothing old pours out: an unusual backlog is held until a person says `nurture release` (spec 11).

Asked before any other work, so that it finds a stop of whatever kind: a daemon that was down, a host that slept, a
database that was away, or one that comes from a backup.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

import structlog

from nurture.store.backlog import due_by_cadence, hold_backlog, pass_before
from nurture.store.database import Database

LONG_STOP = timedelta(hours=48)
LOOK_EVERY = timedelta(minutes=1)

log = structlog.get_logger()


class LongStops:
    """Notes each pass, for all processes together, and holds the backlog that a long stop left."""

    def __init__(self, *, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._looked_at: datetime | None = None
        self._looking = Lock()

    def is_due(self) -> bool:
        """Whether to look before anything else is done: a minute has passed, or the clock was moved."""
        return self._looked_at is None or abs(self._clock() - self._looked_at) >= LOOK_EVERY

    def look(self, *, hold_over: int) -> None:
        """Hold what is due where the last pass is over 48 hours ago and more than `hold_over` is due from before."""
        with self._looking:
            if not self.is_due():
                return
            now = self._clock()
            with self._database.transaction() as connection:
                before = pass_before(connection, now=now)
                if before is not None and now - before > LONG_STOP:
                    due = due_by_cadence(connection, since=before, now=now)
                    if due.total() > hold_over:
                        hold_backlog(connection, due, now=now)
                        log.error(
                            "backlog_held",
                            due=due.total(),
                            cadences=dict(due),
                            last_pass=before.isoformat(),
                            cure="look at it (nurture why, nurture pause), then: nurture release",
                        )
            self._looked_at = now

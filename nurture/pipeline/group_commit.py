"""One writer for all connections: `dotted` marks and outcomes share transactions.

While one commit is under way the next group gathers, and it goes when nobody else is about to join, so the number of
commits follows the disk, not the number of messages. Outcomes ride along, or go by themselves after 50 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from nurture.pipeline.counters import Counters
from nurture.store.database import Database
from nurture.store.outbox import ClaimKey, Dotted, Outcome, mark_dotted

OUTCOME_DELAY_S = 0.05
QUIET_ROUNDS = 4
"""A group is complete after so many rounds of the event loop in which nobody joined: within them a connection to a near
server comes from its last verdict to its next mark. A far one takes longer than any round, and is not waited for."""
RETRY_S = 1.0
TRIES_WHILE_CLOSING = 20

log = structlog.get_logger()


class CommitUnknown(Exception):
    """The database did not confirm: the caller writes nothing more on the wire."""


Record = Callable[[Connection, list[Outcome], datetime], list[Outcome]]
Recorded = Callable[[list[Outcome], list[Outcome]], None]


class GroupCommit:
    """`record` writes outcomes with all that follows from them, in the transaction it is handed, and returns those
    that were written. `recorded` is told of both, all and written, once they are committed.
    """

    def __init__(
        self,
        *,
        database: Database,
        owner: str,
        clock: Callable[[], datetime],
        reply_patience: timedelta,
        record: Record,
        recorded: Recorded,
        counters: Counters | None = None,
    ) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._reply_patience = reply_patience
        self._record = record
        self._recorded = recorded
        self._counters = counters or Counters()
        self._dots: list[tuple[Dotted, asyncio.Future[float | None]]] = []
        self._outcomes: list[Outcome] = []
        self._arrived = asyncio.Event()
        self._marked = asyncio.Event()
        self._closing = False
        self._failures = 0
        self._task = asyncio.create_task(self._run())

    async def dotted(self, mark: Dotted) -> float | None:
        """Commit the mark. Returns the monotonic time at which its transaction began, or None: not allowed.

        Raises CommitUnknown.
        """
        future: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._dots.append((mark, future))
        self._arrived.set()
        self._marked.set()
        return await future

    def outcome(self, outcome: Outcome) -> None:
        """Committed with the next group, or soon."""
        self._outcomes.append(outcome)
        self._arrived.set()

    async def close(self) -> None:
        """Commit what is left and stop. A database that stays away leaves the rest to the leases: `unknown`."""
        self._closing = True
        self._arrived.set()
        self._marked.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            self._arrived.clear()
            dots, self._dots = self._dots, []
            outcomes, self._outcomes = self._outcomes, []
            if dots or outcomes:
                await self._commit(dots, outcomes)
            elif self._closing:
                return
            if self._closing and self._failures >= TRIES_WHILE_CLOSING:
                log.error("outcomes_left_to_leases", outcomes=len(self._outcomes))
                return
            if self._closing:
                self._arrived.set()

    async def _gather(self) -> None:
        """Outcomes wait for marks to go with; marks for those that other connections are about to bring."""
        if not self._dots and not self._closing:
            self._marked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OUTCOME_DELAY_S):
                    await self._marked.wait()
        known, quiet = -1, 0
        while quiet < QUIET_ROUNDS:
            quiet = quiet + 1 if len(self._dots) == known else 0
            known = len(self._dots)
            await asyncio.sleep(0)

    async def _commit(
        self, dots: Sequence[tuple[Dotted, asyncio.Future[float | None]]], outcomes: list[Outcome]
    ) -> None:
        began = time.monotonic()
        try:
            allowed = await asyncio.to_thread(self._transact, [mark for mark, _ in dots], outcomes)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            self._failures += 1
            self._counters.commit_failed()
            log.error("commit_failed", error=type(error).__name__, marks=len(dots), outcomes=len(outcomes))
            for _, future in dots:
                if not future.done():
                    future.set_exception(CommitUnknown())
            if isinstance(error, OperationalError | InterfaceError):
                await self._repeat(outcomes)
            else:
                await self._one_by_one(outcomes)
            return
        self._failures = 0
        for mark, future in dots:
            if not future.done():
                future.set_result(began if mark.claim in allowed else None)

    async def _repeat(self, outcomes: list[Outcome]) -> None:
        """The database is away: writing an outcome twice changes nothing, so what is undecided is simply repeated."""
        self._outcomes = outcomes + self._outcomes
        await asyncio.sleep(RETRY_S)
        self._arrived.set()

    async def _one_by_one(self, outcomes: list[Outcome]) -> None:
        """One of them trips us: it is left to its lease, and keeps no other from being written."""
        for outcome in outcomes:
            try:
                await asyncio.to_thread(self._transact, [], [outcome])
            except Exception:
                log.exception("outcome_left_to_its_lease", message=outcome.message_row)

    def _transact(self, marks: list[Dotted], outcomes: list[Outcome]) -> set[ClaimKey]:
        began, now = time.monotonic(), self._clock()
        allowed, written = set[ClaimKey](), list[Outcome]()
        with self._database.transaction() as connection:
            if outcomes:
                written = self._record(connection, outcomes, now)
            if marks:
                lease_until = now + self._reply_patience
                allowed = mark_dotted(connection, marks, owner=self._owner, now=now, lease_until=lease_until)
        self._counters.committed(
            time.monotonic() - began,
            marks=len(marks),
            refused=len(marks) - len(allowed),
            outcomes=len(outcomes),
            lost=len(outcomes) - len(written),
        )
        self._recorded(outcomes, written)
        return allowed

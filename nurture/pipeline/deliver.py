"""Stage 3: messages go out. What is due is claimed, written and carried, all at once; `attempt.py` is how one goes."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from threading import Lock

import structlog
from sqlalchemy.exc import SQLAlchemyError

from nurture.delivery.connections import Connections, Down
from nurture.delivery.conversation import Patience
from nurture.delivery.servers import Server
from nurture.domain.message import MessageStatus
from nurture.domain.reasons import Reason
from nurture.pipeline.attempt import Attempts, Written
from nurture.pipeline.attendance import Attendance
from nurture.pipeline.claimed import Claimed, DeliverReport, Equipment, decision
from nurture.pipeline.claiming import claim_messages
from nurture.pipeline.counters import Counters
from nurture.pipeline.domains import Domains
from nurture.pipeline.endings import Endings
from nurture.pipeline.group_commit import GroupCommit
from nurture.store.database import Database
from nurture.store.decisions import record_decisions
from nurture.store.outbox import ClaimKey, Lease, Outcome, Own, end_leases, owners_sending, renew
from nurture.store.presence import absent

LEASE = timedelta(minutes=2)
RENEW_EVERY_S = 20.0
LOST_AFTER = timedelta(seconds=10)
"""So old is a claim that this process made and knows nothing of: the answer of the database was lost on the way."""
TAKE_UP_EVERY_S = 5.0
ATTEND_EVERY_S = 2.0
LEASE_GRACE = timedelta(seconds=30)
CLAIM_AHEAD = 250
WRITE_FOR_S = 0.005
"""How long letters are written before others have their turn."""
AGAIN_S = 0.25
"""How soon to claim again while the last messages of a pass are under way."""

Ready = tuple[Claimed, Written]

log = structlog.get_logger()


class Deliverer:
    """Sends what is due. One for the life of a process: its connections stay open between passes."""

    def __init__(
        self,
        *,
        database: Database,
        equipment: Equipment,
        clock: Callable[[], datetime],
        rng: random.Random,
        owner: str,
        sole_worker: bool,
        patience: Patience | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._database = database
        self.equipment = equipment
        """What it sends with; `use` changes it."""
        self._next: Equipment | None = None
        self._clock = clock
        self.owner = owner
        self._sole_worker = sole_worker
        self._patience = patience or Patience()
        self._held: dict[ClaimKey, Claimed] = {}
        self._counts: Counter[str] = Counter()
        self._counting = Lock()
        self._counters = counters or Counters()
        self._down: Down = {}
        self._due_by: datetime | None = None
        self._draining = False
        self._attendance = Attendance(database, owner)
        self._domains = Domains()
        self._endings = Endings(clock=clock, rng=rng, domains=self._domains, counters=self._counters)
        self.may_claim: Callable[[], bool] = lambda: True
        """Asked before each claim; what is claimed already goes on its way."""
        self._before_claim: Callable[[], None] | None = None

    def drain(self) -> None:
        """Claim nothing more; what is on its way is finished."""
        self._draining = True

    def use(self, equipment: Equipment) -> None:
        """From the next pass on; the present one claims nothing more."""
        self._next = equipment

    async def attend(self, *, at_least: int = 0) -> None:
        """Every few seconds, also while nothing is sent. Raises DBAPIError: the database is away."""
        claims = self._claims()
        await self._attendance.attend(self.equipment.servers, at_least=at_least if claims else 0, close=not claims)

    def _claims(self) -> bool:
        return not self._draining and self._next is None and self.may_claim()

    def lost_claims(self) -> Own:
        """Our own claims that nobody here knows of."""
        return Own(owner=self.owner, until=self._clock() + LEASE - LOST_AFTER, known=self._rows_held())

    def _rows_held(self) -> list[int]:
        return [message_row for message_row, _ in list(self._held)]  # a copy: other threads add to it

    async def close(self) -> None:
        for server in self.equipment.servers.values():
            await server.close()
        try:
            await asyncio.to_thread(self._write_counts)
        except SQLAlchemyError as error:
            log.error("replies_not_counted", error=type(error).__name__)
        await asyncio.to_thread(self._attendance.end)

    async def deliver(
        self, *, due_by: datetime | None = None, before_claim: Callable[[], None] | None = None
    ) -> DeliverReport:
        """Send everything that is due, and what becomes due meanwhile; with `due_by`, what is due by then alone.

        Claims, sends and commits overlap; returns when nothing is left. That may last for hours, or the host may sleep
        meanwhile: `before_claim` is called before each claim, in a thread.
        """
        await self._take_up()
        self._counts = Counter()
        self._domains.forget()
        self._connections = Connections(clock=self._clock, warn=_warn_unavailable, down=self._down)
        self._due_by, self._before_claim = due_by, before_claim
        await self.attend()
        await asyncio.to_thread(self._end_leases)
        first = await asyncio.to_thread(self._claim)
        if first:
            await self._send_all(first)
        counts = {status: self._counts[status] for status in DeliverReport.__dataclass_fields__}
        return DeliverReport(**counts)

    async def _take_up(self) -> None:
        """Other files are in force: servers that stay as they were keep their connections."""
        equipment, self._next = self._next, None
        if equipment is None:
            return
        before = self.equipment.servers
        servers = {
            name: old if (old := before.get(name)) is not None and old.address == new.address else new
            for name, new in equipment.servers.items()
        }
        self.equipment = replace(equipment, servers=servers)
        for server in before.values():
            if server not in servers.values():
                await server.close()

    # --- 1: claiming

    def _claim(self, busy_servers: Collection[str] = ()) -> list[Claimed]:
        """Decide about due messages, and take those that may go, in one transaction."""
        servers = self.equipment.servers
        shut = {name for name, each in servers.items() if self._connections.why_shut(each) or not each.has_slot}
        busy_servers = shut.union(busy_servers)
        while self._claims():
            if self._before_claim is not None:
                self._before_claim()
            now = self._clock()
            with self._database.transaction() as connection:
                claim = claim_messages(
                    connection,
                    self.equipment,
                    self._domains,
                    Lease(owner=self.owner, until=now + LEASE),
                    now=now,
                    due_by=self._due_by,
                    limit=CLAIM_AHEAD,
                    busy_servers=busy_servers,
                )
            self._count(claim.given_up)
            if claim.claimed:
                self._held.update({each.claim: each for each in claim.claimed})
            if claim.claimed or not claim.looked_at:
                return claim.claimed
        return []

    def _end_leases(self) -> None:
        """What a dead owner left: try again what was not dotted, list the rest as unknown."""
        now = self._clock()
        dead = self.owner if self._sole_worker else None
        with self._database.transaction() as connection:
            gone = absent(connection, owners_sending(connection, besides=self.owner))
            again, unknown = end_leases(
                connection,
                now=now,
                grace=LEASE_GRACE,
                dead_owners_only=dead,
                gone=gone,
                own=self.lost_claims(),
            )
            record_decisions(connection, [each for row in unknown for each in decision(row, Reason.UNKNOWN, now, {})])
        self._count({MessageStatus.UNKNOWN.value: len(unknown)})
        self._counters.leases_ended(deferred=len(again), unknown=len(unknown))

    # --- the pass

    async def _send_all(self, first: list[Claimed]) -> None:
        commits = GroupCommit(
            database=self._database,
            owner=self.owner,
            clock=self._clock,
            reply_patience=timedelta(seconds=self._patience.dot) + LEASE,
            record=partial(self._endings.record, held=self._held, owner=self.owner),
            recorded=self._recorded,
            counters=self._counters,
        )
        attempts = Attempts(
            database=self._database,
            equipment=self.equipment,
            clock=self._clock,
            connections=self._connections,
            domains=self._domains,
            endings=self._endings,
            commits=commits,
            is_draining=lambda: self._draining,
        )
        servers = self.equipment.servers
        queues: dict[str, asyncio.Queue[Claimed | None]] = {name: asyncio.Queue() for name in servers}
        workers = [task for name, server in servers.items() for task in self._staff(server, queues[name], attempts)]
        works = [
            _every(RENEW_EVERY_S, self._renew, "leases_not_renewed"),
            _every(ATTEND_EVERY_S, partial(self.attend, at_least=1), "not_seen_by_others"),
        ]
        if not self._sole_worker:
            works.append(_every(TAKE_UP_EVERY_S, self._take_up_what_others_left, "leases_not_taken_up"))
        beside = [asyncio.create_task(each) for each in works]
        feeding = asyncio.create_task(self._feed(first, queues))
        try:
            await asyncio.gather(*workers)
        finally:
            for task in (feeding, *beside, *workers):
                task.cancel()
            await commits.close()
            self._held.clear()  # what could not be decided is left to its lease
        feeding.result()

    async def _feed(self, batch: list[Claimed], queues: Mapping[str, asyncio.Queue[Claimed | None]]) -> None:
        """Claim until nothing is due and nothing is under way: one slow server must not keep new mail waiting.

        Whatever becomes of claiming: what is on its way arrives.
        """
        try:
            while batch or not await _all_done(queues.values(), within=AGAIN_S):
                for claimed in batch:
                    queues[claimed.server].put_nowait(claimed)
                while not self._draining and len(_busy(queues)) == len(queues):
                    await asyncio.sleep(0.005)
                batch = await asyncio.to_thread(self._claim, _busy(queues))
        finally:
            for queue in queues.values():
                queue.put_nowait(None)

    async def _renew(self) -> None:
        lease = Lease(owner=self.owner, until=self._clock() + LEASE)
        await asyncio.to_thread(self._renew_rows, self._rows_held(), lease)

    async def _take_up_what_others_left(self) -> None:
        """A pass may last for hours; another worker's death is noticed meanwhile."""
        await asyncio.to_thread(self._look_at_domains)
        if self.may_claim():
            await asyncio.to_thread(self._end_leases)

    def _look_at_domains(self) -> None:
        with self._database.reading() as connection:
            self._domains.look_again(connection)

    def _write_counts(self) -> None:
        if self._domains.has_counts:
            with self._database.transaction() as connection:
                self._domains.write_counts(connection, self._clock())

    def _renew_rows(self, rows: list[int], lease: Lease) -> None:
        with self._database.transaction() as connection:
            renew(connection, rows, lease)

    def _staff(
        self, server: Server, queue: asyncio.Queue[Claimed | None], attempts: Attempts
    ) -> list[asyncio.Task[None]]:
        """Who works for one server: one that writes letters, and one for each connection."""
        many = server.address.connections
        ready: asyncio.Queue[Ready | None] = asyncio.Queue(many)
        carriers = [asyncio.create_task(self._carry(server, ready, queue.task_done, attempts)) for _ in range(many)]
        return [asyncio.create_task(_write_ahead(queue, ready, many, attempts)), *carriers]

    async def _carry(
        self, server: Server, ready: asyncio.Queue[Ready | None], done: Callable[[], None], attempts: Attempts
    ) -> None:
        """One connection's worth of work."""
        while (each := await ready.get()) is not None:
            claimed, written = each
            if not await attempts.make(server, claimed, written):
                self._held.pop(claimed.claim, None)
            done()

    def _recorded(self, outcomes: list[Outcome], written: list[Outcome]) -> None:
        if outcomes:
            self._domains.committed()
        self._count(Counter(outcome.status.value for outcome in written if not outcome.is_given_back))
        for outcome in outcomes:
            self._held.pop(outcome.claim, None)

    def _count(self, statuses: Mapping[str, int]) -> None:
        with self._counting:  # several threads at once
            self._counts.update(statuses)
        self._counters.decided(statuses)


def _warn_unavailable(server: str, error: str) -> None:
    log.warning("smtp_server_unavailable", server=server, error=error)


async def _write_ahead(
    queue: asyncio.Queue[Claimed | None], ready: asyncio.Queue[Ready | None], many: int, attempts: Attempts
) -> None:
    """Letters are written while connections wait for commits and replies: a few ahead, for they age.

    And several at a time: the second finds the processor's caches as the first left them.
    """
    began = time.monotonic()
    while (claimed := await queue.get()) is not None:
        await ready.put((claimed, attempts.write(claimed)))
        if time.monotonic() - began > WRITE_FOR_S:
            await asyncio.sleep(0)  # whoever has an answer
            began = time.monotonic()
    for _ in range(many):
        await ready.put(None)


async def _every(seconds: float, work: Callable[[], Awaitable[None]], failure: str) -> None:
    """Again and again, whatever keeps it from being done for a while, which is told once."""
    failed = False
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
            failed = False
        except SQLAlchemyError as error:
            if not failed:
                log.error(failure, error=type(error).__name__)
            failed = True
        except Exception:
            log.exception(failure)


def _busy(queues: Mapping[str, asyncio.Queue[Claimed | None]]) -> list[str]:
    """The servers for which so much is claimed that no more shall be."""
    return [name for name, queue in queues.items() if queue.qsize() > CLAIM_AHEAD // 2]


async def _all_done(queues: Iterable[asyncio.Queue[Claimed | None]], *, within: float) -> bool:
    """Whether all that was put into these queues is done, now or within so many seconds."""
    joining = [asyncio.create_task(queue.join()) for queue in queues]
    _, waiting = await asyncio.wait(joining, timeout=within)
    for task in waiting:
        task.cancel()
    return not waiting

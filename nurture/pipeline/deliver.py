"""Stage 3: messages go out, and what was promised about them holds whatever dies in between (spec 6.1).

As long as the database keeps what it committed, the end of a message is written again only after the next hop refused
that attempt, or because a person said so. The order of commits, for each attempt:

    1  commit the claim: attempt, owner, lease epoch, Message-ID     (`_claim`; the intent itself is `advance`'s commit)
    2  speak SMTP up to the body, without the final dot              (`Conversation.offer`)
    3  commit `dotted`, guarded by owner and epoch, after looking
       again at suppression, consent and the enrollment              (`GroupCommit.dotted` -> `mark_dotted`)
    4  write the dot, at most 5 s after that commit began            (`Conversation.dot`)
    5  commit the outcome, guarded by owner and epoch                (`GroupCommit.outcome` -> `_record`)

Die before 3 and the message is tried again; die between 3 and 5 and it is `unknown`, and nobody sends it again by
itself. Where the claim was lost, or the database did not confirm 3, the link is closed without another byte.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture.delivery.connections import SERVER_DOWN_RETRY, Connections
from nurture.delivery.conversation import CannotCarry, Conversation, LinkLost, Patience
from nurture.delivery.servers import Server, ServerUnavailable
from nurture.domain.clearance import Go, Never, NotNow, clear
from nurture.domain.message import MessageStatus
from nurture.domain.reasons import Reason
from nurture.pipeline.claimed import Claimed, DeliverReport, Equipment, decision, moved_along, why_never
from nurture.pipeline.counters import Counters
from nurture.pipeline.domains import Domains, held_by
from nurture.pipeline.endings import Endings, bounced_of, told_of
from nurture.pipeline.group_commit import CommitUnknown, GroupCommit
from nurture.pipeline.outgoing import Outgoing, RenderFailed
from nurture.store.bounces import record_bounces
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.outbox import (
    Dotted,
    Lease,
    Outcome,
    claim,
    due_messages,
    end_leases,
    give_up,
    owners_sending,
    postpone,
    record_outcomes,
    renew,
    tell_blocks,
)
from nurture.store.presence import Presence, absent

DOT_WITHIN_S = 5.0
LEASE = timedelta(minutes=2)
RENEW_EVERY_S = 20.0
TAKE_UP_EVERY_S = 5.0
LEASE_GRACE = timedelta(seconds=30)
CLAIM_AHEAD = 250
LOOK_AGAIN = timedelta(seconds=5)
WRITE_FOR_S = 0.005
"""How long letters are written before others have their turn."""
AGAIN_S = 0.25
"""How soon to claim again while the last messages of a pass are under way."""

Ready = tuple[Claimed, Outgoing | Outcome]
"""A claimed message with its letter, or with how its attempt ended for want of one."""

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
        self._letters = equipment.letters
        self._rules, self._limits = equipment.rules, equipment.limits
        self._servers = equipment.servers
        self._next: Equipment | None = None
        self._clock = clock
        self.owner = owner
        self._sole_worker = sole_worker
        self._patience = patience or Patience()
        self._held: dict[int, Claimed] = {}
        self._counts: Counter[str] = Counter()
        self._counters = counters or Counters()
        self._connections = Connections(clock=clock, warn=_warn_unavailable)
        self._due_by: datetime | None = None
        self._draining = False
        self._presence = Presence(database, owner)
        self._domains = Domains()
        self._endings = Endings(clock=clock, rng=rng, domains=self._domains, counters=self._counters)
        self.may_claim: Callable[[], bool] = lambda: True
        """Asked before each claim; what is claimed already goes on its way."""

    def drain(self) -> None:
        """Claim nothing more; what is on its way is finished."""
        self._draining = True

    def use(self, equipment: Equipment) -> None:
        """From the next pass on; the present one claims nothing more."""
        self._next = equipment

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()
        await asyncio.to_thread(self._write_counts)
        await asyncio.to_thread(self._presence.end)

    async def deliver(self, *, due_by: datetime | None = None) -> DeliverReport:
        """Send everything that is due, and what becomes due meanwhile; with `due_by`, what is due by then alone.

        Claims, sends and commits overlap; returns when nothing is left.
        """
        await self._take_up()
        self._counts = Counter()
        self._connections = Connections(clock=self._clock, warn=_warn_unavailable)
        self._due_by = due_by
        await asyncio.to_thread(self._presence.keep)
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
        kept = {name: self._servers.get(name) for name in equipment.servers}
        before = dict(self._servers)
        self._letters = equipment.letters
        self._rules, self._limits = equipment.rules, equipment.limits
        self._servers = {
            name: old if (old := kept[name]) is not None and old.address == new.address else new
            for name, new in equipment.servers.items()
        }
        for server in before.values():
            if server not in self._servers.values():
                await server.close()

    # --- 1: claiming

    def _claim(self) -> list[Claimed]:
        """Decide about due messages, and take those that may go, in one transaction."""
        while not self._draining and self._next is None and self.may_claim():
            now = self._clock()
            with self._database.transaction() as connection:
                busy = self._limits.under_way(connection)
                full = self._limits.full(busy)
                closed = self._domains.look(connection, now)
                rows = due_messages(
                    connection,
                    now=self._due_by or now,
                    limit=CLAIM_AHEAD,
                    besides=full,
                    closed=closed,
                    is_scarce=self._limits.may_bind,
                )
                if not rows:
                    return []
                claimed = self._take(connection, rows, busy, now)
            if claimed:
                self._held.update({each.row.id: each for each in claimed})
                return claimed
        return []

    def _take(self, connection: Connection, rows: Sequence[Any], busy: Counter[str], now: datetime) -> list[Claimed]:
        self._letters.prepare(connection, rows)
        waiting = self._letters.waiting(connection, rows, self._rules, now)
        going: dict[int, Any] = {}
        moments: dict[int, tuple[datetime, datetime | None]] = {}
        blocks: dict[int, str | None] = {}
        over: dict[tuple[MessageStatus, str], list[int]] = defaultdict(list)
        decisions: list[NewDecision] = []
        for row in rows:
            match clear(waiting[row.id], now):
                case Go():
                    going[row.id] = row
                    if row.blocked_by is not None:
                        blocks[row.id] = None
                case NotNow(until=until, code=code):
                    moments[row.id] = (until, moved_along(row, until, code, now))
                    if row.blocked_by != code.value:  # told once, not at every look
                        blocks[row.id] = code.value
                        decisions += decision(row, code, now, {"until": until.isoformat()})
                case Never(code=code, why=why) as never:
                    over[(never.status, why)].append(row.id)
                    decisions += decision(row, code, now, why_never(why, waiting[row.id].expires_at, code))
        gate = self._domains.gate(list(going.values()), now)
        for row_id, pause in gate.barred.items():
            row = going.pop(row_id)
            moments[row_id] = held_by(pause, row, waiting[row_id].expires_at)
            if row.blocked_by != Reason.PAUSED.value:
                blocks[row_id] = Reason.PAUSED.value
                decisions += decision(row, Reason.PAUSED, now, {"why": str(pause), "until": pause.until.isoformat()})
        for row_id in gate.left:
            going.pop(row_id)
        permits = self._limits.admit(
            connection,
            list(going.values()),
            busy=busy,
            server_of=self._letters.server_of,
            now=now,
            patiently=self._due_by is not None,
        )
        for row_id, (until, limit) in permits.barred.items():
            row = going.pop(row_id)
            moments[row_id] = (until, moved_along(row, until, Reason.LIMITED, now))
            if row.blocked_by != Reason.LIMITED.value:
                blocks[row_id] = Reason.LIMITED.value
                decisions += decision(row, Reason.LIMITED, now, {"limit": limit, "until": until.isoformat()})
        for row_id in permits.left:
            going.pop(row_id)
        for (status, why), ids in over.items():
            give_up(connection, ids, status, why=why, now=now)
            self._count({status.value: len(ids)})
        postpone(connection, moments)
        tell_blocks(connection, blocks)
        record_decisions(connection, decisions)
        materials = self._letters.gather(connection, list(going.values()))
        headers = {row_id: row.message_id or self._letters.message_id(row) for row_id, row in going.items()}
        taken = set(claim(connection, headers, Lease(owner=self.owner, until=now + LEASE)))
        return [
            Claimed(
                row=going[row_id],
                epoch=going[row_id].lease_epoch + 1,
                header=headers[row_id],
                server=self._letters.server_of(going[row_id]),
                material=materials[row_id],
                expires_at=waiting[row_id].expires_at,
                starts_at=permits.starts.get(row_id),
                is_trying=row_id in gate.trying,
            )
            for row_id in going
            if row_id in taken
        ]

    def _end_leases(self) -> None:
        """What a dead owner left: try again what was not dotted, list the rest as unknown."""
        now = self._clock()
        dead = self.owner if self._sole_worker else None
        with self._database.transaction() as connection:
            gone = absent(connection, owners_sending(connection, besides=self.owner))
            again, unknown = end_leases(connection, now=now, grace=LEASE_GRACE, dead_owners_only=dead, gone=gone)
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
            record=self._record,
            recorded=self._recorded,
            counters=self._counters,
        )
        queues: dict[str, asyncio.Queue[Claimed | None]] = {name: asyncio.Queue() for name in self._servers}
        workers = [
            task for name, server in self._servers.items() for task in self._staff(server, queues[name], commits)
        ]
        beside = [asyncio.create_task(self._renew())]
        if not self._sole_worker:
            beside.append(asyncio.create_task(self._take_up_what_others_left()))
        feeding = asyncio.create_task(self._feed(first, queues))
        try:
            await asyncio.wait([feeding])  # whatever became of claiming: what is on its way arrives
            for queue in queues.values():
                queue.put_nowait(None)
            await asyncio.gather(*workers)
        finally:
            for task in (feeding, *beside, *workers):
                task.cancel()
            await commits.close()
            self._held.clear()  # what could not be decided is left to its lease
        feeding.result()

    async def _feed(self, batch: list[Claimed], queues: Mapping[str, asyncio.Queue[Claimed | None]]) -> None:
        """Claim until nothing is due and nothing is under way: one slow server must not keep new mail waiting."""
        while True:
            for claimed in batch:
                queues[claimed.server].put_nowait(claimed)
            while not self._draining and any(queue.qsize() > CLAIM_AHEAD // 2 for queue in queues.values()):
                await asyncio.sleep(0.005)
            batch = await asyncio.to_thread(self._claim)
            if not batch and await _all_done(queues.values(), within=AGAIN_S):
                return

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            rows = list(self._held)
            lease = Lease(owner=self.owner, until=self._clock() + LEASE)
            try:
                await asyncio.to_thread(self._renew_rows, rows, lease)
            except SQLAlchemyError as error:
                log.error("leases_not_renewed", error=type(error).__name__)

    async def _take_up_what_others_left(self) -> None:
        """A pass may last for hours; another worker's death is noticed meanwhile."""
        while True:
            await asyncio.sleep(TAKE_UP_EVERY_S)
            try:
                await asyncio.to_thread(self._look_at_domains)
                if self.may_claim():
                    await asyncio.to_thread(self._end_leases)
            except SQLAlchemyError as error:
                log.error("leases_not_taken_up", error=type(error).__name__)

    def _look_at_domains(self) -> None:
        with self._database.reading() as connection:
            self._domains.look_again(connection)

    def _write_counts(self) -> None:
        if self._domains.has_counts:
            with self._database.transaction() as connection:
                self._domains.write_counts(connection, self._clock())

    def _renew_rows(self, rows: list[int], lease: Lease) -> None:
        self._presence.keep()
        with self._database.transaction() as connection:
            renew(connection, rows, lease)

    def _staff(
        self, server: Server, queue: asyncio.Queue[Claimed | None], commits: GroupCommit
    ) -> list[asyncio.Task[None]]:
        """Who works for one server: one that writes letters, and one for each connection."""
        many = server.address.connections
        ready: asyncio.Queue[Ready | None] = asyncio.Queue(many)
        carriers = [asyncio.create_task(self._carry(server, ready, queue.task_done, commits)) for _ in range(many)]
        return [asyncio.create_task(self._write_ahead(queue, ready, many)), *carriers]

    async def _write_ahead(
        self, queue: asyncio.Queue[Claimed | None], ready: asyncio.Queue[Ready | None], many: int
    ) -> None:
        """Letters are written while connections wait for commits and replies: a few ahead, for they age.

        And several at a time: the second finds the processor's caches as the first left them.
        """
        began = time.monotonic()
        while (claimed := await queue.get()) is not None:
            await ready.put((claimed, self._written(claimed)))
            if time.monotonic() - began > WRITE_FOR_S:
                await asyncio.sleep(0)  # whoever has an answer
                began = time.monotonic()
        for _ in range(many):
            await ready.put(None)

    async def _carry(
        self, server: Server, ready: asyncio.Queue[Ready | None], done: Callable[[], None], commits: GroupCommit
    ) -> None:
        """One connection's worth of work."""
        while (each := await ready.get()) is not None:
            claimed, written = each
            if self._draining:
                outcome: Outcome | None = self._endings.given_back(claimed, "given back at shutdown")
            elif isinstance(written, Outcome):
                outcome = written
            else:
                if claimed.starts_at is not None:
                    await server.rest((claimed.starts_at - self._clock()).total_seconds())
                outcome = await self._contained(server, claimed, written, commits)
            if outcome is None:
                self._held.pop(claimed.row.id, None)  # the claim is somebody else's now, or its lease will end
            else:
                commits.outcome(outcome)
            done()

    def _written(self, claimed: Claimed) -> Outgoing | Outcome:
        """The letter, or how the attempt ends without one."""
        try:
            return self._letters.write(claimed.row, claimed.header, claimed.material)
        except RenderFailed as error:
            return self._endings.unwritten(claimed, str(error))
        except Exception as error:  # noqa: BLE001  logged there
            return self._endings.tripped(claimed, error)

    async def _contained(
        self, server: Server, claimed: Claimed, outgoing: Outgoing, commits: GroupCommit
    ) -> Outcome | None:
        try:
            return await self._attempt(server, claimed, outgoing, commits)
        except Exception as error:  # noqa: BLE001  logged there
            return self._endings.tripped(claimed, error)

    # --- 2, 3, 4: one attempt

    async def _attempt(
        self, server: Server, claimed: Claimed, outgoing: Outgoing, commits: GroupCommit
    ) -> Outcome | None:
        if claimed.expires_at is not None and claimed.expires_at <= self._clock():
            return self._endings.deferred(claimed, "its time ended while it stood in line", until=self._clock())
        pause = None if claimed.is_trying else self._domains.closed_to(claimed.row, self._clock())
        if pause is not None:
            return self._endings.deferred(claimed, str(pause), until=self._clock())
        try:
            async with self._connections.conversation(server) as conversation:
                return await self._speak(conversation, claimed, outgoing, commits)
        except ServerUnavailable as error:
            return self._endings.deferred(claimed, str(error), until=self._clock() + SERVER_DOWN_RETRY)
        except LinkLost as error:
            return self._endings.deferred(claimed, f"link lost before the end of the message: {error}")

    async def _speak(
        self, conversation: Conversation, claimed: Claimed, outgoing: Outgoing, commits: GroupCommit
    ) -> Outcome | None:
        try:
            refusal = await conversation.offer(outgoing.envelope_from, outgoing.to, outgoing.wire)
        except CannotCarry as error:
            return self._endings.failed(claimed, str(error))
        if refusal is not None:
            return self._endings.answered(claimed, refusal)
        mark = Dotted(
            message_row=claimed.row.id,
            epoch=claimed.epoch,
            subject=outgoing.subject,
            link_set=outgoing.link_set,
            links=outgoing.links,
        )
        try:
            began = await commits.dotted(mark)
        except CommitUnknown:
            conversation.abort()
            return None
        if began is None:
            # paused, ended or suppressed since the claim: the next look says which, and what follows
            conversation.abort()
            again = self._clock() + LOOK_AGAIN
            return self._endings.deferred(claimed, "something changed when it was about to end", until=again)
        if time.monotonic() - began > DOT_WITHIN_S:
            conversation.abort()
            return self._endings.deferred(claimed, "the database took too long to confirm")
        if not conversation.open:
            raise LinkLost("the server left, or spoke unasked")
        try:
            reply = await conversation.dot()
        except Exception as error:  # noqa: BLE001  whatever it is: from here on nobody knows
            conversation.abort()
            return self._endings.unknown(claimed, f"link lost after the end: {error}")
        return self._endings.answered(claimed, reply)

    # --- 5: outcomes

    def _record(self, connection: Connection, outcomes: list[Outcome], now: datetime) -> list[Outcome]:
        """The outcome and what follows from it, in one transaction, which may fail and be tried again."""
        judged = self._domains.judge(connection, outcomes, self._held, now, self._endings.again)
        written = record_outcomes(connection, judged, owner=self.owner, now=now)
        record_decisions(connection, told_of(written, self._held, now))
        record_bounces(connection, bounced_of(written, self._held), now=now)
        return written

    def _recorded(self, outcomes: list[Outcome], written: list[Outcome]) -> None:
        if outcomes:
            self._domains.committed()
        self._count(Counter(outcome.status.value for outcome in written))
        for outcome in outcomes:
            self._held.pop(outcome.message_row, None)

    def _count(self, statuses: Mapping[str, int]) -> None:
        self._counts.update(statuses)
        self._counters.decided(statuses)


def _warn_unavailable(server: str, error: str) -> None:
    log.warning("smtp_server_unavailable", server=server, error=error)


async def _all_done(queues: Iterable[asyncio.Queue[Claimed | None]], *, within: float) -> bool:
    """Whether all that was put into these queues is done, now or within so many seconds."""
    joining = [asyncio.create_task(queue.join()) for queue in queues]
    _, waiting = await asyncio.wait(joining, timeout=within)
    for task in waiting:
        task.cancel()
    return not waiting

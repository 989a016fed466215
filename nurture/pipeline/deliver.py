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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from nurture.delivery.conversation import Conversation, LinkLost, Patience
from nurture.delivery.servers import Server, ServerUnavailable
from nurture.domain.backoff import next_attempt
from nurture.domain.clearance import Go, Never, NotNow, clear
from nurture.domain.message import MessageStatus, ReplyClass
from nurture.domain.reasons import Reason
from nurture.pipeline.group_commit import CommitUnknown, GroupCommit
from nurture.pipeline.outgoing import LetterWriter, Outgoing, RenderFailed
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
    postpone,
    record_outcomes,
    renew,
)

DOT_WITHIN_S = 5.0
LEASE = timedelta(minutes=2)
RENEW_EVERY_S = 20.0
LEASE_GRACE = timedelta(seconds=30)
CLAIM_AHEAD = 250
A_NIGHT = timedelta(hours=24)
SERVER_DOWN_RETRY = timedelta(minutes=1)

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class DeliverReport:
    sent: int = 0
    deferred: int = 0
    bounced: int = 0
    failed: int = 0
    canceled: int = 0
    unknown: int = 0


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A message of this process's, for one attempt."""

    row: Any
    epoch: int
    header: str
    server: str


class Deliverer:
    """Sends what is due. One for the life of a process: its connections stay open between passes."""

    def __init__(
        self,
        *,
        database: Database,
        letters: LetterWriter,
        servers: Mapping[str, Server],
        clock: Callable[[], datetime],
        rng: random.Random,
        owner: str,
        sole_worker: bool,
        patience: Patience | None = None,
    ) -> None:
        self._database = database
        self._letters = letters
        self._servers = servers
        self._clock = clock
        self._rng = rng
        self._owner = owner
        self._sole_worker = sole_worker
        self._patience = patience or Patience()
        self._held: dict[int, Claimed] = {}
        self._counts: Counter[str] = Counter()
        self._down: dict[str, str] = {}
        self._draining = False

    def drain(self) -> None:
        """Claim nothing more; what is on its way is finished."""
        self._draining = True

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()

    async def deliver(self) -> DeliverReport:
        """Send everything that is due. Claims, sends and commits overlap; returns when nothing is left."""
        self._counts = Counter()
        self._down = {}
        await asyncio.to_thread(self._end_leases)
        first = await asyncio.to_thread(self._claim)
        if first:
            await self._send_all(first)
        counts = {status: self._counts[status] for status in DeliverReport.__dataclass_fields__}
        return DeliverReport(**counts)

    # --- 1: claiming

    def _claim(self) -> list[Claimed]:
        """Decide about due messages, and take those that may go, in one transaction."""
        while not self._draining:
            now = self._clock()
            with self._database.transaction() as connection:
                rows = due_messages(connection, now=now, limit=CLAIM_AHEAD)
                if not rows:
                    return []
                claimed = self._take(connection, rows, now)
            if claimed:
                self._held.update({each.row.id: each for each in claimed})
                return claimed
        return []

    def _take(self, connection: Connection, rows: Sequence[Any], now: datetime) -> list[Claimed]:
        self._letters.prepare(connection, rows)
        waiting = self._letters.waiting(connection, rows, now)
        going: dict[int, Any] = {}
        moments: dict[int, tuple[datetime, datetime | None]] = {}
        decisions: list[NewDecision] = []
        for row in rows:
            match clear(waiting[row.id], now):
                case Go():
                    going[row.id] = row
                case NotNow(until=until, code=code):
                    moments[row.id] = (until, _moved_along(row.give_up_at, until - now))
                    decisions += _decision(row, code, now, {"until": until.isoformat()})
                case Never(code=code, why=why):
                    status = MessageStatus(code.value)
                    give_up(connection, [row.id], status, why=why, now=now)
                    self._counts[status.value] += 1
                    decisions += _decision(row, code, now, {"why": why})
        postpone(connection, moments)
        record_decisions(connection, decisions)
        headers = {row_id: self._letters.message_id(row) for row_id, row in going.items()}
        lease = Lease(owner=self._owner, until=now + LEASE)
        return [
            Claimed(
                row=going[row_id],
                epoch=going[row_id].lease_epoch + 1,
                header=going[row_id].message_id or headers[row_id],
                server=self._letters.server_of(going[row_id]),
            )
            for row_id in claim(connection, headers, lease)
        ]

    def _end_leases(self) -> None:
        """What a dead owner left: try again what was not dotted, list the rest as unknown."""
        now = self._clock()
        dead = self._owner if self._sole_worker else None
        with self._database.transaction() as connection:
            _, unknown = end_leases(connection, now=now, grace=LEASE_GRACE, dead_owners_only=dead)
            record_decisions(connection, [each for row in unknown for each in _decision(row, Reason.UNKNOWN, now, {})])
        self._counts["unknown"] += len(unknown)

    # --- the pass

    async def _send_all(self, first: list[Claimed]) -> None:
        commits = GroupCommit(
            database=self._database,
            owner=self._owner,
            clock=self._clock,
            reply_patience=timedelta(seconds=self._patience.dot) + LEASE,
            record=self._record,
        )
        queues: dict[str, asyncio.Queue[Claimed | None]] = {name: asyncio.Queue() for name in self._servers}
        workers = [
            asyncio.create_task(self._work(server, queues[name], commits))
            for name, server in self._servers.items()
            for _ in range(server.address.connections)
        ]
        renewing = asyncio.create_task(self._renew())
        try:
            batch = first
            while batch:
                for claimed in batch:
                    queues[claimed.server].put_nowait(claimed)
                while not self._draining and any(queue.qsize() > CLAIM_AHEAD // 2 for queue in queues.values()):
                    await asyncio.sleep(0.005)
                batch = await asyncio.to_thread(self._claim)
                if not batch and any(queue.qsize() for queue in queues.values()):
                    await asyncio.sleep(0.02)
                    batch = await asyncio.to_thread(self._claim)
            for name, server in self._servers.items():
                for _ in range(server.address.connections):
                    queues[name].put_nowait(None)
            await asyncio.gather(*workers)
        finally:
            for task in (renewing, *workers):
                task.cancel()
            await commits.close()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            rows = list(self._held)
            lease = Lease(owner=self._owner, until=self._clock() + LEASE)
            await asyncio.to_thread(self._renew_rows, rows, lease)

    def _renew_rows(self, rows: list[int], lease: Lease) -> None:
        with self._database.transaction() as connection:
            renew(connection, rows, lease)

    async def _work(self, server: Server, queue: asyncio.Queue[Claimed | None], commits: GroupCommit) -> None:
        """One connection's worth of work."""
        while (claimed := await queue.get()) is not None:
            if self._draining:
                outcome: Outcome | None = self._given_back(claimed)
            else:
                await server.turn()
                outcome = await self._contained(server, claimed, commits)
            if outcome is None:
                self._held.pop(claimed.row.id, None)  # the claim is somebody else's now, or its lease will end
            else:
                commits.outcome(outcome)

    async def _contained(self, server: Server, claimed: Claimed, commits: GroupCommit) -> Outcome | None:
        """A message that trips over a mistake of ours must not keep the others from going."""
        try:
            return await self._attempt(server, claimed, commits)
        except Exception as error:
            log.exception("attempt_failed", message=claimed.row.id)
            return self._deferred(claimed, ReplyClass.SOFT, f"a mistake inside nurture: {type(error).__name__}")

    # --- 2, 3, 4: one attempt

    async def _attempt(self, server: Server, claimed: Claimed, commits: GroupCommit) -> Outcome | None:
        try:
            outgoing = self._letters.write(claimed.row, claimed.header)
        except RenderFailed as error:
            return self._outcome(claimed, MessageStatus.FAILED, text=str(error))
        try:
            conversation = await self._conversation(server)
        except ServerUnavailable as error:
            return self._server_down(server, claimed, str(error))
        try:
            outcome = await self._speak(conversation, claimed, outgoing, commits)
        except LinkLost as error:
            conversation.abort()
            return self._deferred(claimed, ReplyClass.SOFT, f"link lost before the end of the message: {error}")
        server.give_back(conversation)
        return outcome

    async def _speak(
        self, conversation: Conversation, claimed: Claimed, outgoing: Outgoing, commits: GroupCommit
    ) -> Outcome | None:
        refusal = await conversation.offer(outgoing.envelope_from, outgoing.to, outgoing.wire)
        if refusal is not None:
            return self._refused(claimed, refusal.klass, refusal.text)
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
            conversation.abort()
            return self._outcome(claimed, MessageStatus.CANCELED, text="no longer wanted when it was about to end")
        if time.monotonic() - began > DOT_WITHIN_S:
            conversation.abort()
            return self._deferred(claimed, ReplyClass.SOFT, "the database took too long to confirm")
        try:
            reply = await conversation.dot()
        except LinkLost as error:
            conversation.abort()
            return self._outcome(claimed, MessageStatus.UNKNOWN, text=f"link lost after the end: {error}")
        if reply.accepted:
            return self._outcome(claimed, MessageStatus.SENT, klass=reply.klass, text=reply.text)
        return self._refused(claimed, reply.klass, reply.text)

    async def _conversation(self, server: Server) -> Conversation:
        if server.address.name in self._down:
            raise ServerUnavailable(self._down[server.address.name])
        return await server.conversation()

    # --- 5: outcomes

    def _outcome(
        self, claimed: Claimed, status: MessageStatus, *, klass: ReplyClass | None = None, text: str | None = None
    ) -> Outcome:
        return Outcome(
            message_row=claimed.row.id,
            epoch=claimed.epoch,
            status=status,
            reply_class=klass.value if klass is not None else None,
            reply=text,
        )

    def _refused(self, claimed: Claimed, klass: ReplyClass, text: str) -> Outcome:
        if klass is ReplyClass.HARD:
            return self._outcome(claimed, MessageStatus.BOUNCED, klass=klass, text=text)
        return self._deferred(claimed, klass, text)

    def _deferred(self, claimed: Claimed, klass: ReplyClass, text: str, *, until: datetime | None = None) -> Outcome:
        now = self._clock()
        again = until or next_attempt(now, attempt=claimed.row.attempt + 1, chance=self._rng.random())
        return Outcome(
            message_row=claimed.row.id,
            epoch=claimed.epoch,
            status=MessageStatus.DEFERRED,
            reply_class=klass.value,
            reply=text,
            not_before=again,
        )

    def _server_down(self, server: Server, claimed: Claimed, why: str) -> Outcome:
        """Nothing was said about this message; the rest of the pass does not knock again."""
        if server.address.name not in self._down:
            self._down[server.address.name] = why
            log.warning("smtp_server_unavailable", server=server.address.name, error=why)
        return self._deferred(claimed, ReplyClass.SOFT, why, until=self._clock() + SERVER_DOWN_RETRY)

    def _given_back(self, claimed: Claimed) -> Outcome:
        return self._deferred(claimed, ReplyClass.SOFT, "given back at shutdown", until=self._clock())

    def _record(self, connection: Connection, outcomes: list[Outcome], *, now: datetime) -> None:
        """The outcome and what follows from it, in one transaction."""
        written = record_outcomes(connection, outcomes, owner=self._owner, now=now)
        decisions: list[NewDecision] = []
        bounced = []
        for outcome in written:
            claimed = self._held.pop(outcome.message_row, None)
            if claimed is None:
                continue
            self._counts[outcome.status.value] += 1
            detail: dict[str, Any] = {"reply": outcome.reply} if outcome.reply else {}
            if outcome.status is MessageStatus.FAILED:
                detail = {"why": outcome.reply}
            if outcome.not_before is not None:
                detail["until"] = outcome.not_before.isoformat()
            decisions += _decision(claimed.row, Reason(outcome.status.value), now, detail)
            if outcome.status is MessageStatus.BOUNCED:
                bounced.append((claimed.row, outcome.reply or ""))
        record_decisions(connection, decisions)
        record_bounces(connection, bounced, now=now)


def _moved_along(give_up_at: datetime | None, closed: timedelta) -> datetime | None:
    """A weekend or a hold is no time in which sending failed; a night is."""
    return give_up_at + closed if give_up_at is not None and closed > A_NIGHT else give_up_at


def _decision(row: Any, code: Reason, now: datetime, detail: dict[str, Any]) -> list[NewDecision]:
    if row.lead_id is None:
        return []
    return [
        NewDecision(
            lead_id=row.lead_id,
            enrollment_id=row.enrollment_id,
            cadence=row.cadence,
            step=row.step,
            code=code,
            at=now,
            detail=detail,
        )
    ]

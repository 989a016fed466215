"""One attempt: what was promised about a message holds whatever dies in between (spec 6.1).

As long as the database keeps what it committed, the end of a message is written again only after the next hop refused
that attempt, or because a person said so. The order of commits:

    1  commit the claim: attempt, owner, lease epoch, Message-ID     (`claim_messages`; the intent is `advance`'s)
    2  speak SMTP up to the body, without the final dot              (`Conversation.offer`)
    3  commit `dotted`, guarded by owner and epoch, after looking
       again at suppression, consent and the enrollment              (`GroupCommit.dotted` -> `mark_dotted`)
    4  write the dot, at most 5 s after that commit began            (`Conversation.dot`)
    5  commit the outcome, guarded by owner and epoch                (`GroupCommit.outcome` -> `Endings.record`)

Die before 3 and the message is tried again; die between 3 and 5 and it is `unknown`, and nobody sends it again by
itself. Where the claim was lost, or the database did not confirm 3, the link is closed without another byte. The states
that a message goes through are drawn in `store/outbox.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from nurture.delivery.connections import SERVER_DOWN_RETRY, Connections
from nurture.delivery.conversation import CannotCarry, Conversation, LinkLost
from nurture.delivery.servers import NoSlot, Server, ServerUnavailable
from nurture.pipeline.claimed import Claimed, Equipment
from nurture.pipeline.domains import Domains
from nurture.pipeline.endings import Endings
from nurture.pipeline.group_commit import CommitUnknown, GroupCommit
from nurture.pipeline.outgoing import Outgoing, RenderFailed
from nurture.store.database import Database
from nurture.store.outbox import Dotted, Outcome

DOT_WITHIN_S = 5.0
LOOK_AGAIN = timedelta(seconds=5)
IN_LINE_AT_MOST = timedelta(minutes=1)
"""Longer than that nobody goes by what was so at the claim: a window closes, a person pauses, sales takes over."""
MISSED = timedelta(seconds=1)
"""A message that starts so much later than its rate said keeps no place any more."""

Written = Outgoing | Outcome
"""A letter, or how its attempt ended for want of one."""


class Attempts:
    """Those of one pass."""

    def __init__(
        self,
        *,
        database: Database,
        equipment: Equipment,
        clock: Callable[[], datetime],
        connections: Connections,
        domains: Domains,
        endings: Endings,
        commits: GroupCommit,
        is_draining: Callable[[], bool],
    ) -> None:
        self._database = database
        self._equipment = equipment
        self._clock = clock
        self._connections = connections
        self._domains = domains
        self._endings = endings
        self._commits = commits
        self._is_draining = is_draining

    def write(self, claimed: Claimed) -> Written:
        """The letter, or how the attempt ends without one."""
        try:
            return self._equipment.letters.write(claimed.row, claimed.header, claimed.material)
        except RenderFailed as error:
            return self._endings.unwritten(claimed, str(error))
        except Exception as error:  # noqa: BLE001  logged there
            return self._endings.tripped(claimed, error)

    async def make(self, server: Server, claimed: Claimed, written: Written) -> bool:
        """Whether it has an outcome, which is on its way into a commit then.

        It has none where the claim is somebody else's now, or its lease will end. Raises nothing: a message that trips
        over a mistake of ours has an outcome too.
        """
        outcome = written if isinstance(written, Outcome) else await self._contained(server, claimed, written)
        if outcome is not None:
            self._commits.outcome(outcome)
        return outcome is not None

    async def _contained(self, server: Server, claimed: Claimed, outgoing: Outgoing) -> Outcome | None:
        try:
            return await self._attempt(server, claimed, outgoing)
        except Exception as error:  # noqa: BLE001  logged there
            return self._endings.tripped(claimed, error)

    async def _attempt(self, server: Server, claimed: Claimed, outgoing: Outgoing) -> Outcome | None:
        outdated = self._outdated(claimed, since=claimed.starts_at or claimed.claimed_at)
        if outdated is not None:
            return outdated
        if claimed.starts_at is not None:
            await self._await_turn(server, claimed.row, claimed.starts_at)
        ready_at = self._clock()
        try:
            async with self._connections.conversation(server) as conversation:
                outdated = self._outdated(claimed, since=ready_at)  # others may have spoken first
                return outdated or await self._speak(conversation, claimed, outgoing)
        except NoSlot as error:
            return self._endings.given_back(claimed, str(error))
        except ServerUnavailable as error:
            return self._endings.deferred(claimed, str(error), until=self._clock() + SERVER_DOWN_RETRY)
        except LinkLost as error:
            return self._endings.deferred(claimed, f"link lost before the end of the message: {error}")

    def _outdated(self, claimed: Claimed, *, since: datetime) -> Outcome | None:
        """Given back, where what was so at the claim is so no more, or may not be: it stood in line `since` then."""
        now = self._clock()
        if self._is_draining():
            return self._endings.given_back(claimed, "given back at shutdown")
        if claimed.expires_at is not None and claimed.expires_at <= now:
            return self._endings.given_back(claimed, "its time ended while it stood in line")
        if now - since > IN_LINE_AT_MOST:
            return self._endings.given_back(claimed, "it stood in line for too long")
        pause = None if claimed.is_trying else self._domains.closed_to(claimed.row, now)
        return self._endings.given_back(claimed, str(pause)) if pause is not None else None

    async def _await_turn(self, server: Server, row: Any, starts_at: datetime) -> None:
        """Until the moment that a rate dealt it; who missed theirs are dealt others, or they would all go at once."""
        if self._clock() - starts_at > MISSED:
            starts_at = await asyncio.to_thread(self._deal, row)
        await server.rest((starts_at - self._clock()).total_seconds())

    def _deal(self, row: Any) -> datetime:
        letters, limits = self._equipment.letters, self._equipment.limits
        with self._database.transaction() as connection:
            return limits.deal(connection, row, letters.server_of, self._clock())

    async def _speak(self, conversation: Conversation, claimed: Claimed, outgoing: Outgoing) -> Outcome | None:
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
            began = await self._commits.dotted(mark)
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

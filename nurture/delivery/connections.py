"""Who speaks with which server now: conversations shared out among the workers of one pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nurture.delivery.conversation import Conversation
from nurture.delivery.servers import NoSlot, Server, ServerUnavailable

SERVER_DOWN_RETRY = timedelta(minutes=1)
"""How soon to knock again at a server that could not be reached."""
LOOK_AGAIN_S = 1.0
"""How soon who waits for a conversation looks whether another may be opened after all."""


@dataclass(frozen=True)
class _Line:
    """Before one server, where workers are more than conversations. Who has `first` is next, at each `freed`."""

    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    freed: asyncio.Event = field(default_factory=asyncio.Event)


Down = dict[str, tuple[datetime, str]]
"""Servers that are left alone: until when, and why."""


class Connections:
    """For one pass; the servers' open connections outlive it, and so does `down`."""

    def __init__(self, *, clock: Callable[[], datetime], warn: Callable[[str, str], None], down: Down) -> None:
        self._clock = clock
        self._warn = warn
        self._down = down
        self._lines: defaultdict[str, _Line] = defaultdict(_Line)

    def why_shut(self, server: Server) -> str | None:
        """Why nobody can speak with it for a while, where that is so."""
        why = server.why_resting or self._why_down(server)
        return None if server.busy_count else why

    @asynccontextmanager
    async def conversation(self, server: Server) -> AsyncIterator[Conversation]:
        """A conversation of one's own, kept for the next message unless an error ends the block, which aborts it.

        A server that sends us away at the first message of a link is left alone for a while, as one that is down.
        Where no more may be opened but others speak, the next that is free, in turn. Raises ServerUnavailable, and
        NoSlot where nobody of ours speaks with it and other processes have all connections.
        """
        conversation = await self._free(server)
        is_new = not conversation.message_count
        try:
            yield conversation
        except BaseException:
            conversation.abort()
            raise
        finally:
            if is_new and conversation.sent_away is not None:  # not where it has had enough of one link
                self._leave_alone(server, conversation.sent_away)
            await server.give_back(conversation)
            self._lines[server.address.name].freed.set()

    async def _free(self, server: Server) -> Conversation:
        line = self._lines[server.address.name]
        while True:
            async with line.first:
                idle = await self._in_turn(server, line)
            if idle is not None:
                return idle
            try:
                return await self._new(server)
            except ServerUnavailable:
                if not server.busy_count:
                    raise

    async def _in_turn(self, server: Server, line: _Line) -> Conversation | None:
        """Waits for one that nobody uses; None as soon as another may be opened."""
        while True:
            line.freed.clear()
            why = server.why_resting
            if why is None:
                idle = await server.idle_conversation()
                why = self._why_down(server)
                if idle is not None or (why is None and server.may_connect):
                    return idle
            if not server.busy_count:
                raise NoSlot(server) if why is None else ServerUnavailable(why)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await line.freed.wait()

    async def _new(self, server: Server) -> Conversation:
        try:
            return await server.conversation()
        except NoSlot:
            raise
        except ServerUnavailable as error:
            self._leave_alone(server, str(error))
            raise

    def _why_down(self, server: Server) -> str | None:
        until, why = self._down.get(server.address.name, (None, None))
        return why if until is not None and self._clock() < until else None

    def _leave_alone(self, server: Server, why: str) -> None:
        """Nobody knocks for a while; those who speak with it go on."""
        name = server.address.name
        self._down[name] = (self._clock() + SERVER_DOWN_RETRY, why)
        self._warn(name, why)

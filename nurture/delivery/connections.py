"""Who speaks with which server now: conversations shared out among the workers of one pass."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from nurture.delivery.conversation import Conversation
from nurture.delivery.servers import Server, ServerUnavailable

SERVER_DOWN_RETRY = timedelta(minutes=1)
"""How soon to knock again at a server that could not be reached."""
WAIT_FOR_FREE_S = 0.01


class Connections:
    """For one pass; the servers' open connections outlive it."""

    def __init__(self, *, clock: Callable[[], datetime], warn: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._warn = warn
        self._down: dict[str, tuple[datetime, str]] = {}
        self._speaking: Counter[str] = Counter()

    @asynccontextmanager
    async def conversation(self, server: Server) -> AsyncIterator[Conversation]:
        """A conversation of one's own, kept for the next message unless an error ends the block, which aborts it.

        A server that sends us away at the first message of a link is left alone for a while, as one that is down.
        Where the server lets us open no more but others speak, the next that is free. Raises ServerUnavailable.
        """
        conversation = await self._free(server)
        name, is_new = server.address.name, not conversation.message_count
        self._speaking[name] += 1
        try:
            yield conversation
        except BaseException:
            conversation.abort()
            raise
        finally:
            self._speaking[name] -= 1
        if is_new and conversation.sent_away is not None:  # not where it has had enough of one link
            self._leave_alone(server, conversation.sent_away)
        server.give_back(conversation)

    async def _free(self, server: Server) -> Conversation:
        while True:
            idle = await server.idle_conversation()
            if idle is not None:
                return idle
            try:
                return await self._new(server)
            except ServerUnavailable:
                if not self._speaking[server.address.name]:
                    raise
            await asyncio.sleep(WAIT_FOR_FREE_S)

    async def _new(self, server: Server) -> Conversation:
        name, now = server.address.name, self._clock()
        until, why = self._down.get(name, (now, ""))
        if now < until:
            raise ServerUnavailable(why)
        try:
            return await server.conversation()
        except ServerUnavailable as error:
            self._leave_alone(server, str(error))
            raise

    def _leave_alone(self, server: Server, why: str) -> None:
        """Nobody knocks for a while; those who speak with it go on."""
        name = server.address.name
        self._down[name] = (self._clock() + SERVER_DOWN_RETRY, why)
        self._warn(name, why)

"""Who speaks with which server now: conversations shared out among the workers of one pass."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from nurture.delivery.conversation import Conversation
from nurture.delivery.servers import NoSlot, Server, ServerUnavailable

SERVER_DOWN_RETRY = timedelta(minutes=1)
"""How soon to knock again at a server that could not be reached."""
LOOK_AGAIN_S = 1.0
"""How soon who stands first looks whether another may be opened after all."""


class _Line:
    """Before one server, where workers are more than conversations: who stands first has the next that is free.

    It is handed over as it is. Were it put back and looked for, the many that come free at one moment would reach the
    next workers one after the other, and fewer marks would share a commit.
    """

    def __init__(self) -> None:
        self._places: deque[asyncio.Future[Conversation | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_empty(self) -> bool:
        return not self._places

    def call(self, conversation: Conversation | None = None) -> bool:
        """The first has this conversation now, or looks again where there is none; whether anybody stands there."""
        while self._places:
            place = self._places.popleft()
            if not place.done():
                place.set_result(conversation)
                return True
        return False

    async def wait(self, server: Server, *, at_front: bool) -> Conversation | None:
        """The conversation with this server that was handed over; None: look for one, or whether to open another."""
        place: asyncio.Future[Conversation | None] = asyncio.get_running_loop().create_future()
        (self._places.appendleft if at_front else self._places.append)(place)
        self._keep_looking()
        try:
            return await place
        except asyncio.CancelledError:
            handed = None if place.cancelled() else place.result()
            if handed is not None:
                handed.abort()
                await server.give_back(handed)
            raise

    def _keep_looking(self) -> None:
        if self._timer is None and self._places:
            self._timer = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.call()
        self._keep_looking()


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
            line = self._lines[server.address.name]
            if not (server.may_hand_over(conversation) and line.call(conversation)):
                await server.give_back(conversation)
                line.call()

    async def _free(self, server: Server) -> Conversation:
        line = self._lines[server.address.name]
        while True:
            handed = await self._in_turn(server, line)
            if handed is not None:
                return handed
            try:
                return await self._new(server)
            except ServerUnavailable:
                if not server.busy_count:
                    raise

    async def _in_turn(self, server: Server, line: _Line) -> Conversation | None:
        """Waits for one that nobody uses; None as soon as another may be opened."""
        is_first = line.is_empty
        while True:
            if is_first:
                why = server.why_resting
                idle = await server.idle_conversation() if why is None else None
                why = why or self._why_down(server)
                may_open = why is None and server.may_connect
                if idle is not None or may_open or not server.busy_count:
                    line.call()  # the next may find something too
                    if idle is None and not may_open:
                        raise NoSlot(server) if why is None else ServerUnavailable(why)
                    return idle
            handed = await line.wait(server, at_front=is_first)
            if handed is not None:
                return handed
            is_first = True

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

"""An in-memory stand-in for the next hop: it accepts every message, keeps it, and nothing leaves the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from nurture.delivery.conversation import Conversation, LinkLost, Patience
from nurture.delivery.replies import Reply
from nurture.delivery.servers import Server, ServerAddress
from nurture.domain.message import ReplyClass


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A message as the next hop would have it: its recipient, its bytes without the final dot, and when."""

    to: str
    wire: bytes
    at: datetime


class InMemoryServer(Server):
    """A next hop without a network. `kept` holds what it accepted, in order."""

    def __init__(self, name: str, *, clock: Callable[[], datetime]) -> None:
        address = ServerAddress(name=name, host="in memory", port=0, security="none", connections=1)
        super().__init__(address, patience=Patience())
        self.kept: list[Kept] = []
        self._clock = clock

    async def rest(self, seconds: float) -> None:
        """Nothing is too fast for it."""

    async def _connect(self) -> Conversation:
        return InMemoryConversation(self._keep)

    def _keep(self, to: str, wire: bytes) -> None:
        self.kept.append(Kept(to=to, wire=wire, at=self._clock()))


class InMemoryConversation(Conversation):
    """Accepts what it is told. As on a wire, a message without its dot has not arrived."""

    def __init__(self, keep: Callable[[str, bytes], None]) -> None:
        super().__init__(asyncio.Transport(), pipelining=True, patience=Patience())
        self._keep = keep
        self._offered: tuple[str, bytes] | None = None
        self._ended = False

    @property
    def open(self) -> bool:
        return not self._ended

    async def offer(self, _sender: str, recipient: str, body: bytes) -> Reply | None:
        if self._ended:
            raise LinkLost("closed")
        self._offered = (recipient, body)
        return None

    async def dot(self) -> Reply:
        if self._ended or self._offered is None:
            raise LinkLost("closed")
        self._keep(*self._offered)
        self._offered = None
        self.message_count += 1
        return Reply(klass=ReplyClass.ACCEPTED, text="250 2.0.0 kept in memory")

    async def quit(self) -> None:
        self._ended = True

    def abort(self) -> None:
        self._ended = True

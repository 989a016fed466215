"""The next hop of a simulation: refuses dead addresses, remembers which messages it took, and forgets their bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from nurture.delivery.conversation import Conversation, LinkLost
from nurture.delivery.replies import Reply, read_reply
from nurture.rehearsal.transport import InMemoryConversation, InMemoryServer

CONNECTIONS = 100
"""Messages that are under way at the same time share their commits."""
_MESSAGE_ID = b"\r\nMessage-ID: <"


class SimulatedHop(InMemoryServer):
    """`taken` holds the ids of the message rows that were accepted since it was last emptied, in order."""

    def __init__(self, name: str, *, clock: Callable[[], datetime], is_dead: Callable[[str], bool]) -> None:
        super().__init__(name, clock=clock)
        self.address = replace(self.address, connections=CONNECTIONS)
        self.taken: list[int] = []
        self._is_dead = is_dead

    async def _connect(self) -> Conversation:
        return _Refusing(self._keep, self._is_dead)

    def _keep(self, to: str, wire: bytes) -> None:
        """A month of mail would fill the memory; its header names the row, as every Message-ID does."""
        start = wire.index(_MESSAGE_ID) + len(_MESSAGE_ID)
        self.taken.append(int(wire[start : wire.index(b".", start)]))


class _Refusing(InMemoryConversation):
    def __init__(self, keep: Callable[[str, bytes], None], is_dead: Callable[[str], bool]) -> None:
        super().__init__(keep)
        self._is_dead = is_dead

    async def offer(self, sender: str, recipient: str, body: bytes) -> Reply | None:
        if self._is_dead(recipient):
            if not self.open:
                raise LinkLost("closed")
            return read_reply(550, "5.1.1 no such user", at_rcpt=True)
        return await super().offer(sender, recipient, body)

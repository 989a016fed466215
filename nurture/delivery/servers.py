"""Connections to the next hops: opened by aiosmtplib, kept open, handed out one conversation at a time."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Protocol

import aiosmtplib
import structlog

from nurture.delivery.conversation import Conversation, LinkLost, Patience

MESSAGES_A_CONNECTION = 1000
"""Then a fresh one: some servers slow down or close after a number of their own."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class ServerAddress:
    """A next hop with everything needed to log in; `password` is the secret itself."""

    name: str
    host: str
    port: int
    security: str
    username: str | None = None
    password: str | None = None
    connections: int = 8


class ServerUnavailable(Exception):
    """No connection, no TLS or no login: nothing was said about any message."""


class Slots(Protocol):
    """Connections to one server that this process may have open, of those that it shares with others."""

    def allow(self, count: int) -> bool:
        """Whether so many may be open, or stay so."""

    @property
    def may_take(self) -> bool:
        """Whether it is worth asking for another."""

    def take(self, count: int) -> bool:
        """Ask for as many more as that takes; whether so many may be open then. Blocks."""


class Server:
    """One next hop: up to `connections` conversations, reused; fewer where other processes have theirs of `slots`."""

    def __init__(self, address: ServerAddress, *, patience: Patience, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.slots: Slots | None = None
        """None: nobody else connects to it."""
        self._patience = patience
        self._tls = tls
        self._idle: list[Conversation] = []
        self.busy_count = 0
        """Conversations that somebody has, or that are being opened or closed."""
        self._ending = 0

    async def rest(self, seconds: float) -> None:
        """Let time pass until a message may start."""
        if seconds > 0:
            await asyncio.sleep(seconds)

    @property
    def why_resting(self) -> str | None:
        """Why nobody shall speak with it for a while, where that is so."""
        return None

    @property
    def connection_count(self) -> int:
        """The busy ones and the idle ones."""
        return self.busy_count + sum(conversation.open for conversation in self._idle)

    @property
    def may_connect(self) -> bool:
        """Whether it is worth trying to open another connection: there is a slot for it, or there may be one."""
        return self.slots is None or self.slots.allow(self.connection_count + 1) or self.slots.may_take

    @property
    def has_slot(self) -> bool:
        """Whether it may have any connection, after asking for one where need be. Blocks."""
        return self.slots is None or self.slots.take(1)

    async def conversation(self) -> Conversation:
        """An open conversation, reused or new, to be given back. Raises ServerUnavailable."""
        return await self.idle_conversation() or await self._opened()

    async def idle_conversation(self) -> Conversation | None:
        """One that is open and that nobody uses, if there is any; to be given back."""
        while self._idle:
            idle = self._idle.pop()
            if _may_go_on(idle) and self._is_allowed(1):
                self.busy_count += 1
                return idle
            await self._leave(idle)
        return None

    def may_hand_over(self, conversation: Conversation) -> bool:
        """Whether another may have it as it is, without its being given back."""
        return _may_go_on(conversation) and self.why_resting is None and self._is_allowed(0)

    async def give_back(self, conversation: Conversation) -> None:
        """Keep it for another message, unless it ended, or others wait for its slot."""
        self.busy_count -= 1
        if conversation.open and self._is_allowed(1):
            self._idle.append(conversation)
        else:
            await self._leave(conversation)

    async def shrink(self) -> None:
        """Close idle connections until those that are open have a slot each."""
        surplus = []
        while self._idle and not self._is_allowed(0):
            surplus.append(self._idle.pop(0))
        await asyncio.gather(*(self._leave(conversation) for conversation in surplus))

    async def close(self) -> None:
        """Close all that nobody uses."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._leave(conversation) for conversation in idle))

    def _is_allowed(self, more: int) -> bool:
        """Whether so many more may stay than will, once those have gone that are leaving."""
        return self.slots is None or self.slots.allow(self.connection_count - self._ending + more)

    async def _leave(self, conversation: Conversation) -> None:
        """It is there until it is gone. However that fails, what was said on it stands."""
        self.busy_count += 1
        self._ending += 1
        try:
            await conversation.quit()
        except Exception:
            log.exception("link_not_left", server=self.address.name)
        finally:
            self.busy_count -= 1
            self._ending -= 1

    async def _opened(self) -> Conversation:
        self.busy_count += 1
        try:
            if self.slots is not None and not await asyncio.to_thread(self.slots.take, self.connection_count):
                raise NoSlot(self)
            return await self._connect()
        except BaseException:
            self.busy_count -= 1
            raise

    async def _connect(self) -> Conversation:
        address = self.address
        client = aiosmtplib.SMTP(
            hostname=address.host,
            port=address.port,
            use_tls=address.security == "tls",
            start_tls=address.security == "starttls",
            tls_context=self._context() if address.security != "none" else None,
            timeout=30,
        )
        transport = None
        try:
            await client.connect()
            transport = client.transport
            if address.username is not None:
                await client.login(address.username, address.password or "")
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            transport = client.transport
            if transport is None:
                raise LinkLost("the server closed the link")
        except (aiosmtplib.SMTPException, OSError, LinkLost, ValueError) as error:
            if isinstance(transport, asyncio.Transport):
                transport.abort()  # nothing was said of any message, so TLS need not be ended politely
            client.close()
            raise ServerUnavailable(f"{address.host}:{address.port}: {_one_line(error)}") from error
        conversation = Conversation(
            transport,  # type: ignore[arg-type]  # asyncio's and uvloop's transports share the interface, not a base
            pipelining=client.supports_extension("pipelining"),
            smtputf8=client.supports_extension("smtputf8") and client.supports_extension("8bitmime"),
            patience=self._patience,
        )
        transport.set_protocol(conversation)
        return conversation

    def _context(self) -> ssl.SSLContext:
        """One context for all connections: each costs 18 ms to make."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class NoSlot(ServerUnavailable):
    """Nothing is wrong with the server: other processes have all connections to it that there may be."""

    def __init__(self, server: Server) -> None:
        super().__init__(f"{server.address.name}: other processes have all its connections")


def _may_go_on(conversation: Conversation) -> bool:
    return conversation.open and conversation.message_count < MESSAGES_A_CONNECTION


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

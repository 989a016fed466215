"""Connections to the next hops: opened by aiosmtplib, kept open, handed out one conversation at a time."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import aiosmtplib

from nurture.delivery.conversation import Conversation, LinkLost, Patience

MESSAGES_A_CONNECTION = 1000
"""Then a fresh one: some servers slow down or close after a number of their own."""


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


class Server:
    """One next hop: up to `connections` conversations, reused."""

    def __init__(self, address: ServerAddress, *, patience: Patience, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self._patience = patience
        self._tls = tls
        self._idle: list[Conversation] = []

    async def rest(self, seconds: float) -> None:
        """Let time pass until a message may start."""
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def conversation(self) -> Conversation:
        """An open conversation, reused or new. Raises ServerUnavailable."""
        return await self.idle_conversation() or await self._connect()

    async def idle_conversation(self) -> Conversation | None:
        """One that is open and that nobody uses, if there is any."""
        while self._idle:
            idle = self._idle.pop()
            if idle.open and idle.message_count < MESSAGES_A_CONNECTION:
                return idle
            await idle.quit()
        return None

    def give_back(self, conversation: Conversation) -> None:
        if conversation.open:
            self._idle.append(conversation)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(conversation.quit() for conversation in idle))

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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

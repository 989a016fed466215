"""The next hop in memory keeps what was ended with a dot, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from nurture.delivery.conversation import LinkLost
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.transport import InMemoryServer, Kept
from tests.rehearsal.playing import apart

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def test_a_message_arrives_with_its_dot() -> None:
    server = InMemoryServer("primary", clock=VirtualClock(NOON))

    async def talk() -> None:
        conversation = await server.conversation()
        assert await conversation.offer("anna@acme.example", "zoe@example.com", b"one\r\n") is None
        assert server.kept == []
        assert (await conversation.dot()).accepted
        await server.give_back(conversation)
        assert await server.conversation() is conversation
        assert conversation.message_count == 1

    apart(lambda: asyncio.run(talk()))
    assert server.kept == [Kept(to="zoe@example.com", wire=b"one\r\n", at=NOON)]


def test_what_was_aborted_never_arrives() -> None:
    server = InMemoryServer("primary", clock=VirtualClock(NOON))

    async def talk() -> None:
        conversation = await server.conversation()
        await conversation.offer("anna@acme.example", "zoe@example.com", b"one\r\n")
        conversation.abort()
        assert not conversation.open
        with pytest.raises(LinkLost):
            await conversation.dot()
        await server.give_back(conversation)
        assert await server.conversation() is not conversation
        await server.close()

    apart(lambda: asyncio.run(talk()))
    assert server.kept == []

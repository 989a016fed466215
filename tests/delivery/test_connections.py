"""Conversations shared out among those who work for one server, where there are fewer than workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nurture.delivery.connections import Connections
from nurture.delivery.servers import NoSlot, ServerUnavailable
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.transport import InMemoryServer
from tests.rehearsal.playing import apart

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


class Slots:
    """So many and no more; `most` may change."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.may_take = False

    def allow(self, count: int) -> bool:
        return count <= self.most

    def take(self, count: int) -> bool:
        return self.allow(count)


class Shared(InMemoryServer):
    def __init__(self, most: int, clock: VirtualClock) -> None:
        super().__init__("primary", clock=clock)
        self.address = replace(self.address, connections=8)
        self.there = Slots(most)
        self.slots = self.there
        self.made: list[Any] = []
        self.is_down = False

    async def _connect(self) -> Any:
        if self.is_down:
            raise ServerUnavailable("nobody answers")
        self.made.append(await super()._connect())
        return self.made[-1]

    @property
    def open_count(self) -> int:
        return sum(each.open for each in self.made)


Story = Callable[[Shared, Connections, VirtualClock], Coroutine[Any, Any, None]]


def play(story: Story, *, most: int) -> None:
    clock = VirtualClock(NOON)
    server = Shared(most, clock)
    connections = Connections(clock=clock, warn=lambda *_: None)
    apart(lambda: asyncio.run(asyncio.wait_for(story(server, connections, clock), 20)))


def test_who_waited_goes_before_who_has_just_spoken() -> None:
    spoke: list[str] = []

    async def work(name: str, server: Shared, connections: Connections) -> None:
        for _ in range(4):
            async with connections.conversation(server):
                spoke.append(name)
                await asyncio.sleep(0)

    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        await asyncio.gather(*(work(name, server, connections) for name in "abc"))
        assert len(server.made) == 1

    play(story, most=1)
    assert spoke == list("abc" * 4)


def test_without_a_slot_nobody_waits_for_what_will_not_come() -> None:
    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        with pytest.raises(NoSlot, match="other processes have all its connections"):
            async with connections.conversation(server):
                raise AssertionError("none is there")
        server.there.most = 1
        async with connections.conversation(server):
            assert server.open_count == 1

    play(story, most=0)


def test_a_connection_that_others_wait_for_is_closed_after_its_message_and_idle_ones_at_once() -> None:
    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        async with connections.conversation(server), connections.conversation(server):
            async with connections.conversation(server):
                assert server.connection_count == server.open_count == 3
            server.there.most = 1
            await server.shrink()
            assert server.connection_count == server.open_count == 2, "those that speak go on"
        assert server.connection_count == server.open_count == 1
        server.there.most = 0
        await server.shrink()
        assert server.connection_count == server.open_count == 0

    play(story, most=3)


def test_a_server_that_is_down_is_asked_once_a_minute_and_who_speaks_with_it_goes_on() -> None:
    async def story(server: Shared, connections: Connections, clock: VirtualClock) -> None:
        async with connections.conversation(server):
            server.is_down = True
            waiting = asyncio.create_task(_once(server, connections))
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting
        server.made[0].abort()
        for _ in range(2):
            with pytest.raises(ServerUnavailable, match="nobody answers"):
                await _once(server, connections)
        server.is_down = False
        with pytest.raises(ServerUnavailable, match="nobody answers"):
            await _once(server, connections)
        clock.advance(timedelta(minutes=1))
        await _once(server, connections)
        assert server.busy_count == 0

    play(story, most=3)


async def _once(server: Shared, connections: Connections) -> None:
    async with connections.conversation(server):
        pass

"""Conversations shared out among those who work for one server, where there are fewer than workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

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
    connections = Connections(clock=clock, warn=lambda *_: None, down={})
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


def test_leaving_takes_time_and_no_more_leave_than_must() -> None:
    async def speak(server: Shared, connections: Connections, all_speak: asyncio.Barrier) -> None:
        async with connections.conversation(server):
            await all_speak.wait()

    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        all_speak = asyncio.Barrier(9)
        speaking = [asyncio.create_task(speak(server, connections, all_speak)) for _ in range(8)]
        while len(server.made) < 8:
            await asyncio.sleep(0)
        for each in server.made:
            each.quit = partial(_slowly, each.quit)
        server.there.most = 3
        await all_speak.wait()
        await asyncio.gather(*speaking)
        assert server.connection_count == server.open_count == 3

    play(story, most=8)


async def _slowly(leave: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await asyncio.sleep(0.02)
    await leave()


def test_what_was_said_stands_however_leaving_fails() -> None:
    async def fail() -> None:
        raise RuntimeError("the link can't be closed")

    async def say(server: Shared, connections: Connections) -> str:
        async with connections.conversation(server) as conversation:
            server.there.most = 0
            conversation.quit = fail  # type: ignore[method-assign]
            return "250 ok"

    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        with capture_logs() as told:
            assert await say(server, connections) == "250 ok"
        assert [each["event"] for each in told] == ["link_not_left"]
        assert server.busy_count == 0

    play(story, most=1)


async def _once(server: Shared, connections: Connections) -> None:
    async with connections.conversation(server):
        pass


def test_those_that_come_free_at_one_moment_reach_the_next_at_one_moment() -> None:
    """Where a round of the event loop went by for each, fewer marks would share a commit."""
    rounds, begun = 0, list[int]()

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    async def work(server: Shared, connections: Connections, free: asyncio.Event) -> None:
        async with connections.conversation(server):
            begun.append(rounds)
            await free.wait()

    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        free = asyncio.Event()
        counting = asyncio.create_task(count_rounds())
        working = [asyncio.create_task(work(server, connections, free)) for _ in range(16)]
        while len(begun) < 8:
            await asyncio.sleep(0)
        freed_at = rounds
        free.set()
        await asyncio.gather(*working)
        counting.cancel()
        assert max(begun[8:]) - freed_at <= 3
        assert len(server.made) == 8

    play(story, most=8)


def test_who_gives_up_at_the_moment_of_a_handover_keeps_nothing() -> None:
    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        async with connections.conversation(server):
            waiting = [asyncio.create_task(_once(server, connections)) for _ in range(2)]
            await asyncio.sleep(0.01)
        waiting[0].cancel()
        await asyncio.wait(waiting)
        assert waiting[0].cancelled()
        await waiting[1]
        assert (server.busy_count, server.connection_count, server.open_count) == (0, 1, 1)

    play(story, most=1)


def test_who_stands_in_line_hears_of_a_slot_that_came_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nurture.delivery.connections.LOOK_AGAIN_S", 0.01)

    async def story(server: Shared, connections: Connections, _: VirtualClock) -> None:
        async with connections.conversation(server):
            waiting = [asyncio.create_task(_once(server, connections)) for _ in range(3)]
            await asyncio.sleep(0.05)
            assert not any(each.done() for each in waiting)
            server.there.most = 2
            await asyncio.gather(*waiting)

    play(story, most=1)

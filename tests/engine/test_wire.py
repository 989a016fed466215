"""Servers that say what no server should: the end of a message is written again only after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.delivery.conversation import LinkLost, Patience
from nurture.delivery.servers import Server, ServerAddress
from nurture.domain.message import ReplyClass
from nurture.store import tables as t
from tests.engine.world import HEAD, World, add_leads, in_a_loop, make_root, open_world, steps

BODY = b"Message-ID: <1@acme.example>\r\nSubject: hello\r\n\r\nend\r\n"
IMPATIENT = Patience(command=2, data=2, block=2, dot=1)
HELLO = b"220 odd.test ESMTP\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def odd_server(talk: Talk) -> AsyncIterator[Server]:
    """A server that speaks `talk` after EHLO, with pipelining."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(HELLO)
            await reader.readline()
            writer.write(b"250-odd.test\r\n250 PIPELINING\r\n")
            await talk(reader, writer)
            await writer.drain()
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(session, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    address = ServerAddress(name="primary", host="127.0.0.1", port=port, security="none", connections=1)
    server = Server(address, patience=IMPATIENT)
    try:
        yield server
    finally:
        await server.close()
        listening.close()


def after_the_dot(answer: bytes, dots: list[int]) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await reader.readline()
        writer.write(b"250 ok\r\n250 ok\r\n354 go on\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        dots.append(1)
        writer.write(answer)

    return talk


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a", "wait: 1 day", "mail:b")))
    add_leads(opened.database, "zoe")
    yield opened
    opened.database.close()


@pytest.mark.parametrize("answer", [b"350 go on\r\n", b"25\r\n", b"100 wait\r\n", b"999 what\r\n"])
def test_an_answer_to_the_end_that_is_no_verdict_leaves_it_unknown(world: World, answer: bytes) -> None:
    dots: list[int] = []

    async def story() -> None:
        async with odd_server(after_the_dot(answer, dots)) as server:
            world.send_over(server)
            for _ in range(3):
                await world.stages.once()
                world.clock.advance(timedelta(hours=5))

    in_a_loop(story)
    assert dots == [1]
    assert next(row.status for row in world.rows(t.message, "status")) == "unknown"


def test_a_server_that_sends_us_away_at_once_is_left_alone_for_a_while(world: World) -> None:
    add_leads(world.database, *(f"lead{number}" for number in range(8)))
    links: list[int] = []

    async def send_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.append(1)
        await reader.readline()
        writer.write(b"421 4.7.0 come back later\r\n")

    async def story() -> None:
        async with odd_server(send_away) as server:
            world.send_over(server)
            await world.stages.once()
            assert len(links) == 1, "the others did not knock"
            world.clock.advance(timedelta(minutes=2))
            await world.stages.once()

    in_a_loop(story)
    assert len(links) == 2
    assert {row.status for row in world.rows(t.message, "status")} == {"deferred"}


def test_a_server_that_speaks_before_the_end_gets_no_end(world: World) -> None:
    dots: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await reader.readline()
        writer.write(b"250 ok\r\n250 ok\r\n354 go on\r\n")
        await reader.readuntil(b"</html>")
        writer.write(b"250 you may think that this is the verdict\r\n")
        await writer.drain()
        dots.append(await reader.read())

    async def story() -> None:
        async with odd_server(talk) as server:
            world.send_over(server)
            world.stages.enroll()
            world.stages.advance()
            report = await world.stages.deliver()
            assert (report.sent, report.deferred, report.unknown) == (0, 1, 0)

    in_a_loop(story)
    assert [chunk.endswith(b"\r\n.\r\n") for chunk in dots] == [False]


def test_a_refusal_stands_though_the_server_leaves_with_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await reader.readline()
        writer.write(b"250 ok\r\n550 5.1.1 no such user\r\n")
        await writer.drain()
        writer.close()

    async def story() -> None:
        async with odd_server(talk) as server:
            conversation = await server.conversation()
            refusal = await conversation.offer("anna@acme.example", "zoe@example.com", BODY)
            assert refusal is not None
            assert refusal.klass is ReplyClass.HARD
            assert not conversation.open

    in_a_loop(story)


def test_a_server_that_leaves_without_a_word_is_lost() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"250 ok\r\n")
        await writer.drain()
        writer.close()

    async def story() -> None:
        async with odd_server(talk) as server:
            conversation = await server.conversation()
            with pytest.raises(LinkLost):
                await conversation.offer("anna@acme.example", "zoe@example.com", BODY)

    in_a_loop(story)

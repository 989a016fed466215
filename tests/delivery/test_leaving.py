"""Servers that leave or fall silent in mid-session: what was not ended goes again, what was ended never does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.delivery.conversation import Patience
from nurture.delivery.servers import Server, ServerAddress
from nurture.store import tables as t
from tests.engine.world import HEAD, World, add_leads, in_a_loop, make_root, open_world, steps

HASTY = Patience(command=2, data=0.2, block=2, dot=0.2)
SILENCE = b""


class Moody:
    """A server that serves all mail well, but has a mood of one kind for the first message.

    `before`: said instead of 354. `amid`: said when the body has come, before its end. `after`: said instead of 250.
    `leaving`: said, unasked, after the first message was taken. SILENCE: nothing is said any more.
    """

    def __init__(self, **mood: bytes) -> None:
        self.mood = mood
        self.taken: list[bytes] = []
        self.ends = 0

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 moody.test ESMTP\r\n")
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            verb = line[:4]
            if verb == b"EHLO":
                writer.write(b"250-moody.test\r\n250 PIPELINING\r\n")
            elif verb != b"DATA":
                writer.write(b"250 ok\r\n")
            elif not await self._message(reader, writer):
                return

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one; False where the session is over."""
        mood, self.mood = self.mood, {}
        if "before" in mood:
            return await self._say(reader, writer, mood["before"])
        writer.write(b"354 go on\r\n")
        body = await reader.readuntil(b"</html>")
        if "amid" in mood:
            return await self._say(reader, writer, mood["amid"])
        body += await reader.readuntil(b"\r\n.\r\n")
        self.ends += 1
        if "after" in mood:
            return await self._say(reader, writer, mood["after"])
        self.taken.append(body)
        writer.write(b"250 2.0.0 taken\r\n")
        return await self._say(reader, writer, mood["leaving"]) if "leaving" in mood else True

    async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: bytes) -> bool:
        writer.write(words)
        if words == SILENCE:
            self.ends += (await reader.read()).count(b"\r\n.\r\n")
        return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a")))
    yield opened
    opened.database.close()


def live(world: World, moody: Moody, *, days: int = 2) -> list[str]:
    """Passes of some days over one connection at a time; the states of the messages after each."""
    states = []

    async def story() -> None:
        listening = await asyncio.start_server(moody.session, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        address = ServerAddress(name="primary", host="127.0.0.1", port=port, security="none", connections=1)
        server = Server(address, patience=HASTY)
        world.send_over(server)
        for _ in range(days):
            await world.stages.once()
            states.append(" ".join(row.status for row in world.rows(t.message, "status")))
            world.clock.advance(timedelta(days=1))
        await server.close()
        listening.close()

    in_a_loop(story)
    return states


LEAVING = b"421 4.3.2 shutting down\r\n"


@pytest.mark.parametrize(
    "mood",
    [{"before": SILENCE}, {"before": LEAVING}, {"amid": LEAVING}, {"after": LEAVING}],
    ids=["silent after DATA", "421 to DATA", "421 amid the body", "421 to the end"],
)
def test_what_was_not_taken_goes_again_and_arrives_once(world: World, mood: dict[str, bytes]) -> None:
    add_leads(world.database, "zoe")
    moody = Moody(**mood)
    assert live(world, moody, days=3) == ["deferred", "sent", "sent"]
    assert len(moody.taken) == 1
    assert moody.ends == (2 if "after" in mood else 1), "it was ended again only after a refusal of its end"


def test_silence_after_the_end_leaves_it_unknown_for_good(world: World) -> None:
    add_leads(world.database, "zoe")
    moody = Moody(after=SILENCE)
    assert live(world, moody, days=3) == ["unknown", "unknown", "unknown"]
    assert moody.ends == 1


@pytest.mark.parametrize("words", [LEAVING, b"\r\n"], ids=["with 421", "with nonsense"])
def test_a_server_that_leaves_between_two_messages_loses_neither(world: World, words: bytes) -> None:
    add_leads(world.database, "zoe", "ben")
    moody = Moody(leaving=words)
    assert live(world, moody)[-1] == "sent sent"
    assert (len(moody.taken), moody.ends) == (2, 2)

"""Servers that leave, stall, babble or lie, over real sockets: the end of a message is never written by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from nurture.delivery.conversation import MAX_REPLY_BYTES, Conversation, LinkLost, Patience
from nurture.delivery.replies import Reply
from nurture.delivery.servers import Server, ServerAddress
from nurture.domain.message import ReplyClass

BODY = b"Message-ID: <1@acme.example>\r\nSubject: hello\r\n\r\nhello\r\n"
IMPATIENT = Patience(command=0.3, data=0.3, block=0.3, dot=0.3)
KIND = {"DATA": b"354 go on\r\n", ".": b"250 kept\r\n", "QUIT": b"221 bye\r\n"}
STAGES = ("MAIL", "RCPT", "DATA", ".")


@dataclass
class Scripted:
    """Answers each command as its script says; `None` is silence, and what it `leaves` after it closes upon.

    `drip` sends byte by byte. `heard` holds whole lines, in order, and how many bytes lay there unanswered with each.
    """

    answers: dict[str, bytes | None] = field(default_factory=dict)
    leaves: str | None = None
    half: bool = False
    pipelining: bool = True
    drip: bool = False
    deaf_after: str | None = None
    heard: list[str] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        in_body = False
        try:
            while line := await reader.readline():
                said = line.decode().strip()
                verb = "." if in_body and said == "." else said[:4].upper()
                if in_body and verb != ".":
                    continue
                in_body = False
                self.heard.append(verb)
                if verb == self.deaf_after:
                    reader._transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(0)
                self.ahead.append(len(reader._buffer))  # type: ignore[attr-defined]
                answer = {**KIND, **self.answers}.get(verb, b"250 ok\r\n")
                if verb == "EHLO" and self.pipelining:
                    answer = b"250-me\r\n250 PIPELINING\r\n"
                await self._answer(writer, answer)
                in_body = verb == "DATA" and answer is not None and answer.startswith(b"354")
                if verb == self.leaves:
                    if not self.half:
                        return
                    writer.write_eof()
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes | None) -> None:
        if answer is None:
            await asyncio.sleep(3600)
        elif self.drip:
            for place in range(len(answer)):
                writer.write(answer[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0)
        else:
            writer.write(answer)
            await writer.drain()


def speaking_with(script: Scripted, story: Callable[[Conversation], Awaitable[None]]) -> None:
    async def run() -> None:
        talks: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talks.add(asyncio.create_task(script.talk(reader, writer)))

        listener = await asyncio.start_server(begin, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        address = ServerAddress(name="primary", host="127.0.0.1", port=port, security="none")
        conversation = await Server(address, patience=IMPATIENT).conversation()
        try:
            await story(conversation)
        finally:
            conversation.abort()
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
            listener.close()

    asyncio.run(run())


async def offer(conversation: Conversation, body: bytes = BODY) -> Reply | None:
    return await conversation.offer("anna@acme.example", "zoe@example.com", body)


def attempt(script: Scripted, body: bytes = BODY) -> list[Reply | str]:
    """One message: its refusal or its verdict, or what was said of the lost link."""
    told: list[Reply | str] = []

    async def story(conversation: Conversation) -> None:
        try:
            refusal = await offer(conversation, body)
            if refusal is None and not conversation.open:
                raise LinkLost("the server left, or spoke unasked")
            told.append(refusal if refusal is not None else await conversation.dot())
        except LinkLost as error:
            told.append(f"link lost: {error}")
        told.append("open" if conversation.open else "closed")

    speaking_with(script, story)
    return told


both = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])


@both
@pytest.mark.parametrize("stage", STAGES)
def test_a_server_that_leaves_with_421_defers_the_message_and_is_left(stage: str, pipelining: bool) -> None:
    said = b"421 4.3.2 shutting down\r\n"
    reply, link = attempt(Scripted(answers={stage: said}, leaves=stage, pipelining=pipelining))
    assert isinstance(reply, Reply)
    assert (reply.klass, link) == (ReplyClass.SOFT, "closed")
    assert reply.text == "421 4.3.2 shutting down"


@both
@pytest.mark.parametrize("stage", STAGES)
def test_a_refusal_stands_though_the_server_leaves_right_after_it(stage: str, pipelining: bool) -> None:
    script = Scripted(answers={stage: b"550 5.7.1 blocked by policy\r\n"}, leaves=stage, pipelining=pipelining)
    reply, _ = attempt(script)
    assert isinstance(reply, Reply)
    assert reply.klass is ReplyClass.BLOCK


@both
@pytest.mark.parametrize("stage", STAGES)
def test_silence_is_a_lost_link(stage: str, pipelining: bool) -> None:
    script = Scripted(answers={stage: None}, pipelining=pipelining)
    told, link = attempt(script)
    assert (told, link) == ("link lost: no reply within 0.3 s", "closed")
    assert ("." in script.heard) == (stage == ".")


@both
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_who_half_closes_the_link_gets_no_end_of_a_message(stage: str, pipelining: bool) -> None:
    script = Scripted(leaves=stage, half=True, pipelining=pipelining)
    told, link = attempt(script)
    assert isinstance(told, str)
    assert link == "closed"
    assert "." not in script.heard


def test_commands_go_one_by_one_where_pipelining_is_not_offered_and_together_where_it_is() -> None:
    alone, together = Scripted(pipelining=False), Scripted()
    for script in (alone, together):
        reply, link = attempt(script)
        assert isinstance(reply, Reply)
        assert (reply.klass, link) == (ReplyClass.ACCEPTED, "open")
        assert script.heard == ["EHLO", "MAIL", "RCPT", "DATA", "."]
    assert alone.ahead == [0] * 5
    assert together.ahead[1] > 0


@both
def test_replies_of_many_lines_in_single_bytes_are_read_whole(pipelining: bool) -> None:
    said = b"550-5.1.1 zoe is not here\r\n550-5.1.1\n550 5.1.1 and never was\r\n"
    reply, link = attempt(Scripted(answers={"RCPT": said, "DATA": b"503 no\r\n"}, drip=True, pipelining=pipelining))
    assert isinstance(reply, Reply)
    assert (reply.klass, link) == (ReplyClass.HARD, "open")
    assert reply.text == "550 5.1.1 zoe is not here 5.1.1 5.1.1 and never was"


@pytest.mark.parametrize(
    ("said", "klass", "text"),
    [
        (b"550\r\n", ReplyClass.HARD, "550"),
        (b"550 Kein Benutzer: J\xf6rg\r\n", ReplyClass.HARD, "550 Kein Benutzer: J\N{REPLACEMENT CHARACTER}rg"),
        (b"550 5.1.1 \x1b[31mred\x00\x7f\r\n", ReplyClass.HARD, "550 5.1.1 ?[31mred??"),
        ("550 5.7.1 拒绝\u202e\r\n".encode(), ReplyClass.BLOCK, "550 5.7.1 拒绝?"),
        (b"550 5.1.1 " + b"x" * 9_000 + b"\r\n", ReplyClass.HARD, "550 5.1.1 " + "x" * 490),
    ],
    ids=["bare", "latin-1", "control bytes", "bidi", "long"],
)
def test_odd_bytes_are_classed_and_shown_safely(said: bytes, klass: ReplyClass, text: str) -> None:
    reply, link = attempt(Scripted(answers={"RCPT": said, "DATA": b"503 no\r\n"}))
    assert isinstance(reply, Reply)
    assert (reply.klass, reply.text, link) == (klass, text, "open")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "said",
    [b"250-" + b"x" * (MAX_REPLY_BYTES + 1), b"250-more\r\n" * 5_000, b"HTTP/1.1 200 OK\r\n", b"25\xff ok\r\n"],
    ids=["a line without end", "lines without end", "another protocol", "no code"],
)
def test_what_is_no_reply_loses_the_link(stage: str, said: bytes) -> None:
    told, link = attempt(Scripted(answers={stage: said}))
    assert isinstance(told, str)
    assert link == "closed"


def test_a_server_that_talks_without_being_asked_is_left_before_it_fills_the_memory() -> None:
    script = Scripted(answers={"DATA": b"354 go on\r\n" + b"250 kept\r\n" * 100_000})
    told, link = attempt(script)
    assert (told, link) == ("link lost: the server talks without being asked", "closed")
    assert "." not in script.heard


def test_a_verdict_that_comes_before_the_end_is_none() -> None:
    script = Scripted(answers={"DATA": b"354 go on\r\n250 kept\r\n"})

    async def story(conversation: Conversation) -> None:
        assert await offer(conversation) is None
        await asyncio.sleep(0.05)
        assert not conversation.open, "whoever would write the dot now took the old reply for its verdict"

    speaking_with(script, story)
    assert "." not in script.heard


def test_a_body_nobody_asked_for_is_not_sent() -> None:
    """RFC 2920 section 3.1: a server may say 354 although no recipient is valid."""
    script = Scripted(answers={"RCPT": b"550 5.1.1 no such user\r\n"})
    reply, link = attempt(script)
    assert isinstance(reply, Reply)
    assert (reply.klass, link) == (ReplyClass.HARD, "closed")
    assert script.heard == ["EHLO", "MAIL", "RCPT", "DATA"]


def test_a_server_that_stops_reading_gets_no_end() -> None:
    script = Scripted(deaf_after="DATA")
    told, link = attempt(script, BODY + b"x" * 76 * 1_000_000 + b"\r\n")
    assert (told, link) == ("link lost: the server stopped reading", "closed")
    assert "." not in script.heard


@pytest.mark.parametrize("said", [b"354 go on\r\n", b"150 working\r\n", b"999 what\r\n"])
def test_what_is_no_verdict_leaves_the_outcome_unknown(said: bytes) -> None:
    told, link = attempt(Scripted(answers={".": said}))
    assert isinstance(told, str)
    assert told.endswith("is no verdict on a message")
    assert link == "closed"

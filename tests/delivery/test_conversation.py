"""A conversation knows, at every moment, whether the end of the message was written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nurture.delivery.conversation import Conversation, LinkLost, Patience
from nurture.delivery.servers import Server, ServerAddress, ServerUnavailable
from nurture.domain.message import ReplyClass
from tests.receiving import Receiving, receiving

BODY = b"Message-ID: <1@acme.example>\r\nSubject: hello\r\n\r\n..dots\r\nend\r\n"
IMPATIENT = Patience(command=2, data=2, block=2, dot=1)


def server_at(port: int) -> Server:
    address = ServerAddress(name="primary", host="127.0.0.1", port=port, security="none")
    return Server(address, patience=IMPATIENT)


@pytest.fixture(params=["pipelined", "stepwise"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path):
    options = ["--keep"] + (["--plain"] if request.param == "stepwise" else [])
    with receiving(tmp_path / "mail", *options) as running:
        yield running


def test_nothing_arrives_before_the_dot_and_everything_after_it(receiver: Receiving) -> None:
    async def story() -> None:
        server = server_at(receiver.port)
        conversation = await server.conversation()
        assert await conversation.offer("anna@acme.example", "zoe@example.com", BODY) is None
        assert receiver.received() == []
        assert (await conversation.dot()).accepted
        assert [each["to"] for each in receiver.received()] == ["zoe@example.com"]
        assert receiver.messages()[0].endswith(b"\r\n.dots\r\nend\r\n")
        await server.give_back(conversation)
        assert await server.conversation() is conversation
        await conversation.quit()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("recipient", "klass"),
    [
        ("unknown@example.com", ReplyClass.HARD),
        ("blocked@example.com", ReplyClass.BLOCK),
        ("greylisted@example.com", ReplyClass.SOFT),
    ],
)
def test_a_refusal_leaves_the_connection_usable(receiver: Receiving, recipient: str, klass: ReplyClass) -> None:
    async def story() -> None:
        server = server_at(receiver.port)
        conversation = await server.conversation()
        refusal = await conversation.offer("anna@acme.example", recipient, BODY)
        assert refusal is not None
        assert refusal.klass is klass
        assert await conversation.offer("anna@acme.example", "zoe@example.com", BODY) is None
        assert (await conversation.dot()).accepted
        await conversation.quit()

    asyncio.run(story())


def test_a_server_that_is_leaving_is_left(receiver: Receiving) -> None:
    async def story() -> None:
        conversation = await server_at(receiver.port).conversation()
        try:
            refusal = await conversation.offer("anna@acme.example", "leaving@example.com", BODY)
        except LinkLost:
            refusal = None
        assert refusal is None or refusal.klass is ReplyClass.SOFT
        assert not conversation.open

    asyncio.run(story())


def test_no_answer_to_the_dot_is_a_lost_link_not_a_refusal(receiver: Receiving) -> None:
    async def story() -> None:
        conversation = await server_at(receiver.port).conversation()
        assert await conversation.offer("anna@acme.example", "stall@example.com", BODY) is None
        with pytest.raises(LinkLost, match="no reply within 1 s"):
            await conversation.dot()

    asyncio.run(story())


@pytest.mark.parametrize("reply", [b"nonsense\r\n", b"250-" + b"x" * 40_000, b""])
def test_a_server_that_speaks_nonsense_loses_the_link(reply: bytes) -> None:
    async def story() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(reply)
            writer.close()

        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        port = listener.sockets[0].getsockname()[1]
        conversation: Conversation | None = None

        def make() -> Conversation:
            nonlocal conversation
            conversation = Conversation(None, pipelining=False, patience=IMPATIENT)  # type: ignore[arg-type]
            return conversation

        transport, _ = await loop.create_connection(make, "127.0.0.1", port)
        assert conversation is not None
        conversation.transport = transport
        with pytest.raises(LinkLost):
            await conversation.offer("anna@acme.example", "zoe@example.com", BODY)
        listener.close()

    asyncio.run(story())


def test_nobody_listening_is_said_in_one_line() -> None:
    async def story() -> None:
        with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1: .*") as caught:
            await server_at(1).conversation()
        assert "\n" not in str(caught.value)

    asyncio.run(story())

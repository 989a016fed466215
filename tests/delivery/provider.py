"""A provider's HTTP API on loopback: it answers as it is told, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a provider answers; `body` is JSON unless it is a text."""

    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        lines = [f"HTTP/1.1 {self.status} Said", f"Content-Length: {len(text.encode())}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


LEAVE_EARLY = "leave before the end of the request"
LEAVE_LATE = "leave after it, without an answer"
SILENCE = "take it and say nothing"
TOO_EARLY = "answer 413 before the end of the request"


@dataclass(frozen=True, kw_only=True)
class Asked:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class StandIn:
    """`answers`: one after the other; the last one stays. `asked`: whole requests, in order."""

    url: str
    answers: list[Said | str]
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def next_answer(self) -> Said | str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        answer = self.next_answer()
        if answer == LEAVE_EARLY:
            return False
        if answer == TOO_EARLY:
            writer.write(Said(status=413, body="too large").as_bytes())
            await reader.read()
            return False
        body = await reader.readexactly(int(headers["content-length"]))
        self.asked.append(Asked(path=head[0].split()[1], headers=headers, body=body))
        if isinstance(answer, Said):
            writer.write(answer.as_bytes())
            return True
        if answer == SILENCE:
            await reader.read()
        return False


@asynccontextmanager
async def stand_in(*answers: Said | str, tls: ssl.SSLContext | None = None) -> AsyncIterator[StandIn]:
    provider = StandIn(url="", answers=list(answers))
    listening = await asyncio.start_server(provider.talk, "127.0.0.1", 0, ssl=tls)
    provider.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        listening.close()

"""Carries a post over HTTP, and says in our words what became of it: no status code leaves this file."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Protocol

import httpx

from nurture.notify.channels import PostRequest

PATIENCE_S = 15.0
REPLY_LIMIT = 300
GONE = 410


class Fate(Enum):
    TAKEN = "taken"
    AGAIN = "again"
    """It answered, and did not take it."""
    AWAY = "away"
    """Nobody answered, in time or at all."""
    GONE = "gone"
    """It wants nothing any more."""


@dataclass(frozen=True, kw_only=True)
class PostReply:
    """`text` is what it said, in one line of bounded length; `asked` is how long it wants to be left alone."""

    fate: Fate
    text: str
    asked: timedelta | None = None


class Carrier(Protocol):
    async def carry(self, request: PostRequest) -> PostReply: ...

    async def close(self) -> None: ...


class HttpCarrier:
    """Posts over connections that stay open until `close`, and are opened again after it.

    Follows no redirect, and takes no proxy and no password from its surroundings.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._client: httpx.AsyncClient | None = None
        self._trust: ssl.SSLContext | None = None

    async def carry(self, request: PostRequest) -> PostReply:
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._carry(request)
        except TimeoutError:
            return PostReply(fate=Fate.AWAY, text=f"no answer within {self._patience_s:g} s")
        except httpx.InvalidURL:
            return PostReply(fate=Fate.AWAY, text="its url is no web address")
        except (httpx.TransportError, OSError) as error:
            return PostReply(fate=Fate.AWAY, text=_one_line(f"cannot be reached: {error or type(error).__name__}"))

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _carry(self, request: PostRequest) -> PostReply:
        stream = self._open().stream("POST", request.url, content=request.body, headers=dict(request.headers))
        async with stream as response:
            said = await _beginning(response)
        text = _one_line(f"{response.status_code} {said.decode('utf-8', 'replace')}")
        if response.is_success:
            return PostReply(fate=Fate.TAKEN, text=text)
        if response.status_code == GONE:
            return PostReply(fate=Fate.GONE, text=text)
        return PostReply(fate=Fate.AGAIN, text=text, asked=_asked(response))

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._trust = self._trust or ssl.create_default_context()
            self._client = httpx.AsyncClient(
                verify=self._trust, follow_redirects=False, trust_env=False, timeout=self._patience_s
            )
        return self._client


async def _beginning(response: httpx.Response) -> bytes:
    """The first bytes as they come over the wire: nothing is unpacked, and the rest is never read."""
    said = b""
    async for chunk in response.aiter_raw():
        said += chunk[:REPLY_LIMIT]
        if len(said) >= REPLY_LIMIT:
            break
    return said[:REPLY_LIMIT]


def _asked(response: httpx.Response) -> timedelta | None:
    """`Retry-After` in seconds; a date there is passed over."""
    text = response.headers.get("retry-after", "").strip()
    return timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:REPLY_LIMIT]

"""One HTTP request whose last byte is held back, as the dot of SMTP is: until it is written nothing was sent.

A provider that has all of a request but its last byte can't act on it, so whatever is lost before `end` leaves the
letter unsent, and only what is lost after it is unknown. It must not decide, log or touch the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator
from typing import Any

import httpx

from nurture.delivery.conversation import MAX_REPLY_BYTES, LinkLost
from nurture.delivery.esp_provider import Answer, HttpRequest
from nurture.delivery.servers import ServerUnavailable


class Link:
    """A client that keeps one connection, and that connection itself, as httpcore tells it: the one way to see that
    the other side left.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self._stream: Any = None

    @property
    def is_left(self) -> bool:
        """Whether the other side has closed its half, whatever it said before (over TLS it may have said tickets).

        Where the system can't tell, no: a letter is then unknown instead of unsent.
        """
        link = self._stream.get_extra_info("socket") if self._stream is not None else None
        if link is None or link.fileno() < 0:
            return link is not None
        poll = select.poll()
        poll.register(link.fileno(), getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info["return_value"]


class HeldRequest:
    """Begins at once."""

    def __init__(self, link: Link, request: HttpRequest, *, read_patience: float) -> None:
        self._link = link
        self._body = request.body
        self._is_held, self._may_end = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._send(request, read_patience))

    @property
    def is_open(self) -> bool:
        """All but the last byte is written, and the provider has not left meanwhile."""
        return self._is_held.is_set() and not self._task.done() and not self._link.is_left

    async def held(self) -> Answer | None:
        """Wait until all but the last byte is written. An answer that came before it can be but a refusal.

        Raises ServerUnavailable without a connection, LinkLost where one was lost.
        """
        waiting = asyncio.create_task(self._is_held.wait())
        try:
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return await self._answer() if self._task.done() else None

    async def end(self) -> Answer:
        """Write the last byte and wait for the answer. Raises LinkLost: nobody knows then.

        ServerUnavailable where there never was a connection, as when a request is said again.
        """
        self._may_end.set()
        return await self._answer()

    def abort(self) -> None:
        """Close the link without another byte."""
        self._task.cancel()

    async def gone(self) -> None:
        """Until an aborted request has closed its link."""
        with contextlib.suppress(asyncio.CancelledError, httpx.HTTPError):
            await self._task

    async def _answer(self) -> Answer:
        try:
            return await self._task
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnavailable(_why(error)) from None
        except httpx.HTTPError as error:
            raise LinkLost(_why(error)) from None

    async def _send(self, request: HttpRequest, read_patience: float) -> Answer:
        client = self._link.client
        call = client.build_request(
            "POST",
            request.url,
            headers={**request.headers, "content-length": str(len(self._body))},
            content=self._pieces(),
            extensions={"trace": self._link.trace},
        )
        call.extensions["timeout"] = {**call.extensions["timeout"], "read": read_patience}
        response = await client.send(call, stream=True)
        try:
            body = await _beginning(response)
        finally:
            await response.aclose()
        return Answer(status=response.status_code, headers=dict(response.headers), body=body)

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self._body[:-1]
        self._is_held.set()
        await self._may_end.wait()
        yield self._body[-1:]


async def _beginning(response: httpx.Response) -> bytes:
    """As much as an answer may have; the rest is not waited for."""
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            break
    return body


def _why(error: httpx.HTTPError) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

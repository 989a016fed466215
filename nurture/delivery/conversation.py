"""One SMTP session after EHLO: everything of a message but its final dot, and then, apart from it, the dot.

aiosmtplib opens the connection (TLS, AUTH, EHLO); this protocol takes its transport over, because `sendmail` can't tell
a link lost before the final dot from one lost after it, and that difference is what the promise of spec 6.1 rests on.
It must not decide, log or touch the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from dataclasses import dataclass

from nurture.delivery.replies import Reply, read_reply
from nurture.domain.message import ReplyClass
from nurture.domain.problem import Problem

MAX_REPLY_BYTES = 32_768
MOST_REPLIES_WAITING = 3
"""As many as there are commands in one go; a server that says more talks to itself."""
LEAVE_WITHIN_S = 2.0
# between the brackets of MAIL and RCPT: nothing that could end them or the line, and a domain in ASCII
_PATH = re.compile("[!-;=?A-~\u00a1-\ud7ff\ue000-\U0010ffff]+@[A-Za-z0-9.-]+\\Z")


class LinkLost(Exception):
    """The connection ended, timed out or spoke nonsense; what was being said is undecided."""


class CannotCarry(Problem):
    """This server can't be given the message as it is; nothing was said to it."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Time-outs in seconds; the defaults are RFC 5321 section 4.5.3.2 but for what it lets grow past reason."""

    command: float = 300
    data: float = 120
    block: float = 180
    dot: float = 600


class Conversation(asyncio.Protocol):
    """Speaks to one server. Usable for one message at a time."""

    def __init__(
        self, transport: asyncio.Transport, *, pipelining: bool, patience: Patience, smtputf8: bool = False
    ) -> None:
        """`smtputf8`: the server offers it, and 8BITMIME with it."""
        self.transport = transport
        self.pipelining = pipelining
        self.smtputf8 = smtputf8
        self.patience = patience
        self.message_count = 0
        self.sent_away: str | None = None
        """What the server said with a 421."""
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._lines_bytes = 0
        self._replies: deque[tuple[int, str]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._lost: str | None = None

    # --- what a caller says

    @property
    def open(self) -> bool:
        """Usable for another message: the server is there and has said nothing unasked (a 421 before closing)."""
        return self._lost is None and not self.transport.is_closing() and not self._replies

    async def offer(self, sender: str, recipient: str, body: bytes) -> Reply | None:
        """Say everything but the dot. Returns None when the server waits for it, else its refusal.

        `body` ends with CRLF and is dot-stuffed. Raises LinkLost, CannotCarry.
        """
        mail, rcpt = self._envelope(sender, recipient, body)
        refusal = await (self._pipelined(mail, rcpt) if self.pipelining else self._stepwise(mail, rcpt))
        if refusal is not None:
            return refusal
        self._write(body)
        await self._drained()
        return None

    async def dot(self) -> Reply:
        """Write the end of the message and read the verdict. Raises LinkLost: nobody knows then.

        Only while `open`: a server that spoke before the end has said something else than its verdict.
        """
        self._write(b".\r\n")
        code, text = await self._reply(self.patience.dot)
        if not (200 <= code < 300 or 400 <= code < 600):
            self.abort()
            raise LinkLost(f"{code} is no verdict on a message")
        self.message_count += 1
        return read_reply(code, text)

    async def quit(self) -> None:
        """Leave politely, and let TLS end; a server that does not answer is left all the same."""
        if self._lost is None and not self.transport.is_closing():
            self.transport.write(b"QUIT\r\n")
        self.transport.close()
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await self._gone.wait()
        except TimeoutError:
            self.transport.abort()

    def abort(self) -> None:
        """Close the link without another byte."""
        self._lost = self._lost or "closed by us"
        self.transport.abort()

    # --- the envelope

    def _envelope(self, sender: str, recipient: str, body: bytes) -> tuple[bytes, bytes]:
        """MAIL and RCPT; where an address is beyond ASCII, also one in the headers, with SMTPUTF8 (RFC 6531, 3.4)."""
        for address in (sender, recipient):
            if not _PATH.match(address):
                raise CannotCarry("an address of the envelope can't be given to a mail server")
        extended = ""
        if not (sender.isascii() and recipient.isascii() and body.isascii()):
            if not self.smtputf8:
                raise CannotCarry("the server takes addresses in ASCII only: it does not offer SMTPUTF8")
            extended = " BODY=8BITMIME SMTPUTF8"
        return f"MAIL FROM:<{sender}>{extended}\r\n".encode(), f"RCPT TO:<{recipient}>\r\n".encode()

    async def _pipelined(self, mail: bytes, rcpt: bytes) -> Reply | None:
        """RFC 2920: one round trip for the three commands."""
        self._write(mail + rcpt + b"DATA\r\n")
        replies: list[tuple[int, str]] = []
        try:
            for seconds in (self.patience.command, self.patience.command, self.patience.data):
                replies.append(await self._reply(seconds))
        except LinkLost:
            refusal = _first_refusal(replies)
            if refusal is None:
                raise
            return refusal  # it was said, though the server left with it
        refusal = _first_refusal(replies)
        if refusal is not None and replies[2][0] == 354:
            # the server waits for a body that has no recipient: leave rather than write any end of a message
            self.abort()
        elif refusal is not None:
            await self._reset()
        return refusal

    async def _stepwise(self, mail: bytes, rcpt: bytes) -> Reply | None:
        for place, command in enumerate((mail, rcpt, b"DATA\r\n")):
            self._write(command)
            code, text = await self._reply(self.patience.command)
            if not (code == 354 if place == 2 else 200 <= code < 300):
                if place > 0:
                    await self._reset()
                return _refusal(code, text, place)
        return None

    async def _reset(self) -> None:
        """Ready for the next message. Where the link is lost over it, the refusal stands all the same."""
        with contextlib.suppress(LinkLost):
            self._write(b"RSET\r\n")
            await self._reply(self.patience.command)

    # --- bytes

    def _write(self, data: bytes) -> None:
        if self._lost is not None or self.transport.is_closing():
            raise LinkLost(self._lost or "closed")
        self.transport.write(data)

    async def _drained(self) -> None:
        if self._writable.is_set() and self._lost is None:
            return
        try:
            async with asyncio.timeout(self.patience.block):
                await self._writable.wait()
        except TimeoutError:
            self.abort()
            raise LinkLost("the server stopped reading") from None
        if self._lost is not None:
            raise LinkLost(self._lost)

    async def _reply(self, seconds: float) -> tuple[int, str]:
        if not self._replies:
            if self._lost is not None:
                raise LinkLost(self._lost)
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._give_up, seconds)  # several a message: asyncio.timeout would show
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        code, text = self._replies.popleft()
        if code == 421:
            self.sent_away = read_reply(code, text).text
            self.abort()  # RFC 5321 section 3.8: the server is leaving, whatever the command was
        return code, text

    # --- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[: end + 1]).rstrip(b"\r\n")
            del self._buffer[: end + 1]
            self._lines.append(line)
            self._lines_bytes += len(line)
            if self._lines_bytes > MAX_REPLY_BYTES:
                break
            if line[3:4] != b"-":
                self._complete()
        if len(self._buffer) + self._lines_bytes > MAX_REPLY_BYTES:
            self._end("the server's reply has no end")

    def _complete(self) -> None:
        lines, self._lines, self._lines_bytes = self._lines, [], 0
        code = lines[-1][:3]
        if not code.isdigit():
            self._end("the server speaks something other than SMTP")
            return
        text = "\n".join(line[4:].decode("utf-8", "replace") for line in lines)
        if len(self._replies) >= MOST_REPLIES_WAITING:
            self._end("the server talks without being asked")
            return
        self._replies.append((int(code), text))
        self._wake()

    def eof_received(self) -> bool:
        self._end("the server closed the link")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"link lost: {exc}" if exc else "the server closed the link")
        self._gone.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end(self, why: str) -> None:
        self._lost = self._lost or why
        self._writable.set()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(LinkLost(self._lost))
        if not self.transport.is_closing():
            self.transport.abort()

    def _give_up(self, seconds: float) -> None:
        self._end(f"no reply within {seconds:g} s")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _first_refusal(replies: list[tuple[int, str]]) -> Reply | None:
    for place, (code, text) in enumerate(replies):
        if not (code == 354 if place == 2 else 200 <= code < 300):
            return _refusal(code, text, place)
    return None


def _refusal(code: int, text: str, place: int) -> Reply:
    """A refusal is never "accepted", also where a server answers DATA with a 2xx it may not use."""
    reply = read_reply(code, text, at_rcpt=place == 1)
    return Reply(klass=ReplyClass.SOFT, text=reply.text) if reply.accepted else reply

"""A TCP relay that holds back what passes, the same in both directions: a next hop that is some milliseconds away.

Usage: python -m bench.relay PORT MILLISECONDS      (connects to 127.0.0.1:PORT; the first line is its own port)
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
from collections import deque
from collections.abc import Callable

WRITE_AHEAD = 4 << 20


class Side(asyncio.Protocol):
    """One end of a connection: what arrives here leaves at the other end, in order, so many seconds later."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._under_way: deque[bytes | None] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=WRITE_AHEAD)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._later(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._later(None)

    def _later(self, data: bytes | None) -> None:
        self._under_way.append(data)
        asyncio.get_running_loop().call_later(self.delay, self._pass_on)

    def _pass_on(self) -> None:
        """Whichever timer fires first, the oldest goes first; None closes."""
        data = self._under_way.popleft()
        self._early.append(data or b"")
        if self.other is None or self.other.transport is None:
            return  # the other end is being connected: see `joined`
        self.flush()
        if data is None:
            self.other.transport.close()

    def flush(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.write(b"".join(self._early))
        self._early.clear()


async def relay(port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    beginning: set[asyncio.Task[None]] = set()

    async def connect(near: Side) -> None:
        far = Side(delay)
        await loop.create_connection(lambda: far, "127.0.0.1", port)
        near.other, far.other = far, near
        near.flush()

    def accepted() -> Side:
        near = Side(delay)
        task = loop.create_task(connect(near))
        beginning.add(task)
        task.add_done_callback(beginning.discard)
        return near

    server = await loop.create_server(accepted, "127.0.0.1", 0, backlog=200)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def with_exact_timers() -> asyncio.AbstractEventLoop:
    """epoll and libuv wait for whole milliseconds, `select` for microseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.relay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("milliseconds", type=float)
    options = parser.parse_args()
    make: Callable[[], asyncio.AbstractEventLoop] = with_exact_timers
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(relay(options.port, options.milliseconds / 1000))


if __name__ == "__main__":
    main()

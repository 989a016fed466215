"""The HTTP server around an application: uvicorn, quiet, believing no proxy headers, stopped by its owner alone."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from nurture.domain.problem import Problem

GRACE_S = 10
CONNECTIONS = 1_000
KEEP_ALIVE_S = 15
HEADERS_AT_MOST = 32 * 1024
BACKLOG = 512
LAST_PORT = 65535


class ListeningServer(uvicorn.Server):
    """Bound when it is made, so that a taken port is known at once. `serve()` runs until `should_exit` is set, then
    ends what is under way within GRACE_S.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    @property
    def address(self) -> str:
        """Where it listens, its real port included: '127.0.0.1:8080'."""
        host, port = self._listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve(sockets or [self._listener])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's business."""
        yield


def make_server(app: ASGIApp, address: str, *, or_ports_behind: int = 0) -> ListeningServer:
    """Listen at `address`, 'HOST:PORT' (port 0: any free one), or where it is taken at one of so many ports behind it.

    Raises Problem where that is not possible.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEADERS_AT_MOST,
    )
    return ListeningServer(config, _listen(address, or_ports_behind))


def read_listen_address(text: str) -> tuple[str, int]:
    """'127.0.0.1:8080' or '[::1]:8080' -> host and port. Raises Problem."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port[:6]) > LAST_PORT:
        raise Problem(f"config.toml [web]: '{text}' is no address to listen on: use e.g. '127.0.0.1:8080'")
    return host.strip("[]"), int(port)


def _listen(address: str, or_ports_behind: int) -> socket.socket:
    host, port = read_listen_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for behind in range(or_ports_behind + 1):
        try:
            listener = socket.create_server((host, port + behind), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and behind < or_ports_behind and port + behind < LAST_PORT:
                continue
            cause = error.strerror or str(error)
            raise Problem(f"cannot listen on {address}: {cause}: free it, or change [web] in config.toml") from None
        break
    listener.setblocking(False)
    return listener

"""Where benchmarks send to: Postfix's smtp-sink, and Postfix's smtp-source as the limit of sending to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.machine import free_port, tool

BEGIN_WITHIN_S = 30


@contextmanager
def smtp_sink() -> Iterator[int]:
    """The port of a server that takes every letter and forgets it."""
    port = free_port()
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [tool("smtp-sink"), *as_nobody, "-c", f"127.0.0.1:{port}", "1000"]
    sink = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        yield port
    finally:
        sink.kill()
        sink.wait()


def await_port(port: int) -> None:
    end = time.monotonic() + BEGIN_WITHIN_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit(f"nobody listens on 127.0.0.1:{port} after {BEGIN_WITHIN_S} s")


def smtp_source(port: int, count: int, size: int, connections: int, *flags: str) -> float:
    """Messages a second; a connection for each, unless `-d` is among the flags."""
    began = time.perf_counter()
    subprocess.run(
        [tool("smtp-source"), *flags, "-s", str(connections), "-l", str(size), "-m", str(count), f"127.0.0.1:{port}"],
        check=True,
    )
    return count / (time.perf_counter() - began)

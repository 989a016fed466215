"""MJML to HTML in a child process that is started when first needed, used again, and replaced when it dies."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

TIMEOUT_SECONDS = 20.0
_WORKER = Path(__file__).with_name("mjml_worker.py")


class MjmlError(Exception):
    """What the compiler said, or that it did not survive."""


class MjmlCompiler:
    """Safe to use from several threads; one request at a time."""

    def __init__(self, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def compile(self, texts: Sequence[str]) -> list[str]:
        """The HTML of each text, styles inlined. Raises MjmlError for the first that can't be compiled."""
        with self._lock:
            answers = json.loads(self._ask(json.dumps(list(texts)).encode() + b"\n"))
        for _, error in answers:
            if error is not None:
                raise MjmlError(error)
        return [html for html, _ in answers]

    def close(self) -> None:
        """End the child. Asking again starts another."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not read goes nowhere
                    pipe.close()
        child.wait()

    def _ask(self, request: bytes) -> bytes:
        child = self._running()
        try:
            return self._exchange(child, request)
        except (BrokenPipeError, EOFError):
            self.close()
            raise MjmlError("the MJML compiler crashed on it (too deeply nested, or too large)") from None
        except TimeoutError:
            self.close()
            raise MjmlError(f"the MJML compiler took longer than {self._timeout:g} seconds") from None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            # -P: the folder of the worker is not searched for modules
            self._child = subprocess.Popen(  # noqa: S603  our own interpreter and our own file
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        return self._child

    def _exchange(self, child: subprocess.Popen[bytes], request: bytes) -> bytes:
        if child.stdin is None or child.stdout is None:
            raise EOFError
        remaining = memoryview(request)
        while remaining:
            if not select.select([], [child.stdin], [], self._timeout)[1]:
                raise TimeoutError
            remaining = remaining[os.write(child.stdin.fileno(), remaining[: select.PIPE_BUF]) :]
        answer = bytearray()
        while not answer.endswith(b"\n"):
            if not select.select([child.stdout], [], [], self._timeout)[0]:
                raise TimeoutError
            piece = os.read(child.stdout.fileno(), 1 << 16)
            if not piece:
                raise EOFError
            answer += piece
        return bytes(answer)


@cache
def shared_compiler() -> MjmlCompiler:
    """The one child of this process; it ends with it."""
    compiler = MjmlCompiler()
    atexit.register(compiler.close)
    return compiler

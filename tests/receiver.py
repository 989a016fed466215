"""A real HTTP receiver on loopback: it checks signatures by itself, keeps what came, and answers as it is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes!").decode()


@dataclass(frozen=True, kw_only=True)
class Got:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_with(self, secret: str) -> bool:
        """By the words of the specification, and with none of nurture's code."""
        key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
        signed = b".".join([self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body])
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


@dataclass(frozen=True, kw_only=True)
class Say:
    """How to answer one request. `stalls`: not before the receiver is closed; `hangs_up`: with no answer at all."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stalls: bool = False
    hangs_up: bool = False


@dataclass
class Receiver:
    """`answers` is asked for each request, in turn; without one it says 204."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answer: Callable[[Got], Say] = lambda got: Say()
    closing: threading.Event = field(default_factory=threading.Event)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def says(self, *answers: Say) -> None:
        """These, one after the other, and the last one from then on."""
        left = list(answers)
        self.answer = lambda got: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with receiver.lock:
                receiver.at_once += 1
                receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
                receiver.got.append(Got(path=self.path, headers=headers, body=body))
                said = receiver.answer(receiver.got[-1])
            try:
                self._say(said)
            except OSError:
                self.close_connection = True  # who posted has gone
            finally:
                with receiver.lock:
                    receiver.at_once -= 1

        def _say(self, said: Say) -> None:
            if said.stalls:
                receiver.closing.wait(30)
            if said.stalls or said.hangs_up:
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        def do_GET(self) -> None:
            with receiver.lock:
                receiver.got.append(Got(path=f"GET {self.path}", headers={}, body=b""))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(10)

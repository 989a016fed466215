"""The whole chain of sending to a next hop 5 ms away, against aiosmtplib on as many pooled connections, in turns.

A relay (bench/relay.py) holds each direction back by half of that. aiosmtplib gets its letters ready made and only
sends them, with a commit for each row; beside it the plain loop, which makes its letters as well. Needs smtp-sink
(Debian: postfix).
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench.next_hop import smtp_sink
from bench.plain_loop import send_plainly
from bench.rows import Row, a_second, at_least, by_rounds, options_of, tell
from bench.sending_workspace import Chain, make_workspace, queue_letters
from nurture.logs import prepare_logging

GOAL = at_least(3)
LETTERS = 50
ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def away(port: int, milliseconds: float) -> Iterator[int]:
    """The port of a relay to this one: so much there and back."""
    command = [sys.executable, "-m", "bench.relay", str(port), str(milliseconds / 2)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def round_trip_ms(port: int) -> float:
    """Median of 50 NOOPs."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.recv(1000)
        for _ in range(50):
            began = time.perf_counter()
            link.sendall(b"NOOP\r\n")
            link.recv(1000)
            times.append((time.perf_counter() - began) * 1000)
        link.sendall(b"QUIT\r\n")
    return statistics.median(times)


def measure(*, messages: int, plain: int, connections: int, rounds: int, milliseconds: float) -> list[Row]:
    rates: dict[str, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder,
        smtp_sink() as near,
        away(near, milliseconds) as port,
    ):
        root = make_workspace(Path(folder) / "workspace", port=port, connections=connections)
        queue_letters(root, messages)
        chain = Chain(root)
        letters = chain.letters(LETTERS)
        there_and_back = round_trip_ms(port)
        for _ in range(rounds):
            rates["ours"].append(chain.rate(messages))
            for name, count, ready in (("aiosmtplib", messages, letters), ("plain", plain, ())):
                rates[name].append(send_plainly(root, port=port, count=count, connections=connections, letters=ready))
                chain.queue_again()
        chain.close()
    ours = a_second(rates["ours"])
    work = f"send, {milliseconds:g} ms away"
    note = f"{there_and_back:.1f} ms there and back as measured; {connections} connections"
    return [
        Row(
            work=work,
            limit=f"aiosmtplib, letters ready made: {a_second(rates['aiosmtplib'])}",
            result=ours,
            ratios=by_rounds(rates["ours"], rates["aiosmtplib"]),
            goal=GOAL,
            note=f"{note}, {messages:,} messages, a commit for each row",
        ),
        Row(
            work=work,
            limit=f"plain loop: {a_second(rates['plain'])}",
            result=ours,
            ratios=by_rounds(rates["ours"], rates["plain"]),
            note=f"{note}, {plain:,} messages; aiosmtplib behind `EmailMessage`",
        ),
    ]


def main() -> None:
    parser = options_of(__doc__, "bench.send_far")
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--plain", type=int, default=500)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--milliseconds", type=float, default=5.0, help="there and back (default 5)")
    options = parser.parse_args()
    prepare_logging()
    rows = measure(
        messages=options.messages,
        plain=min(options.plain, options.messages),
        connections=options.connections,
        rounds=options.rounds,
        milliseconds=options.milliseconds,
    )
    tell(rows, options.rows)


if __name__ == "__main__":
    main()

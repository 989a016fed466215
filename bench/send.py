"""The whole chain of sending against Postfix's smtp-source and against a plain loop, into the same smtp-sink, in turns.

The chain: claim, render, compose, sign, durable commits (SQLite, WAL, synchronous=FULL), SMTP; one process, a letter of
33 KB on the wire with 13 tracked links. smtp-source opens a connection for each message, its default, and with -d
reuses them; both are shown. The plain loop is bench/plain_loop.py. Needs smtp-source and smtp-sink (Debian: postfix).
"""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.machine import fdatasync_ms
from bench.next_hop import smtp_sink, smtp_source
from bench.plain_loop import send_plainly
from bench.rows import Row, a_second, at_least, by_rounds, options_of, tell
from bench.sending_workspace import DKIM, Chain, make_workspace, queue_letters
from nurture.logs import prepare_logging

GOALS = {"none": at_least(0.50), "rsa-2048": at_least(0.25), "ed25519": at_least(0.45)}
NAMES = {"none": "without DKIM", "rsa-2048": "RSA-2048", "ed25519": "Ed25519"}
PLAIN = at_least(25)


def measure(*, kinds: list[str], messages: int, plain: int, connections: int, rounds: int) -> list[Row]:
    """A row for each kind of signature, and one against the plain loop (`plain` of its messages; 0: none)."""
    rates: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder, smtp_sink() as port:
        chains, sizes = {}, {}
        for kind in kinds:
            root = make_workspace(Path(folder) / kind, port=port, connections=connections, dkim=kind)
            queue_letters(root, messages)
            chains[kind] = Chain(root)
            sizes[kind] = len(chains[kind].letters(1)[0])
        print(f"fdatasync {fdatasync_ms(Path(folder)):.2f} ms; letters of {sizes} bytes", flush=True)
        for _ in range(rounds):
            for kind, chain in chains.items():
                rates[f"source {kind}"].append(smtp_source(port, messages, sizes[kind], connections))
                rates[kind].append(chain.rate(messages))
            rates["-d"].append(smtp_source(port, messages, sizes[kinds[0]], connections, "-d"))
            if plain:
                root = chains[kinds[0]].installation.root
                rates["plain"].append(send_plainly(root, port=port, count=plain, connections=connections))
                chains[kinds[0]].queue_again()
        for chain in chains.values():
            chain.close()
    print(f"smtp-source -d: {a_second(rates['-d'])}")
    conditions = f"{messages:,} messages, {connections} connections, SQLite"
    rows = [
        Row(
            work=f"send, {NAMES[kind]}",
            limit=f"smtp-source: {a_second(rates[f'source {kind}'])}",
            result=a_second(rates[kind]),
            ratios=by_rounds(rates[kind], rates[f"source {kind}"]),
            goal=GOALS[kind],
            note=f"{conditions}, {sizes[kind] / 1000:.1f} KB on the wire;"
            f" smtp-source -d: {statistics.median(rates['-d']):,.0f}",
        )
        for kind in kinds
    ]
    if plain:
        rows.append(
            Row(
                work=f"send, {NAMES[kinds[0]]}",
                limit=f"plain loop: {a_second(rates['plain'])}",
                result=a_second(rates[kinds[0]]),
                ratios=by_rounds(rates[kinds[0]], rates["plain"]),
                goal=PLAIN,
                note=f"`EmailMessage`, aiosmtplib, a commit for each row; {plain:,} messages, as many connections",
            )
        )
    return rows


def main() -> None:
    parser = options_of(__doc__, "bench.send")
    parser.add_argument("--dkim", nargs="+", choices=DKIM, default=list(DKIM), help="which signatures (default: all)")
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--plain", type=int, default=500, help="messages of the plain loop; 0 leaves it out")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prepare_logging()
    rows = measure(
        kinds=options.dkim,
        messages=options.messages,
        plain=min(options.plain, options.messages),
        connections=options.connections,
        rounds=options.rounds,
    )
    tell(rows, options.rows)


if __name__ == "__main__":
    main()

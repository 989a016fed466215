"""Two and four processes that send from one PostgreSQL, against one, into the same smtp-sink, in turns.

Each process claims what is due by itself, as `nurture run` on hosts of their own does; all begin at the same moment,
and the time ends when the last of them has nothing left. Beside the rates it prints how busy the machine was with one
worker: where no core is left free, more workers can't send more. Needs smtp-sink (Debian: postfix).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from bench.databases import a_database
from bench.machine import processor_seconds
from bench.next_hop import smtp_sink
from bench.rows import Row, a_second, at_least, by_rounds, options_of, tell
from bench.sending_workspace import Chain, make_workspace, queue_again, queue_letters, set_connections, settle
from nurture.bootstrap import system_clock
from nurture.logs import prepare_logging

GOALS = {2: at_least(1.6)}
ROOT = Path(__file__).resolve().parent.parent


def work_here(root: Path) -> None:
    """One worker: says that it is ready, waits for a line, sends, and tells how much and from when to when."""
    chain = Chain(root, sole_worker=False)
    chain.letters(1)  # a daemon has its templates compiled
    chain.attend()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    sent, _ = chain.send()
    print(json.dumps({"sent": sent, "began": began, "ended": time.monotonic()}), flush=True)
    chain.close()


def rate_of(root: Path, workers: int, expected: int) -> float:
    """Messages a second of so many processes together, each of which knows of the others."""
    command = [sys.executable, "-m", "bench.workers", "--one", str(root)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [json.loads(process.communicate()[0]) for process in processes]
    sent = sum(each["sent"] for each in told)
    if sent != expected:
        raise SystemExit(f"{sent} messages were sent, not {expected}")
    seconds: float = max(each["ended"] for each in told) - min(each["began"] for each in told)
    return float(sent) / seconds


def measure(*, counts: list[int], messages: int, connections: int, rounds: int) -> list[Row]:
    rates: dict[int, list[float]] = defaultdict(list)
    busy: dict[int, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder,
        a_database(postgresql=True) as database,
        smtp_sink() as port,
    ):
        root = make_workspace(Path(folder) / "workspace", port=port, connections=connections, url=database.url)
        queue_letters(root, messages)
        for _ in range(rounds):
            for workers in [1, *counts]:
                set_connections(root, connections * workers)  # which they share
                before = processor_seconds()
                rates[workers].append(rate_of(root, workers, messages))
                after = processor_seconds()
                busy[workers].append((after[0] - before[0]) / (after[1] - before[1]))
                queue_again(database, system_clock())
                settle(database)
    cores = os.cpu_count() or 1
    return [
        Row(
            work=f"{workers} workers on PostgreSQL",
            limit=f"one worker: {a_second(rates[1])}",
            result=a_second(rates[workers]),
            ratios=by_rounds(rates[workers], rates[1]),
            goal=GOALS.get(workers),
            note=f"{messages:,} messages, {connections} connections a worker; {cores} cores, which PostgreSQL and the"
            f" next hop share: one worker keeps them {statistics.median(busy[1]):.0%} busy, start included",
        )
        for workers in counts
    ]


def main() -> None:
    parser = options_of(__doc__, "bench.workers")
    parser.add_argument("--workers", nargs="+", type=int, default=[2, 4], help="how many, beside one (default 2 4)")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=Path, metavar="ROOT", help="be one worker of this workspace")
    options = parser.parse_args()
    prepare_logging()
    if options.one is not None:
        work_here(options.one)
        return
    rows = measure(
        counts=options.workers, messages=options.messages, connections=options.connections, rounds=options.rounds
    )
    tell(rows, options.rows)


if __name__ == "__main__":
    main()

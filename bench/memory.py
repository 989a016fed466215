"""Memory of one process while it sends, with few and with many leads, each of whom has a message in the queue.

For each size a fresh SQLite file holds so many leads, enrollments and queued messages; a fresh process sends the same
number of them (the rest is due tomorrow), and tells the most memory that it ever held (VmHWM), start included. Needs
smtp-sink (Debian: postfix).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import kibibytes
from bench.next_hop import smtp_sink
from bench.rows import Row, at_most, options_of, tell
from bench.sending_workspace import Chain, make_workspace, put_off, queue_letters
from nurture.logs import prepare_logging

GROWTH = at_most(1.10)
MEGABYTES = 100
ROOT = Path(__file__).resolve().parent.parent


def megabytes(leads: int, *, sent: int, connections: int) -> tuple[float, float]:
    """What the sending process held before its first message, and at most; MB of 1,000,000 bytes."""
    with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder, smtp_sink() as port:
        root = make_workspace(Path(folder) / "workspace", port=port, connections=connections)
        began = time.monotonic()
        queue_letters(root, leads)
        chain = Chain(root)
        put_off(chain.database, besides=sent)
        chain.close()
        print(f"{leads:,} leads, enrollments and messages made in {time.monotonic() - began:.0f} s", flush=True)
        command = [sys.executable, "-m", "bench.memory", "--one", str(root), "--sent", str(sent)]
        child = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        start, peak = (int(each) * 1024 / 1e6 for each in child.stdout.split())
        return start, peak


def send_here(root: Path, expected: int) -> tuple[int, int]:
    """In this process; KiB before the first message, and at most."""
    chain = Chain(root)
    start = kibibytes("self", "VmRSS")
    sent, _ = chain.send()
    chain.close()
    if sent != expected:
        raise SystemExit(f"{sent} messages were sent, not {expected}")
    return start, kibibytes("self", "VmHWM")


def main() -> None:
    parser = options_of(__doc__, "bench.memory")
    parser.add_argument("--leads", nargs=2, type=int, default=[10_000, 1_000_000], metavar=("FEW", "MANY"))
    parser.add_argument("--sent", type=int, default=10_000, help="messages that are sent at either size")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--one", type=Path, metavar="ROOT", help="send in this process and tell its size in KiB")
    options = parser.parse_args()
    prepare_logging()
    if options.one is not None:
        print(*send_here(options.one, options.sent))
        return
    few, many = options.leads
    sent = min(options.sent, few)
    (_, small), (start, large) = (megabytes(leads, sent=sent, connections=options.connections) for leads in (few, many))
    note = f"peak resident size, {start:.0f} MB of it before the first message; {sent:,} messages sent at either size,"
    note += " a message queued for every lead, SQLite"
    rows = [
        Row(
            work=f"memory while sending, {many:,} leads",
            limit=f"{few:,} leads: {small:.0f} MB",
            result=f"{large:.0f} MB",
            ratios=(large / small,),
            goal=GROWTH,
            note=note,
        ),
        Row(
            work=f"memory while sending, {many:,} leads",
            limit=f"{MEGABYTES} MB a process",
            result=f"{large:.0f} MB",
            ratios=(large / MEGABYTES,),
            goal=at_most(1),
            note=note,
        ),
    ]
    tell(rows, options.rows)


if __name__ == "__main__":
    main()

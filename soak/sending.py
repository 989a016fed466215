"""Sends at full rate for a long time, and looks whether anything grows: `make soak-send`.

A process of its own sends into Postfix's smtp-sink (Debian: postfix) what this one keeps in the queue: letter after
letter to the same leads, each a new message. With `--waited 120` each comes with an age of 120 seconds: one that waited
for over a minute goes a longer way, for its lead's exits are asked once more. Every ten seconds the sender's memory,
threads and open files are looked at, the size of the database's write-ahead log, and how many messages went. At the end
the last quarter of the time is held against the second. Exit code 1 where they are not alike, or where a message ended
in another way than sent.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import Connection, String, cast, func, insert, literal, select, text, update

from bench.databases import a_database
from bench.machine import kibibytes
from bench.next_hop import smtp_sink
from bench.sending_workspace import SQLITE, Chain, make_workspace, queue_letters
from nurture.bootstrap import system_clock
from nurture.logs import prepare_logging
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.indexed import IS_WAITING

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE_AT_MOST = 1_000
"""Messages put into the queue in one transaction: more would keep the sender waiting for the lock."""
LOOK_S = 0.1
IDLE_S = 0.05
DRAIN_WITHIN_S = 60
MARGIN = 1.10
"""What is measured wavers a little; what grows for long leaves this behind."""
LOG_MARGIN = 1.5
"""A log grows by whole segments, and shrinks when a checkpoint comes by."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look. `rate` is messages a second since the look before; sizes are in MB of 1,000,000 bytes."""

    rate: float
    memory: float
    files: int
    threads: int
    log: float


MEASURED = (
    ("rate", "messages/s"),
    ("memory", "MB"),
    ("files", "open files"),
    ("threads", "threads"),
    ("log", "MB log"),
)


def judge(samples: Sequence[Sample]) -> list[str]:
    """What is not flat: the median of the last quarter against that of the second; of the log the most."""
    quarter = len(samples) // 4
    if quarter == 0:
        return [f"{len(samples)} looks are too few to tell: let it run for longer"]
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    found = []
    for name, unit in MEASURED:
        middle = max if name == "log" else statistics.median
        before, after = (middle([getattr(each, name) for each in part]) for part in (second, last))
        margin = LOG_MARGIN if name == "log" else MARGIN
        worse = after * margin < before if name == "rate" else after > before * margin
        if worse:
            found.append(f"{name}: {before:,.1f} {unit} in the second quarter, {after:,.1f} in the last")
    return found


class Queue:
    """Keeps messages waiting; knows how many it put in."""

    def __init__(self, database: Database, *, leads: int, waited: timedelta) -> None:
        self._database = database
        self._leads = leads
        self._waited = waited
        self._at_once = min(AT_ONCE_AT_MOST, max(leads // 4, 1))
        self.put_in = leads

    def waiting(self) -> int:
        with self._database.reading() as connection:
            return int(connection.scalar(select(func.count()).where(IS_WAITING)) or 0)

    def fill(self) -> None:
        """Another message for leads who had theirs, until as many wait as there are leads."""
        if self.waiting() < self._leads - self._at_once:
            with self._database.transaction() as connection:
                self._put(connection)

    def _put(self, connection: Connection) -> None:
        first = self.put_in % self._leads + 1
        last = min(first + self._at_once - 1, self._leads)
        number = literal(self.put_in - first + 1) + t.lead.c.id
        named: dict[str, Any] = {
            "id": number,
            "intent_key": literal("soak:") + cast(number, String),
            "lead_id": t.lead.c.id,
            "enrollment_id": t.lead.c.id,
            "to_address": t.lead.c.email,
            "status": literal("queued"),
        }
        kept = ("kind", "cadence", "version", "step", "visit", "recipient_domain", "sender", "payload")
        fresh = {
            "attempt": literal(0),
            "lease_epoch": literal(0),
            "created_at": literal(system_clock() - self._waited, t.message.c.created_at.type),
        }
        columns = [t.message.c[name] for name in (*kept, "not_before")]
        values = select(*named.values(), *fresh.values(), *columns).select_from(t.lead)
        values = values.join(t.message, t.message.c.id == 1).where(t.lead.c.id.between(first, last))
        into = [*named, *fresh, *(each.name for each in columns)]
        connection.execute(insert(t.message).from_select(into, values))
        e = t.enrollment.c
        theirs = e.lead_id.between(first, last)
        # the sender locks them in this order too, so that neither waits for the other
        connection.execute(select(e.id).where(theirs).order_by(e.id).with_for_update()).all()
        awaited = {"message_id": literal(self.put_in - first + 1) + e.lead_id, "due_at": None}
        connection.execute(update(t.enrollment).where(theirs).values(awaited))
        self.put_in += last - first + 1


def outcomes(database: Database) -> Counter[str]:
    """status -> messages."""
    m = t.message.c.status
    with database.reading() as connection:
        return Counter(dict(connection.execute(select(m, func.count()).group_by(m)).all()))


def log_mb(database: Database, root: Path) -> float:
    if database.is_sqlite:
        log = root / "nurture.db-wal"
        return log.stat().st_size / 1e6 if log.exists() else 0.0
    with database.reading() as connection:
        return float(connection.scalar(text("SELECT sum(size) FROM pg_ls_waldir()")) or 0) / 1e6


def send_here(root: Path) -> None:
    """In this process, pass after pass, until SIGTERM; then what was claimed is finished."""
    chain = Chain(root, sole_worker=True)

    async def passes() -> None:
        print("ready", flush=True)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        ending = asyncio.create_task(stopped.wait())
        ending.add_done_callback(lambda _: chain.stages.deliverer.drain())
        while not stopped.is_set():
            await chain.stages.deliver()
            await asyncio.sleep(IDLE_S)
        await chain.stages.deliverer.close()

    uvloop.run(passes())
    chain.close()


def watch(
    process: subprocess.Popen[bytes], queue: Queue, database: Database, root: Path, *, seconds: float, every: float
) -> list[Sample]:
    """Keeps the queue filled, and looks at the sender now and then."""
    samples: list[Sample] = []
    end, before, gone = time.monotonic() + seconds, time.monotonic(), 0
    while time.monotonic() < end and process.poll() is None:
        queue.fill()
        time.sleep(LOOK_S)
        now = time.monotonic()
        if now - before >= every:
            sent = queue.put_in - queue.waiting()
            sample = Sample(
                rate=(sent - gone) / (now - before),
                memory=kibibytes(process.pid, "VmRSS") * 1024 / 1e6,
                files=len(list(Path(f"/proc/{process.pid}/fd").iterdir())),
                threads=kibibytes(process.pid, "Threads"),
                log=log_mb(database, root),
            )
            samples.append(sample)
            before, gone = now, sent
            told = ", ".join(f"{getattr(sample, name):,.0f} {unit}" for name, unit in MEASURED)
            print(f"{seconds - (end - now):6.0f} s: {told}, {queue.put_in:,} messages", flush=True)
    return samples


def soak(
    *, seconds: float, every: float, leads: int, connections: int, postgresql: bool, waited: timedelta
) -> list[str]:
    """What was wrong."""
    with (
        tempfile.TemporaryDirectory(prefix="nurture-soak-") as folder,
        a_database(postgresql=postgresql) as named,
        smtp_sink() as port,
    ):
        url = named.url if postgresql else SQLITE
        root = make_workspace(Path(folder) / "workspace", port=port, connections=connections, url=url)
        queue_letters(root, leads)
        database = Database(url, root=root)
        queue = Queue(database, leads=leads, waited=waited)
        process = subprocess.Popen(
            [sys.executable, "-m", "soak.sending", "--one", str(root)], cwd=ROOT, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            samples = watch(process, queue, database, root, seconds=seconds, every=every)
            process.terminate()
            code = process.wait(DRAIN_WITHIN_S)
        finally:
            process.kill()
        found = judge(samples) + ([f"the sender ended with code {code}"] if code else [])
        counted = outcomes(database)
        database.close()
    odd = {status: count for status, count in counted.items() if status not in ("sent", "queued", "deferred")}
    if odd:
        found.append(f"messages that were neither sent nor left in the queue: {odd}")
    name = "PostgreSQL" if postgresql else "SQLite"
    rate = statistics.median(each.rate for each in samples) if samples else 0
    print(f"soak: {counted['sent']:,} sent in {seconds / 60:.1f} minutes on {name}, {rate:,.0f} messages/s")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m soak.sending", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--every", type=float, default=10, help="seconds between two looks")
    parser.add_argument("--leads", type=int, default=20_000, help="as many messages wait in the queue")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--waited", type=float, default=0, metavar="SECONDS", help="the age that letters come with")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--one", type=Path, metavar="ROOT", help="be the sender of this workspace, until SIGTERM")
    given = parser.parse_args()
    prepare_logging()
    if given.one is not None:
        send_here(given.one)
        return
    found = soak(
        seconds=given.minutes * 60,
        every=given.every,
        leads=given.leads,
        connections=given.connections,
        postgresql=given.postgresql,
        waited=timedelta(seconds=given.waited),
    )
    print(*found or ["nothing grew, nothing slowed down"], sep="\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

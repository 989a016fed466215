"""The whole chain of sending against Postfix's smtp-source, into the same smtp-sink, in one run.

    python -m bench.send [--messages 5000] [--connections 16] [--rounds 3]

The chain: claim, render, compose, durable commits (SQLite, WAL, synchronous=FULL), SMTP; a letter of some 40 KB with
13 tracked links. smtp-source opens a connection for each message, its default, and with -d reuses them; both are shown.
Needs smtp-source and smtp-sink (Debian: postfix). Prints the machine, the disk's fdatasync and the ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from sqlalchemy import insert, update

from bench.letter_template import write_template
from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_stages, open_installation, prepare_logging
from nurture.store import tables as t
from nurture.store.outbox import due_messages

GOAL = 0.50
CONFIG = """
[workspace]
name = "Acme Analytics"
public_url = "https://mail.acme.example"
postal_address = "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"
timezone = "Europe/Berlin"
secret_key = "env:NURTURE_SECRET_KEY"
[database]
url = "sqlite:///nurture.db"
[smtp.primary]
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
[senders.anna]
from = "Anna Meier <anna@acme.example>"
[sending]
sender = "anna"
"""
CADENCE = """
name: Bench
segment: stage == "lead"
enroll: current_and_future
window: any
steps:
  - email: letter
    id: letter
    subject: "{{ lead.first_name }}, a letter for {{ lead.company | default('your team') }}"
    preheader: One minute
"""


def make_workspace(root: Path, port: int, connections: int, count: int) -> None:
    (root / "cadences").mkdir()
    (root / "config.toml").write_text(CONFIG.format(port=port, connections=connections))
    (root / "cadences" / "bench.yaml").write_text(CADENCE)
    write_template(root / "templates" / "email")
    installation = open_installation(root)
    now = installation.clock()
    rows = [
        {
            "email": f"lead{number}@example.com",
            "email_key": f"lead{number}@example.com",
            "email_domain": "example.com",
            "first_name": f"Lead {number}",
            "company": f"Company {number % 97}",
            "stage": "lead",
            "consented_at": now,
            "created_at": now,
            "custom": {},
            "readings": {},
            "fit": "unknown",
            "fit_points": 0.0,
            "hot_armed": True,
            "rescore": False,
        }
        for number in range(count)
    ]
    with installation.database.transaction() as connection:
        connection.execute(insert(t.lead), rows)
    installation.database.close()


def chain(root: Path) -> float:
    """Messages a second of one pass over everything that is queued."""
    installation = open_installation(root)
    stages = build_stages(installation, load_workspace(root), sole_worker=True)
    stages.enroll()
    stages.advance()

    async def send() -> tuple[int, float]:
        began = time.perf_counter()
        report = await stages.deliver()
        seconds = time.perf_counter() - began
        await stages.deliverer.close()
        return report.sent, seconds

    sent, seconds = uvloop.run(send())
    with installation.database.transaction() as connection:  # the same messages again for the next round
        again = {"status": "queued", "sent_at": None, "dotted_at": None, "not_before": t.message.c.created_at}
        connection.execute(update(t.message).values(again))
        connection.execute(update(t.enrollment).values(due_at=None))
    installation.database.close()
    return sent / seconds


def size_of_a_letter(root: Path) -> int:
    installation = open_installation(root)
    stages = build_stages(installation, load_workspace(root), sole_worker=True)
    stages.enroll()
    stages.advance()
    writer = stages.deliverer._letters
    with installation.database.transaction() as connection:
        rows = due_messages(connection, now=installation.clock(), limit=1)
        writer.prepare(connection, rows)
    outgoing = writer.write(rows[0], writer.message_id(rows[0]))
    installation.database.close()
    return len(outgoing.wire)


def smtp_source(port: int, count: int, size: int, connections: int, *flags: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [tool("smtp-source"), *flags, "-s", str(connections), "-l", str(size), "-m", str(count), f"127.0.0.1:{port}"],
        check=True,
    )
    return count / (time.perf_counter() - began)


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin")
    if found is None:
        sys.exit(f"{name} is missing: on Debian, apt-get install postfix")
    return found


def fdatasync_ms(folder: Path) -> float:
    """Median of 200 small appends, each synced."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 512)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("NURTURE_SECRET_KEY", "a secret for the benchmark alone")
    prepare_logging()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        port = free_port()
        command = [tool("smtp-sink"), "-u", "nobody", "-c", f"127.0.0.1:{port}", "1000"]
        sink = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        try:
            make_workspace(root, port, options.connections, options.messages)
            size = size_of_a_letter(root)
            print(f"machine: {os.cpu_count()} cores, Python {platform.python_version()}")
            print(f"disk: fdatasync {fdatasync_ms(root):.2f} ms (the goal holds up to 0.5 ms)")
            print(f"letter: {size} bytes, 13 links; {options.messages} messages, {options.connections} connections")
            ours, theirs, reused = [], [], []
            for _ in range(options.rounds):
                theirs.append(smtp_source(port, options.messages, size, options.connections))
                ours.append(chain(root))
                reused.append(smtp_source(port, options.messages, size, options.connections, "-d"))
            report(ours, theirs, reused)
        finally:
            sink.kill()
            sink.wait()


def report(ours: list[float], theirs: list[float], reused: list[float]) -> None:
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    print(f"smtp-source        {statistics.median(theirs):8.0f} messages/s")
    print(f"smtp-source -d     {statistics.median(reused):8.0f} messages/s")
    print(f"nurture            {statistics.median(ours):8.0f} messages/s")
    rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio to smtp-source: {statistics.median(ratios):.2f} (goal {GOAL:.2f}); rounds {rounds}")


if __name__ == "__main__":
    main()

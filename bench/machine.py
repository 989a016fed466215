"""What the figures were measured on: processors, disk, versions, and the programs of others that a benchmark needs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from bench.databases import a_database

ELSEWHERE = "/usr/sbin:/usr/lib/postfix/sbin:/usr/libexec/postfix"
PACKAGES = {"smtp-source": "postfix", "smtp-sink": "postfix", "wrk": "wrk"}
"""Who brings which program, by Debian's names."""


def found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{ELSEWHERE}")


def tool(name: str) -> str:
    """Where a program is; ends the benchmark with one line where it is missing."""
    path = found(name)
    if path is None:
        sys.exit(f"{name} is missing: on Debian, apt-get install {PACKAGES[name]}")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def kibibytes(pid: int | str, word: str) -> int:
    """A line of /proc/PID/status: VmRSS, VmHWM (the peak)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    told = re.search(rf"^{word}:\s+(\d+)", status, re.MULTILINE)
    assert told is not None, status
    return int(told[1])


def processor_seconds() -> tuple[float, float]:
    """(busy, all) of the whole machine since it started, to tell how much of it was free meanwhile."""
    times = [int(each) for each in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    idle = times[3] + times[4]
    return (sum(times) - idle) / 100, sum(times) / 100


def versions() -> list[str]:
    """One line a thing: the machine, its disk, the programs."""
    with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder:
        disk = fdatasync_ms(Path(folder))
    programs = f"SQLite {sqlite3.sqlite_version}, PostgreSQL {_postgresql()}, Postfix {_postfix()}"
    return [
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB; {platform.system()} {platform.release()}",
        f"disk: `fdatasync` takes {disk:.2f} ms (the goals hold up to 0.5 ms)",
        f"Python {platform.python_version()}, {programs}",
    ]


def _processor() -> str:
    told = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return told[1] if told is not None else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _postgresql() -> str:
    with a_database(postgresql=True) as database, database.reading() as connection:
        return str(connection.scalar(text("SHOW server_version")))


def _postfix() -> str:
    postconf = found("postconf")
    if postconf is None:
        return "none"
    return subprocess.run([postconf, "-dh", "mail_version"], capture_output=True, text=True, check=True).stdout.strip()

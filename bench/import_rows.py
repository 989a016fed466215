"""Importing leads against its limit: Python's `csv` reader alone with the same validation, in the same run.

Usage: python bench/import_rows.py [ROWS …]      (default 100000 1000000)

Each size runs in a process of its own, so that the peak of its memory is its own. Prints rows a second, the ratio to
the plain loop (goal: at most 3), and the peak resident size, which must not grow with the rows.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HEADER = """Record ID,First Name,Last Name,Email,Company Name,Job Title,Country/Region,Time Zone,Lifecycle Stage,\
Original Source,Campaign,Tags,Number of Employees,Plan,Marketing consent,Consent Date,Create Date"""
GOAL = 3.0


def write_list(path: Path, rows: int) -> None:
    """Made-up leads in the columns of a HubSpot export; one in fifty is refused, one in fifty repeats an address."""
    rng = random.Random(7)
    countries = (
        ("Germany", "Europe/Berlin"),
        ("France", "Europe/Paris"),
        ("United States", ""),
        ("Japan", "Asia/Tokyo"),
    )
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        file.write(HEADER + "\r\n")
        for number in range(rows):
            country, zone = rng.choice(countries)
            who = number if rng.random() > 0.02 else rng.randrange(number + 1)
            day = f"2026-{rng.randint(1, 9):02}-{rng.randint(1, 28):02}"
            writer.writerow(
                [
                    who,
                    rng.choice(("Zoë", "Ann", "学", "Max", "Chloé")),
                    rng.choice(("Meier", "Brown", "佐藤", "Dubois")),
                    f"person.{who}@{rng.choice(('example.com', 'mail.example.net', 'corp.example'))}",
                    f"Company {who % 9973} & Söhne",
                    rng.choice(("CFO", "VP Marketing", "Student", "Head of Growth")),
                    country,
                    zone,
                    "Lead",
                    rng.choice(("webinar", "blog", "paid search")),
                    rng.choice(("Spring webinar", "Brand ads")),
                    rng.choice(("guide", "newsletter", "guide;newsletter", "")),
                    rng.choice(("3", "12", "80", "1200")),
                    rng.choice(("team", "pro", "")),
                    "Yes" if rng.random() > 0.02 else "No",
                    day,
                    f"{day} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00",
                ]
            )


def plain_loop(path: Path) -> float:
    """Seconds that reading and validating takes, with nothing stored."""
    from nurture.inbound.columns import map_columns
    from nurture.inbound.lead_rows import RowReader

    begun = time.perf_counter()
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        columns = map_columns(next(reader), {})
        read = RowReader(columns, source="bench", consent_text=None, tags=(), owners={}, import_id=None).read
        for cells in reader:
            read(cells)
    return time.perf_counter() - begun


def measure(rows: int) -> dict[str, float]:
    """In this process: the import into a fresh SQLite file, and the plain loop over the same list."""
    from sqlmodel import SQLModel

    from nurture.inbound.csv_import import ImportRequest, import_leads
    from nurture.store import tables as _tables  # noqa: F401  registers the tables
    from nurture.store.database import Database

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        write_list(path, rows)
        database = Database("sqlite:///bench.db", root=Path(folder))
        SQLModel.metadata.create_all(database.engine)
        before = plain_loop(path)
        begun = time.perf_counter()
        report = import_leads(database, ImportRequest(path=path, source="bench"), now=NOW)
        took = time.perf_counter() - begun
        after = plain_loop(path)
        database.close()
    plain = (before + after) / 2
    assert report.rows == rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": rows, "plain": plain, "took": took, "ratio": took / plain, "peak_mib": peak}


def main(sizes: list[int]) -> None:
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite, synchronous=FULL"
    )
    for rows in sizes:
        child = subprocess.run(
            [sys.executable, __file__, "--one", str(rows)], check=True, capture_output=True, text=True
        )
        found = json.loads(child.stdout)
        print(
            f"{rows:>9,} rows: import {found['rows'] / found['took']:,.0f} rows/s, csv and validation alone "
            f"{found['rows'] / found['plain']:,.0f} rows/s, ratio {found['ratio']:.2f} (goal ≤ {GOAL}), "
            f"peak {found['peak_mib']:.0f} MiB"
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        main([int(text) for text in sys.argv[1:]] or [100_000, 1_000_000])

"""Importing leads against its limit: Python's `csv` reader alone with the same validation, in the same run.

Each import runs in a process of its own, so that the peak of its memory is its own, which must not grow with the rows.
The plain loop runs in others, before the import and after it, and the mean of both is the limit.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import kibibytes
from bench.rows import Row, at_most, options_of, tell

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HEADER = """Record ID,First Name,Last Name,Email,Company Name,Job Title,Country/Region,Time Zone,Lifecycle Stage,\
Original Source,Campaign,Tags,Number of Employees,Plan,Marketing consent,Consent Date,Create Date"""
GOAL = at_most(3)
FLAT = at_most(1.1)
ROOT = Path(__file__).resolve().parent.parent


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


def whole_import(path: Path) -> dict[str, float]:
    """Of this list into a fresh SQLite file: its rows, seconds, and the peak of this process's memory in MB."""
    from sqlmodel import SQLModel

    from nurture.inbound.csv_import import ImportRequest, import_leads
    from nurture.store import tables as _tables  # noqa: F401  registers the tables
    from nurture.store.database import Database

    database = Database("sqlite:///bench.db", root=path.parent)
    SQLModel.metadata.create_all(database.engine)
    begun = time.perf_counter()
    report = import_leads(database, ImportRequest(path=path, source="bench"), now=NOW)
    took = time.perf_counter() - begun
    database.close()
    return {"rows": report.rows, "took": took, "peak_mb": kibibytes("self", "VmHWM") * 1024 / 1e6}


def apart(option: str, path: Path) -> Any:
    """What this file prints with this option, in a process of its own."""
    command = [sys.executable, "-m", "bench.import_rows", option, str(path)]
    child = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(child.stdout)


def measure(rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder:
        path = Path(folder) / "list.csv"
        write_list(path, rows)
        before = apart("--plain", path)
        imported: dict[str, float] = apart("--one", path)
        after = apart("--plain", path)
    assert imported["rows"] == rows
    return {**imported, "plain": (before + after) / 2}


def main() -> None:
    parser = options_of(__doc__, "bench.import_rows")
    parser.add_argument("sizes", nargs="*", type=int, default=[100_000, 1_000_000], help="rows (default: 100 k, 1 M)")
    parser.add_argument("--one", type=Path, metavar="LIST", help="import this list in this process; prints JSON")
    parser.add_argument("--plain", type=Path, metavar="LIST", help="the plain loop over this list; prints seconds")
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(whole_import(options.one)))
        return
    if options.plain is not None:
        print(plain_loop(options.plain))
        return
    found = [measure(rows) for rows in sorted(options.sizes)]
    rows = [
        Row(
            work=f"importing {each['rows']:,} rows",
            limit=f"`csv` and the same validation: {each['rows'] / each['plain']:,.0f} rows/s",
            result=f"{each['rows'] / each['took']:,.0f} rows/s",
            ratios=(each["took"] / each["plain"],),
            goal=GOAL,
            note="SQLite",
        )
        for each in found
    ]
    few, many = found[0], found[-1]
    if few is not many:
        rows.append(
            Row(
                work=f"memory while importing {many['rows']:,} rows",
                limit=f"{few['rows']:,} rows: {few['peak_mb']:.0f} MB",
                result=f"{many['peak_mb']:.0f} MB",
                ratios=(many["peak_mb"] / few["peak_mb"],),
                goal=FLAT,
                note="peak resident size of the process",
            )
        )
    tell(rows, options.rows)


if __name__ == "__main__":
    main()

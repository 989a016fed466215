"""Taking 1,000 enrollments that are due, of 100 thousand, 1 million and 10 million under way.

Usage: python -m bench.due [MOST] [--postgresql]            (default 10000000 on SQLite)

Each size is a table of its own; the rest of it is due at some moment of the coming year. What is timed is the stage's
own claim, with the leads that it brings along, in a transaction that is rolled back; the median of the turns counts.
Prints the milliseconds and the ratio to the smallest table (goal: at most 1.5).
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from datetime import UTC, datetime

from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from bench.databases import a_database
from nurture.store.database import Database
from nurture.store.enrollments import claim_due

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SIZES = (100_000, 1_000_000, 10_000_000)
LEADS = 100_000
TAKEN = 1_000
TURNS = 15
GOAL = 1.5

SERIES = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :many) SELECT {} FROM n",
    "postgresql": "SELECT {} FROM generate_series(0, :many - 1) AS n(i)",
}
MOMENT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', '2026-11-24 12:00:00', ({0}) || ' seconds')",
    "postgresql": "TIMESTAMPTZ '2026-11-24 12:00:00+00' + ({0}) * INTERVAL '1 second'",
}


class TurnedBackError(Exception):
    """Ends a transaction without keeping what it did."""


def fill(connection: Connection, many: int) -> None:
    """`many` active enrollments of 100,000 leads; a thousand of them, spread over the table, are due."""
    dialect = connection.dialect.name
    series, moment = SERIES[dialect], MOMENT[dialect]
    address = "'lead' || i || '@host' || (i % 5000) || '.example'"
    false, empty = ("false", "'{}'::json") if dialect == "postgresql" else ("0", "'{}'")
    lead = f"i + 1, {address}, {address}, 'host.example', 'lead', {empty}, {empty}, 'A', 30, {false}, {false}, "
    lead += f"{moment.format('-86400')}, {moment.format('-86400')}"
    connection.execute(
        text(
            "INSERT INTO lead (id, email, email_key, email_domain, stage, custom, readings, fit, fit_points, hot_armed,"
            " rescore, created_at, consented_at) " + series.format(lead)
        ),
        {"many": min(LEADS, many)},
    )
    every = many // TAKEN
    due = moment.format(f"CASE WHEN i % {every} = 0 THEN -60 - i % 1000 ELSE 60 + (i * 7919) % 31536000 END")
    values = f"i % {LEADS} + 1, 'cadence' || (i / {LEADS}), 'v', '1', 'active', 50, {false}, 'step', 1, "
    values += f"{moment.format('-86400')}, {due}, {due}, {moment.format('-86400')}"
    connection.execute(
        text(
            "INSERT INTO enrollment (lead_id, cadence, version, run, status, priority, concurrent, step, visit,"
            " enrolled_at, due_at, ready_at, since_at) " + series.format(values)
        ),
        {"many": many},
    )


def taking(database: Database) -> float:
    """Milliseconds of the median turn."""
    turns = []
    for _ in range(TURNS):
        try:
            with database.transaction() as connection:
                began = time.perf_counter()
                rows = claim_due(connection, now=NOW, limit=TAKEN)
                turns.append((time.perf_counter() - began) * 1000)
                if len(rows) != TAKEN:
                    raise SystemExit(f"{len(rows)} were due, not {TAKEN}")
                raise TurnedBackError
        except TurnedBackError:
            continue
    return statistics.median(turns[2:])


def measure(many: int, *, postgresql: bool) -> float:
    """A database with `many` enrollments, asked and thrown away."""
    with a_database(postgresql=postgresql) as database:
        SQLModel.metadata.create_all(database.engine)
        with database.transaction() as connection:
            fill(connection, many)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        return taking(database)


def main() -> None:
    """Prints one line a size."""
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    most, postgresql = numbers[0] if numbers else SIZES[-1], "--postgresql" in sys.argv
    name = "PostgreSQL" if postgresql else "SQLite"
    print(f"{platform.platform()}, Python {platform.python_version()}, {name}: {TAKEN:,} due of")
    smallest = None
    for many in (size for size in SIZES if size <= most):
        took = measure(many, postgresql=postgresql)
        smallest = smallest or took
        print(f"  {many:>12,}: {took:7.2f} ms, ratio {took / smallest:.2f} (goal {GOAL})", flush=True)


if __name__ == "__main__":
    main()

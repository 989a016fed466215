"""Taking 1,000 enrollments that are due, of 100 thousand, 1 million and 10 million under way.

Each size is a table of its own; the rest of it is due at some moment of the coming year. What is timed is the stage's
own claim, with the leads that it brings along, in a transaction that is rolled back; the median of the turns counts.
The limit is the smallest table. Filling 10 million takes minutes.
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime

from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from bench.databases import a_database
from bench.rows import Row, at_most, options_of, tell
from nurture.store.database import Database
from nurture.store.enrollments import claim_due

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SIZES = (100_000, 1_000_000, 10_000_000)
LEADS = 100_000
TAKEN = 1_000
TURNS, WARM = 15, 2
GOAL = at_most(1.5)

SERIES = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :many) SELECT {} FROM n",
    "postgresql": "SELECT {} FROM generate_series(CAST(0 AS BIGINT), :many - 1) AS n(i)",
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
    return statistics.median(turns[WARM:])


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
    parser = options_of(__doc__, "bench.due")
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="enrollments (default: 100 k, 1 M, 10 M)")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    options = parser.parse_args()
    name = "PostgreSQL" if options.postgresql else "SQLite"
    smallest, *others = sorted(options.sizes)
    limit = measure(smallest, postgresql=options.postgresql)
    print(f"{TAKEN:,} due of {smallest:,} on {name}: {limit:.2f} ms", flush=True)
    rows = []
    for many in others:
        took = measure(many, postgresql=options.postgresql)
        rows.append(
            Row(
                work=f"taking {TAKEN:,} due of {many:,} enrollments",
                limit=f"of {smallest:,}: {limit:.2f} ms",
                result=f"{took:.2f} ms",
                ratios=(took / limit,),
                goal=GOAL,
                note=f"{name}, median of {TURNS - WARM} turns",
            )
        )
    tell(rows, options.rows)


if __name__ == "__main__":
    main()

"""The only file that knows which database this is: engines, transactions, and the few functions that differ.

The store is synchronous with short transactions; async code calls it through a thread.
"""

from __future__ import annotations

import math
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.schema import Table

from nurture.domain.folding import fold
from nurture.domain.patterns import machine
from nurture.domain.problem import Problem
from nurture.store.spellings import one_of

__all__ = [
    "Database",
    "DatabaseUnavailable",
    "check_reachable",
    "insert",
    "insert_ignore",
    "one_of",
    "with_lock_skipped",
]

LOCK_WAIT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 15_000
NOTICED_WITHIN: dict[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A PostgreSQL that went away without a word is noticed in 25 s and not in two hours; libpq's names and units, and what
the URL says of them goes first."""
ASYNCPG_WORDS = (
    *("host", "port", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "passfile"),
    *("target_session_attrs", "application_name", "options"),
)


class DatabaseUnavailable(Problem):
    """The database can't be reached or opened."""


class Database:
    """An engine with its transactions. `url` is any SQLAlchemy or libpq URL; `sqlite:///x` is relative to `root`."""

    def __init__(self, url: str, *, root: Path | None = None) -> None:
        self.url = url
        self.engine = _sqlite_engine(url, root) if url.startswith("sqlite") else _postgres_engine(url)
        self._before_close: list[Callable[[], None]] = []

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def asyncpg_url(self) -> str:
        """The same PostgreSQL for asyncpg, which hands words of a URL that it doesn't know to the server."""
        url = self.engine.url
        known = {key: value for key, value in url.query.items() if key in ASYNCPG_WORDS}
        return url.set(drivername="postgresql", query=known).render_as_string(hide_password=False)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction: serialised on SQLite from its first statement, row-locked on PostgreSQL."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite it takes no write lock."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(nurture_read=True)
            with connection.begin():
                yield connection

    def before_close(self, end: Callable[[], None]) -> None:
        """Whoever holds a connection of its own gives it up when the database is closed."""
        self._before_close.append(end)

    def close(self) -> None:
        for end in self._before_close:
            end()
        self.engine.dispose()


def insert(connection: Connection, table: Table) -> Any:
    """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update` on this dialect."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def insert_ignore(connection: Connection, table: Table) -> Insert:
    """An INSERT that leaves an existing row as it is: idempotence by unique key."""
    statement: Insert = insert(connection, table).on_conflict_do_nothing()
    return statement


def with_lock_skipped(statement: Any, *, of: Table | None = None) -> Any:
    """FOR UPDATE SKIP LOCKED; SQLite has no row locks and drops it, its writers being serialised anyway.

    `of` names the table whose rows are locked where others are joined from outside.
    """
    return statement.with_for_update(skip_locked=True, of=of)


def _sqlite_engine(url: str, root: Path | None) -> Engine:
    parsed = make_url(url)
    if parsed.database and parsed.database != ":memory:" and root is not None:
        parsed = parsed.set(database=str((root / parsed.database).resolve()))
    engine = create_engine(
        parsed,
        hide_parameters=True,  # an error is logged, and must not tell of leads
        pool_use_lifo=True,  # what the last one read is still in its cache
        connect_args={"timeout": LOCK_WAIT_MS / 1000 * 6, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours: see _begin
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute("PRAGMA cache_size=-2000")  # of each connection; behind it the kernel keeps the file
        cursor.close()
        connection.create_function("nurture_fold", 1, _fold_or_null, deterministic=True)
        connection.create_function("nurture_matches", 2, _matches_or_null, deterministic=True)
        if not _knows_exp(connection):
            connection.create_function("exp", 1, _exp_or_null, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # the default DEFERRED lets two claimers read the same row before either writes
        read = connection.get_execution_options().get("nurture_read")
        connection.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")

    return engine


def _fold_or_null(value: str | None) -> str | None:
    return None if value is None else fold(str(value))


def _matches_or_null(value: str | None, pattern: str) -> bool | None:
    return None if value is None else machine(pattern).found_in(fold(str(value)))


def _exp_or_null(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def _knows_exp(connection: sqlite3.Connection) -> bool:
    """Mathematical functions are a compile-time choice of SQLite's; its own are faster than ours."""
    try:
        connection.execute("SELECT exp(0)")
    except sqlite3.OperationalError:
        return False
    return True


def _postgres_engine(url: str) -> Engine:
    # `postgresql://USER:@/NAME?host=/dir` and every other libpq URI go to psycopg as they are
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    scheme, rest = url.split("://", 1)
    parsed = make_url(f"postgresql+psycopg://{rest}" if scheme == "postgresql" else url)
    return create_engine(
        parsed,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            **{name: value for name, value in NOTICED_WITHIN.items() if name not in parsed.query},
            "options": f"-c lock_timeout={LOCK_WAIT_MS} "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} -c timezone=UTC "
            # the promise of sending rests on commits that a crash of the server keeps
            "-c synchronous_commit=on "
            # the server's default is for disks with heads: a segment then reads all events rather than their index
            "-c random_page_cost=1.1",
        },
    )


def check_reachable(database: Database) -> None:
    """Raise `DatabaseUnavailable` with one line that says what to do."""
    try:
        with database.engine.connect():
            pass
    except DBAPIError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise DatabaseUnavailable(f"database {make_url(database.url).render_as_string()}: {cause}") from None


def schema_lock(connection: Connection) -> None:
    """Only one transaction changes the schema; on SQLite a write transaction is alone anyway."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7214001)")


def entrance_lock(connection: Connection, cadence: str, *, patiently: bool) -> bool:
    """One transaction at a time has that of a cadence, on SQLite as above. False: another has it, not `patiently`."""
    if connection.dialect.name == "sqlite":
        return True
    lock = "pg_advisory_xact_lock" if patiently else "pg_try_advisory_xact_lock"
    return connection.exec_driver_sql(f"SELECT {lock}(7214003, {lock_number(cadence)})").scalar() is not False


def lock_number(name: str) -> int:
    """The second half of the number of a name's advisory lock."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def clock_of(connection: Connection) -> datetime:
    """What time the database has; to compare with, never to work by."""
    told: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return told

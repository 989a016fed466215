"""Who is at work on a PostgreSQL: each owner of leases holds an advisory lock of its name while it sends.

The server frees the lock when the connection ends, so what a killed process had claimed need not wait for its lease.
A lost connection looks the same as a death: only what the lease epoch guards anyway may rest on this.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from nurture.store.database import Database

NAMES = 7214002
"""The first half of the lock's number; the second is made from the owner's name."""


class Presence:
    """One owner's lock. On SQLite nothing is held: a file lock says there who lives."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._number = _number(owner)
        self._connection: Connection | None = None
        if not database.is_sqlite:
            database.before_close(self.end)

    def keep(self) -> None:
        """Be seen from now on, or again where the connection was lost. Raises DBAPIError: the database is away."""
        if self._database.is_sqlite:
            return
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except DBAPIError:
                self.end()
        if self._connection is None:
            self._connection = self._hold()

    def _hold(self) -> Connection:
        connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # it is nobody else's until it ends
        try:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({NAMES}, {self._number})")
        except DBAPIError:
            connection.close()
            raise
        return connection

    def end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def absent(connection: Connection, owners: Iterable[str]) -> list[str]:
    """Those of these owners that hold no lock; on SQLite nobody can tell, so none."""
    asked = list(owners)
    if not asked or connection.dialect.name == "sqlite":
        return []
    statement = text(
        "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
        " AND classid = :names AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    present = set(connection.scalars(statement, {"names": NAMES}))
    return [owner for owner in asked if _number(owner) not in present]


def _number(owner: str) -> int:
    return zlib.crc32(owner.encode()) & 0x7FFFFFFF

"""Who is at work on a PostgreSQL: each owner of leases holds an advisory lock of its name while it sends.

The server frees the lock when the connection ends, so what a killed process had claimed need not wait for its lease.
A lost connection looks the same as a death: only what the lease epoch guards anyway may rest on this.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from nurture.store.database import Database

NAMES = 7214002
"""The first half of the lock's number; the second is made from the owner's name."""
INSUFFICIENT_PRIVILEGE = "42501"
HELD = (
    "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND classid = :names AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

log = structlog.get_logger()


class Presence:
    """One owner's lock. On SQLite nothing is held: a file lock says there who lives."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._number = _number(owner)
        self._connection: Connection | None = None
        self._told = False
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

    def _hold(self) -> Connection | None:
        """None where an earlier connection of ours holds the lock and may not be ended: it has us seen meanwhile."""
        connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # it is nobody else's until it ends
        try:
            if self._is_free(connection) or self._is_freed(connection):
                return connection
        except DBAPIError:
            connection.close()
            raise
        connection.close()
        return None

    def _is_free(self, connection: Connection) -> bool:
        return bool(connection.scalar(text(f"SELECT pg_try_advisory_lock({NAMES}, {self._number})")))

    def _is_freed(self, connection: Connection) -> bool:
        """A server that never heard of the end of a connection keeps its lock for hours. Nobody else has this name."""
        holder = text(f"SELECT pg_terminate_backend(pid) {HELD} AND objid = :number")
        try:
            connection.execute(holder, {"names": NAMES, "number": self._number})
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != INSUFFICIENT_PRIVILEGE:
                raise
            if not self._told:
                self._told = True
                log.error("earlier_connection_stays", what="it shows this process as present", error=str(error.orig))
            return False
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({NAMES}, {self._number})")
        return True

    def end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def absent(connection: Connection, owners: Iterable[str]) -> list[str]:
    """Those of these owners that hold no lock; on SQLite nobody can tell, so none."""
    asked = list(owners)
    if not asked or connection.dialect.name == "sqlite":
        return []
    statement = text(f"SELECT objid::bigint {HELD}")
    present = set(connection.scalars(statement, {"names": NAMES}))
    return [owner for owner in asked if _number(owner) not in present]


def _number(owner: str) -> int:
    return zlib.crc32(owner.encode()) & 0x7FFFFFFF

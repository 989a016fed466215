"""Who is at work on a PostgreSQL: each owner of leases holds an advisory lock of its name while it sends.

The server frees the lock when the connection ends, so what a killed process had claimed need not wait for its lease.
A lost connection looks the same as a death: only what the lease epoch guards anyway may rest on this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from nurture.store.database import Database, lock_number

NAMES = 7214002
"""The first half of the lock's number; the second is made from the owner's name."""
SILENT_AT_MOST = timedelta(seconds=150)
"""A process that froze is absent when its leases are over, though its connection stands."""
INSUFFICIENT_PRIVILEGE = "42501"
HELD = (
    "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND classid = :names AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

T = TypeVar("T")

log = structlog.get_logger()


class Presence:
    """One owner's lock, and what else it holds while it is there (`Slots`). Any thread may call.

    On SQLite nothing is held: a file lock says there who lives.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._number = lock_number(owner)
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._is_seen = False
        self._told = False
        self.on_return: Callable[[Connection], object] = lambda _: None
        """Called with each connection before anybody else uses it: what the one before held is held no more."""
        if not database.is_sqlite:
            database.before_close(self.end)

    def keep(self) -> None:
        """Be seen from now on, or again where the connection was lost. Raises DBAPIError: the database is away."""
        if self._database.is_sqlite:
            return
        with self._lock:
            is_new = self.with_connection(_answers) is None
            if is_new:
                self._connection = self._connect()
            if not self._is_seen:
                self._is_seen = self.with_connection(self._shows_us) or False
            if is_new:  # and the one before was ended, if the server still believed in it
                self.with_connection(self.on_return)

    @property
    def is_connected(self) -> bool:
        """As far as anybody noticed; what a lost connection held is held no more."""
        return self._connection is not None

    def with_connection(self, work: Callable[[Connection], T]) -> T | None:
        """What this work on the connection returns; None where there is none, or it was lost: `keep` makes another."""
        with self._lock:
            if self._connection is None:
                return None
            try:
                return work(self._connection)
            except DBAPIError:
                self._drop()
                return None

    def end(self) -> None:
        """Hold nothing from now on. The server would find out that the connection was closed, but a moment later."""
        self.with_connection(lambda connection: connection.exec_driver_sql("SELECT pg_advisory_unlock_all()"))
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection, self._is_seen = self._connection, None, False
            if connection is not None:
                connection.close()

    def _connect(self) -> Connection:
        connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # it is nobody else's until it ends
        try:
            connection.exec_driver_sql(f"SET idle_session_timeout = {SILENT_AT_MOST // timedelta(milliseconds=1)}")
        except DBAPIError:
            connection.close()
            raise
        return connection

    def _shows_us(self, connection: Connection) -> bool:
        is_free = connection.scalar(text(f"SELECT pg_try_advisory_lock({NAMES}, {self._number})"))
        return bool(is_free) or self._is_freed(connection)

    def _is_freed(self, connection: Connection) -> bool:
        """A server that never heard of the end of a connection keeps its lock for hours. Nobody else has this name.

        Where the earlier connection may not be ended it has us seen meanwhile.
        """
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


def absent(connection: Connection, owners: Iterable[str]) -> list[str]:
    """Those of these owners that hold no lock; on SQLite nobody can tell, so none."""
    asked = list(owners)
    if not asked or connection.dialect.name == "sqlite":
        return []
    present = set(_present(connection))
    return [owner for owner in asked if lock_number(owner) not in present]


def present_count(connection: Connection) -> int:
    """How many owners are at work."""
    return len(_present(connection))


def _answers(connection: Connection) -> bool:
    connection.exec_driver_sql("SELECT 1")
    return True


def _present(connection: Connection) -> list[int]:
    return list(connection.scalars(text(f"SELECT objid::bigint {HELD}"), {"names": NAMES}))

"""Databases to begin with: a migrated SQLite file, made once in a process, and a PostgreSQL with nothing in it.

Hundreds of tests begin with such a file, and migrating takes its time.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import text

from nurture.store.database import Database
from nurture.store.migrate import upgrade

SQLITE = "sqlite:///nurture.db"


def put_database(root: Path) -> None:
    """An empty `nurture.db` at `root`, unless there is one."""
    file = root / "nurture.db"
    if not file.exists():
        file.write_bytes(_migrated())


def clear(database: Database) -> None:
    """A PostgreSQL as if nothing had ever been made in it."""
    with database.transaction() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


def emptied(postgres_url: str) -> str:
    """The address again, of a PostgreSQL with nothing in it."""
    database = Database(postgres_url)
    clear(database)
    database.close()
    return postgres_url


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(SQLITE, root=Path(folder))
        upgrade(database)
        database.close()
        return (Path(folder) / "nurture.db").read_bytes()

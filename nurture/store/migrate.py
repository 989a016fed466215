"""Brings a database's schema up to date; the first command that needs a database calls it."""

from __future__ import annotations

from sqlmodel import SQLModel

from nurture.store import tables as _tables  # noqa: F401  registers the tables
from nurture.store.database import Database, check_reachable


def upgrade(database: Database) -> None:
    """Make or upgrade the schema. Raises DatabaseUnavailable."""
    check_reachable(database)
    SQLModel.metadata.create_all(database.engine)

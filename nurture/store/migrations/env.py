"""Alembic's door: runs migrations on the connection that `store/migrate.py` hands in."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlmodel import SQLModel

from nurture.store.tables import UTCDateTime


def _written(kind: str, value: Any, _context: AutogenContext) -> str | Literal[False]:
    """How our own column type stands in a migration: as what the database makes of it."""
    if kind == "type" and isinstance(value, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_item=_written,
    render_as_batch=True,
)
context.run_migrations()

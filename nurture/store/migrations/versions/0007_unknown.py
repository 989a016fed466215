"""Messages that a person must decide are found, and counted at every scrape, without reading all others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UNKNOWN = sa.text("status = 'unknown'")


def upgrade() -> None:
    op.create_index("message_unknown", "message", ["id"], sqlite_where=_UNKNOWN, postgresql_where=_UNKNOWN)

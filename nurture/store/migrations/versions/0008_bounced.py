"""What a sender sent today is counted without reading all that it ever sent, or all that waits for tomorrow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BOUNCED = sa.text("status = 'bounced'")


def upgrade() -> None:
    op.create_index(
        "message_bounced", "message", ["sender", "dotted_at"], sqlite_where=_BOUNCED, postgresql_where=_BOUNCED
    )

"""Limits that workers share, and how senders stand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "allowance",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("free_at", _TIME, nullable=True),
    )
    op.create_table(
        "sender_state",
        sa.Column("sender", sa.String(), primary_key=True),
        sa.Column("judged_from", _TIME, nullable=True),
        sa.Column("warned_at", _TIME, nullable=True),
    )
    op.create_index("message_by_sender", "message", ["sender", "sent_at"])

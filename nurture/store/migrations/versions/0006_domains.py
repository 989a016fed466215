"""What recipient domains answer, and mail to them that waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "domain_pause",
        sa.Column("domain", sa.String(), primary_key=True),
        sa.Column("sender", sa.String(), primary_key=True),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("trusted_until", _TIME, nullable=True),
    )
    op.create_table(
        "domain_replies",
        sa.Column("domain", sa.String(), primary_key=True),
        sa.Column("at", _TIME, primary_key=True),
        sa.Column("replies", sa.Integer(), nullable=False),
        sa.Column("hard", sa.Integer(), nullable=False),
    )
    op.create_index("ix_domain_replies_at", "domain_replies", ["at"])
    op.create_table(
        "unknown_host",
        sa.Column("domain", sa.String(), primary_key=True),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("last_at", _TIME, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
    )

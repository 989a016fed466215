"""The whole language of cadences: triggers, pauses by hand, held changes, tasks, webhooks on their way out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("cadence_state") as state:
        state.add_column(sa.Column("status", sa.Text(), nullable=False, server_default="live"))
        state.add_column(sa.Column("snapshot_at", _TIME, nullable=True))
        state.add_column(sa.Column("cleared_version", sa.String(), nullable=True))
        state.add_column(sa.Column("held_count", sa.Integer(), nullable=True))
        state.add_column(sa.Column("canary_version", sa.String(), nullable=True))
        state.add_column(sa.Column("canary_at", _TIME, nullable=True))
        state.add_column(sa.Column("canary_stopped_at", _TIME, nullable=True))
        state.drop_column("paused_by_hand")
    # what is in force has enrolled already, and its current leads were remembered when it was taken up
    op.execute("UPDATE cadence_state SET cleared_version = version, snapshot_at = first_taken_up_at")
    _say_exit_reasons_anew()
    with op.batch_alter_table("enrollment") as enrollment:
        enrollment.add_column(sa.Column("event_id", _KEY, nullable=True))
    with op.batch_alter_table("event") as event:
        event.add_column(sa.Column("readings", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("experiment_state") as state:
        state.add_column(sa.Column("compares", sa.Text(), nullable=False, server_default="mail"))
    op.create_table(
        "pause",
        sa.Column("scope", sa.String(), primary_key=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("note", sa.String(), nullable=True),
    )
    _task()
    _post()


def _say_exit_reasons_anew() -> None:
    renamed = {
        "customer": "stage",
        "disqualified": "stage",
        "no_consent": "consent_expired",
        "by_hand": "removed",
        "cadence_removed": "removed",
    }
    for before, after in renamed.items():
        update = sa.text("UPDATE enrollment SET exit_reason = :after WHERE exit_reason = :before")
        op.execute(update.bindparams(before=before, after=after))


def _task() -> None:
    op.create_table(
        "task",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        sa.Column("task_key", sa.String(), nullable=False),
        sa.Column("lead_id", _KEY, nullable=False),
        sa.Column("enrollment_id", _KEY, nullable=True),
        sa.Column("cadence", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("to", sa.String(), nullable=False),
        sa.Column("rep", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=True),
        sa.Column("told_at", _TIME, nullable=True),
        sa.Column("closed_at", _TIME, nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.UniqueConstraint("task_key", name="task_once"),
    )
    op.create_index("task_by_rep", "task", ["rep", "status"])
    op.create_index("task_by_lead", "task", ["lead_id", "created_at"])
    op.create_index("task_by_enrollment", "task", ["enrollment_id", "step"])
    untold = sa.text("status = 'open' AND told_at IS NULL")
    op.create_index("task_untold", "task", ["id"], sqlite_where=untold, postgresql_where=untold)


def _post() -> None:
    op.create_table(
        "post",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        sa.Column("post_key", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("lead_id", _KEY, nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("not_before", _TIME, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.UniqueConstraint("post_key", name="post_once"),
    )
    queued = sa.text("status = 'queued'")
    op.create_index("post_ready", "post", ["not_before", "id"], sqlite_where=queued, postgresql_where=queued)
    op.create_index("post_by_lead", "post", ["lead_id", "channel", "id"])

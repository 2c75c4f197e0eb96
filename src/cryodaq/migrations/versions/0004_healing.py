"""What became of each trigger, and why stages failed: what lost runs are found by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what is published already is settled."""
    op.add_column(
        "stage_result",
        sa.Column("cause", sa.Text(), comment="of a failure: domain.failures.Cause"),
        schema="ledger",
    )
    op.add_column(
        "trigger",
        sa.Column(
            "reruns", sa.Integer(), nullable=False, server_default="0", comment="runs that ended without a result"
        ),
        schema="ledger",
    )
    op.add_column("trigger", sa.Column("settled_at", sa.DateTime(timezone=True)), schema="ledger")
    op.add_column(
        "trigger",
        sa.Column("outcome", sa.Text(), comment="published failed; null while the movie is still to be processed"),
        schema="ledger",
    )
    op.execute(
        """
        update ledger.trigger set settled_at = published.ended_at, outcome = 'published'
        from (select movie_id, branch_id, max(ended_at) as ended_at from ledger.stage_result
              where stage = 'publish' and state = 'succeeded' group by movie_id, branch_id) as published
        where published.movie_id = trigger.movie_id and published.branch_id = trigger.branch_id
        """
    )
    op.drop_index("ix_trigger_unsent", table_name="trigger", schema="ledger")
    for name, column, condition in (
        ("ix_trigger_unsent", "next_attempt_at", "sent_at is null and settled_at is null"),
        ("ix_trigger_in_flight", "sent_at", "sent_at is not null and settled_at is null"),
    ):
        op.create_index(name, "trigger", [column], schema="ledger", postgresql_where=sa.text(condition))

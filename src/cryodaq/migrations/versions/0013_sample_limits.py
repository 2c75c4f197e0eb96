"""Limits that say which micrographs are in, kept with their sample."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sample_limits",
        sa.Column("sample_id", sa.Text(), nullable=False),
        sa.Column(
            "limits",
            postgresql.JSONB(),
            nullable=False,
            comment="quantity: [smallest, largest] that is in; null for no limit",
        ),
        sa.Column("kept_by", sa.Text(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["sample_id"], ["ledger.sample.id"], name=op.f("fk_sample_limits_sample_id_sample")),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_sample_limits")),
        schema="ledger",
        comment="Which micrographs of a sample are in, unless a person says otherwise of one.",
    )

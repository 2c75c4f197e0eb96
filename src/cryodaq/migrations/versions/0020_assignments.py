"""Remember what staff give from quarantine to a sample until it is done, so that a crash does not leave it half-way."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "assignment",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("microscope", sa.Text, nullable=False),
        sa.Column("to_sample", sa.Text, sa.ForeignKey("ledger.sample.id"), nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("exposures", JSONB, nullable=False, comment="ids of what leaves quarantine"),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        schema="ledger",
        comment="What staff gave from quarantine to a sample; an open row is carried on after a crash.",
    )
    op.create_index(
        "ix_assignment_open",
        "assignment",
        ["microscope"],
        schema="ledger",
        postgresql_where=sa.text("done_at is null"),
    )

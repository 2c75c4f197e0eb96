"""Short movies that a person called complete."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acceptance",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("frame_count", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("accepted_by", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["ledger.file.id"], name=op.f("fk_acceptance_file_id_file")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acceptance")),
        schema="ledger",
        comment="Short movies that a person called complete, as they were at that moment.",
    )
    op.create_index("ix_acceptance_file", "acceptance", ["file_id"], schema="ledger")

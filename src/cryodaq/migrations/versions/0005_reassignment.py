"""What staff give from one sample to another."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reassignment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("from_sample", sa.Text(), nullable=False),
        sa.Column("to_sample", sa.Text(), nullable=False),
        sa.Column(
            "asked",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="folder and since, as the person said them",
        ),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column(
            "exposures",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="ids of what is given to the other sample",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="planned moved done"),
        sa.Column(
            "facts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="how much was moved",
        ),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["from_sample"], ["ledger.sample.id"], name=op.f("fk_reassignment_from_sample_sample")),
        sa.ForeignKeyConstraint(["to_sample"], ["ledger.sample.id"], name=op.f("fk_reassignment_to_sample_sample")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reassignment")),
        schema="ledger",
        comment="What staff gave from one sample to another; an open row is carried on after a crash.",
    )
    op.create_index(
        "ix_reassignment_open",
        "reassignment",
        ["microscope"],
        schema="ledger",
        postgresql_where=sa.text("state <> 'done'"),
    )
    op.add_column(
        "movie",
        sa.Column(
            "moves",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="how often it was given to another sample",
        ),
        schema="ledger",
    )

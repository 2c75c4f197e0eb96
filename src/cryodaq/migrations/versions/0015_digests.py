"""What collaborators were told of their experiments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "digest",
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "invited",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="user names",
        ),
        sa.ForeignKeyConstraint(
            ["experiment"], ["ledger.experiment.name"], name=op.f("fk_digest_experiment_experiment")
        ),
        sa.PrimaryKeyConstraint("experiment", name=op.f("pk_digest")),
        schema="ledger",
        comment="What collaborators were told last of their experiment.",
    )
    op.create_index("ix_movie_published", "movie", ["published_at"], schema="ledger")

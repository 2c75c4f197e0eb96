"""How far exports were written: a movie's publication appends its lines instead of writing all of them again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "export_state",
        sa.Column("branch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "optics",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="optics groups in the order of their numbers",
        ),
        sa.Column("with_motion", sa.Boolean(), nullable=False, comment="whether every micrograph has its motion STAR"),
        sa.Column(
            "files",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="by name: bytes that count, digest of the head",
        ),
        sa.ForeignKeyConstraint(["branch_id"], ["ledger.branch.id"], name=op.f("fk_export_state_branch_id_branch")),
        sa.PrimaryKeyConstraint("branch_id", name=op.f("pk_export_state")),
        schema="ledger",
        comment="How far a branch's growing files were written; without a row they are made anew.",
    )
    op.create_table(
        "export_row",
        sa.Column("branch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("movie_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="of the movie's lines"),
        sa.Column("has_motion", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["branch_id"], ["ledger.branch.id"], name=op.f("fk_export_row_branch_id_branch")),
        sa.ForeignKeyConstraint(["movie_id"], ["ledger.movie.id"], name=op.f("fk_export_row_movie_id_movie")),
        sa.PrimaryKeyConstraint("branch_id", "movie_id", name=op.f("pk_export_row")),
        schema="ledger",
        comment="Which movies have lines in a branch's growing files.",
    )

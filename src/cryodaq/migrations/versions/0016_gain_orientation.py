"""How the gain references of a microscope lie against its movies, as movies showed it."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gain_orientation",
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="of gain reference and movie: their suffixes"),
        sa.Column("orientation", sa.Text(), nullable=False, comment="imaging.gain.ORIENTATIONS"),
        sa.Column("agreed", sa.Integer(), nullable=False, comment="movies that showed it one after another"),
        sa.Column("against", sa.Integer(), nullable=False, comment="movies that showed another one after another"),
        sa.PrimaryKeyConstraint("microscope", "kind", name=op.f("pk_gain_orientation")),
        schema="ledger",
    )

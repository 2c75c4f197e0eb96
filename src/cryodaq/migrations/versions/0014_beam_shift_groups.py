"""Which exposures were taken with the same shift of the beam: kept for each movie, so that its group never changes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "movie",
        sa.Column(
            "beam_shift_group",
            sa.Text(),
            comment="name in its sample; empty: not told apart; null: not published yet",
        ),
        schema="ledger",
    )
    op.execute("update ledger.movie set beam_shift_group = '' where state = 'published'")
    op.add_column(
        "sample",
        sa.Column(
            "beam_shifts", JSONB(), comment="publish.beam_shifts.Pattern: the places in which its exposures' shifts lie"
        ),
        schema="ledger",
    )
    op.alter_column(
        "export_state",
        "optics",
        comment="optics groups in the order of their numbers; null: no longer used",
        existing_comment="optics groups in the order of their numbers",
        existing_type=JSONB(),
        existing_nullable=False,
        schema="ledger",
    )

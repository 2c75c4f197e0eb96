"""Relative thickness of the ice as a column; micrographs aligned before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "measurement",
        sa.Column(
            "relative_ice_thickness",
            sa.Double,
            nullable=True,
            comment="mean free paths; only differences mean something",
        ),
        schema="ledger",
    )

"""Notice what changes an experiment's access while it is being set, and compare all experiments in turn."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "experiment",
        sa.Column(
            "access_changes",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="begun or doubted",
        ),
        schema="ledger",
    )
    op.add_column(
        "experiment", sa.Column("access_compared_at", sa.DateTime(timezone=True), nullable=True), schema="ledger"
    )

"""Which branch of a sample's parameters is current: new movies are processed in it, and pages show it."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sample",
        sa.Column(
            "current_branch",
            sa.Text(),
            nullable=False,
            server_default="live",
            comment="name of the branch that new movies are processed in",
        ),
        schema="ledger",
    )

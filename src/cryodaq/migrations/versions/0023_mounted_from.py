"""Remember which server's share a scan saw, so that another camera's in its place is not taken for it."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "share_state",
        sa.Column(
            "mounted_from",
            sa.Text,
            nullable=True,
            comment="the server's share at the last scan; no other is scanned",
        ),
        schema="ledger",
    )

"""Remember which gain references a movie's own frames contradicted: run again, it gets another one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "movie",
        sa.Column(
            "refused_gains",
            ARRAY(sa.Text),
            nullable=False,
            server_default="{}",
            comment="copies of gain references that its own frames contradicted",
        ),
        schema="ledger",
    )

"""Find copies by their names: a name that one file has on record is given to no other."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_file_target", "file", ["target"], schema="ledger", postgresql_using="hash")

"""Tables of runs that people define."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_table",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_name", sa.Text(), comment="null: every experiment has it"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("table_type", sa.Text(), nullable=False),
        sa.Column("sort_index", sa.Integer(), nullable=False),
        sa.Column("patterns", sa.Text()),
        sa.Column("coldefs", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_name"], ["elogbook.experiment.name"], name=op.f("fk_run_table_experiment_name_experiment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_table")),
        sa.UniqueConstraint(
            "experiment_name",
            "name",
            name=op.f("uq_run_table_experiment_name"),
            postgresql_nulls_not_distinct=True,
        ),
        schema="elogbook",
    )

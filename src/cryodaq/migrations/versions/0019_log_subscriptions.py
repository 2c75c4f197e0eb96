"""Who gets the entries of an experiment's log by e-mail."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_subscription",
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("email_address", sa.Text(), nullable=False),
        sa.Column("subscribed_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_name"],
            ["elogbook.experiment.name"],
            name=op.f("fk_log_subscription_experiment_name_experiment"),
        ),
        sa.ForeignKeyConstraint(
            ["uid"], ["elogbook.account.uid"], ondelete="CASCADE", name=op.f("fk_log_subscription_uid_account")
        ),
        sa.PrimaryKeyConstraint("experiment_name", "uid", name=op.f("pk_log_subscription")),
        schema="elogbook",
    )
    op.create_index(op.f("ix_elogbook_log_subscription_uid"), "log_subscription", ["uid"], schema="elogbook")
    op.create_index("ix_elog_entry_written", "elog_entry", ["insert_time"], schema="elogbook")
    op.execute(
        "CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON elogbook.log_subscription "
        "FOR EACH ROW EXECUTE FUNCTION elogbook.note_change('')"
    )

"""Threads, tags and attachments of the elog."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    texts = postgresql.ARRAY(sa.Text())
    none = sa.text("'{}'::text[]")
    for column in (
        sa.Column("title", sa.Text()),
        sa.Column("tags", texts, server_default=none, nullable=False),
        sa.Column("email_to", texts, server_default=none, nullable=False),
        sa.Column("run_number", sa.BigInteger()),
        sa.Column("run_label", sa.Text(collation="C")),
        sa.Column("root_id", sa.Text(), comment="first entry of the thread"),
        sa.Column("parent_id", sa.Text(), comment="what it answers"),
        sa.Column("previous_version", sa.Text(), comment="the entry that keeps what was written before"),
        sa.Column("deleted_by", sa.Text()),
        sa.Column("deleted_time", sa.DateTime(timezone=True)),
        sa.Column("once_key", sa.Text(), comment="names what an automatic entry is about, which is told once"),
    ):
        op.add_column("elog_entry", column, schema="elogbook")
    for name in ("root_id", "parent_id"):
        op.create_foreign_key(
            op.f(f"fk_elog_entry_{name}_elog_entry"),
            "elog_entry",
            "elog_entry",
            [name],
            ["id"],
            source_schema="elogbook",
            referent_schema="elogbook",
        )
    op.create_index(op.f("ix_elogbook_elog_entry_root_id"), "elog_entry", ["root_id"], schema="elogbook")
    op.create_index(
        "uq_elog_entry_once",
        "elog_entry",
        ["experiment_name", "once_key"],
        unique=True,
        schema="elogbook",
        postgresql_where=sa.text("once_key IS NOT NULL"),
    )
    op.create_table(
        "elog_attachment",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False, comment="media type"),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("preview", sa.LargeBinary(), comment="PNG; null where none can be drawn"),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["elogbook.elog_entry.id"], name=op.f("fk_elog_attachment_entry_id_elog_entry")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_elog_attachment")),
        schema="elogbook",
    )
    op.create_index(op.f("ix_elogbook_elog_attachment_entry_id"), "elog_attachment", ["entry_id"], schema="elogbook")

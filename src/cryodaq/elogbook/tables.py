"""The elogbook's tables, all in the schema `elogbook`.

Documents keep what the contract leaves open in a JSON column: `params` is the contract's own open set,
`extra` holds keys of a document that we do not know but give back.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cryodaq.database import schema_metadata

metadata = schema_metadata("elogbook")
MOMENT = DateTime(timezone=True)
BYTEWISE = Text(collation="C")
NO_KEYS = text("'{}'::jsonb")
NO_TEXTS = text("'{}'::text[]")
NOW = text("now()")

account = Table(
    "account",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("full_name", Text, nullable=False),
    Column("uid_number", BigInteger),
    Column("password_hash", Text, comment="argon2id; null for programs and for people who never log in here"),
    Column("disabled_at", MOMENT),
    Column("created_at", MOMENT, nullable=False, server_default=NOW),
)
posix_group = Table(
    "posix_group",
    metadata,
    Column("name", Text, primary_key=True),
    Column("gid_number", BigInteger, nullable=False),
)
posix_group_member = Table(
    "posix_group_member",
    metadata,
    Column("group_name", ForeignKey("elogbook.posix_group.name", ondelete="CASCADE"), primary_key=True),
    Column("uid", ForeignKey("elogbook.account.uid", ondelete="CASCADE"), primary_key=True, index=True),
)
token = Table(
    "token",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("uid", ForeignKey("elogbook.account.uid", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, index=True, comment="sha256 of the secret, hexadecimal"),
    Column("created_at", MOMENT, nullable=False, server_default=NOW),
    Column("revoked_at", MOMENT),
    UniqueConstraint("uid", "secret_hash"),
)
browser_session = Table(
    "browser_session",
    metadata,
    Column("secret_hash", Text, primary_key=True),
    Column("uid", ForeignKey("elogbook.account.uid", ondelete="CASCADE"), nullable=False, index=True),
    Column("forgery_token", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("expires_at", MOMENT, nullable=False),
)
login_ticket = Table(
    "login_ticket",
    metadata,
    Column("secret_hash", Text, primary_key=True),
    Column("uid", ForeignKey("elogbook.account.uid", ondelete="CASCADE"), nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("expires_at", MOMENT, nullable=False),
)
failed_login = Table(
    "failed_login",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("uid", Text, nullable=False, index=True),
    Column("address", Text, nullable=False, index=True),
    Column("failed_at", MOMENT, nullable=False),
)

role = Table(
    "role",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("privileges", ARRAY(Text), nullable=False),
    Column("position", Integer, nullable=False),
)
site_player = Table(
    "site_player",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("role_name", ForeignKey("elogbook.role.name", ondelete="CASCADE"), nullable=False),
    Column("player", Text, nullable=False, index=True),
    UniqueConstraint("role_name", "player"),
)

instrument = Table(
    "instrument",
    metadata,
    Column("id", BYTEWISE, primary_key=True),
    Column("description", Text, nullable=False),
    Column("params", JSONB, nullable=False, server_default=NO_KEYS),
    Column("extra", JSONB, nullable=False, server_default=NO_KEYS),
    Index("uq_instrument_lower_id", text("lower(id)"), unique=True),
)
instrument_player = Table(
    "instrument_player",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("instrument_id", ForeignKey("elogbook.instrument.id", ondelete="CASCADE"), nullable=False),
    Column("role_name", ForeignKey("elogbook.role.name", ondelete="CASCADE"), nullable=False),
    Column("player", Text, nullable=False, index=True),
    UniqueConstraint("instrument_id", "role_name", "player"),
)

experiment = Table(
    "experiment",
    metadata,
    Column("name", Text, primary_key=True),
    Column("sequence", BigInteger, Identity(), nullable=False, unique=True),
    Column("instrument_id", ForeignKey("elogbook.instrument.id"), nullable=False, index=True),
    Column("start_time", MOMENT, nullable=False),
    Column("end_time", MOMENT, nullable=False),
    Column("leader_account", Text, nullable=False),
    Column("contact_info", Text, nullable=False),
    Column("params", JSONB, nullable=False, server_default=NO_KEYS),
    Column("extra", JSONB, nullable=False, server_default=NO_KEYS),
    Column("is_locked", Boolean, nullable=False, server_default=text("false")),
    Column("next_run_number", BigInteger, nullable=False, server_default=text("0")),
    Column("current_sample_id", Text),
)
experiment_player = Table(
    "experiment_player",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name", ondelete="CASCADE"), nullable=False),
    Column("role_name", ForeignKey("elogbook.role.name", ondelete="CASCADE"), nullable=False),
    Column("player", Text, nullable=False, index=True),
    UniqueConstraint("experiment_name", "role_name", "player"),
)
experiment_switch = Table(
    "experiment_switch",
    metadata,
    Column("id", Text, primary_key=True),
    Column("instrument_id", ForeignKey("elogbook.instrument.id"), nullable=False),
    Column("station", Integer, nullable=False),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), comment="null: standby"),
    Column("switch_time", MOMENT, nullable=False),
    Column("requestor_uid", Text, nullable=False),
    Index("ix_experiment_switch_newest", "instrument_id", "station", "id"),
)

sample = Table(
    "sample",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("params", JSONB, nullable=False, server_default=NO_KEYS),
    Column("extra", JSONB, nullable=False, server_default=NO_KEYS),
    UniqueConstraint("experiment_name", "name"),
)
sample_activation = Table(
    "sample_activation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), nullable=False),
    Column("sample_id", Text, nullable=False, index=True),
    Column("sample_name", Text, nullable=False),
    Column("activated_at", MOMENT, nullable=False),
    Column("activated_by", Text, nullable=False),
    Column("stopped_at", MOMENT),
    Column("stopped_by", Text),
    Index(
        "uq_sample_activation_open",
        "experiment_name",
        unique=True,
        postgresql_where=text("stopped_at IS NULL"),
    ),
)

run = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), nullable=False),
    Column("number", BigInteger, comment="a run with an integer number"),
    Column("label", BYTEWISE, comment="a run with a name: a movie's base name"),
    Column("type", Text, nullable=False),
    Column("begin_time", MOMENT, nullable=False),
    Column("end_time", MOMENT),
    Column("params", JSONB, nullable=False, server_default=NO_KEYS),
    Column("editable_params", JSONB, nullable=False, server_default=NO_KEYS),
    Column("sample_id", ForeignKey("elogbook.sample.id"), index=True),
    CheckConstraint("(number IS NULL) <> (label IS NULL)", name="number_or_label"),
    Index("uq_run_number", "experiment_name", "number", unique=True, postgresql_where=text("number IS NOT NULL")),
    Index("uq_run_label", "experiment_name", "label", unique=True, postgresql_where=text("label IS NOT NULL")),
    Index("ix_run_newest", "experiment_name", "id"),
)
run_param_description = Table(
    "run_param_description",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), nullable=False),
    Column("param_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    UniqueConstraint("experiment_name", "param_name"),
)
run_file = Table(
    "run_file",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), nullable=False),
    Column("run_number", BigInteger),
    Column("run_label", BYTEWISE),
    Column("path", BYTEWISE, nullable=False),
    Column("checksum", Text),
    Column("size_bytes", BigInteger),
    Column("create_timestamp", MOMENT, nullable=False),
    Column("modify_timestamp", MOMENT, nullable=False),
    Column("extra", JSONB, nullable=False, server_default=NO_KEYS),
    Column("locations", JSONB, nullable=False, server_default=NO_KEYS),
    CheckConstraint("(run_number IS NULL) <> (run_label IS NULL)", name="number_or_label"),
    Index(
        "uq_run_file_number",
        "experiment_name",
        "run_number",
        "path",
        unique=True,
        postgresql_where=text("run_number IS NOT NULL"),
    ),
    Index(
        "uq_run_file_label",
        "experiment_name",
        "run_label",
        "path",
        unique=True,
        postgresql_where=text("run_label IS NOT NULL"),
    ),
)
elog_entry = Table(
    "elog_entry",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), nullable=False),
    Column("author", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("insert_time", MOMENT, nullable=False),
    Column("sample_name", Text),
    Column("title", Text),
    Column("tags", ARRAY(Text), nullable=False, server_default=NO_TEXTS),
    Column("email_to", ARRAY(Text), nullable=False, server_default=NO_TEXTS),
    Column("run_number", BigInteger),
    Column("run_label", BYTEWISE),
    Column("root_id", ForeignKey("elogbook.elog_entry.id"), index=True, comment="first entry of the thread"),
    Column("parent_id", ForeignKey("elogbook.elog_entry.id"), comment="what it answers"),
    Column("previous_version", Text, comment="the entry that keeps what was written before"),
    Column("deleted_by", Text),
    Column("deleted_time", MOMENT),
    Column("once_key", Text, comment="names what an automatic entry is about, which is told once"),
    Index("ix_elog_entry_order", "experiment_name", "id"),
    Index(
        "uq_elog_entry_once", "experiment_name", "once_key", unique=True, postgresql_where=text("once_key IS NOT NULL")
    ),
    Index("ix_elog_entry_written", "insert_time"),
)
log_subscription = Table(
    "log_subscription",
    metadata,
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), primary_key=True),
    Column("uid", ForeignKey("elogbook.account.uid", ondelete="CASCADE"), primary_key=True, index=True),
    Column("email_address", Text, nullable=False),
    Column("subscribed_time", MOMENT, nullable=False),
)
elog_attachment = Table(
    "elog_attachment",
    metadata,
    Column("id", Text, primary_key=True),
    Column("entry_id", ForeignKey("elogbook.elog_entry.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False, comment="media type"),
    Column("content", LargeBinary, nullable=False),
    Column("preview", LargeBinary, comment="PNG; null where none can be drawn"),
)
run_table = Table(
    "run_table",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_name", ForeignKey("elogbook.experiment.name"), comment="null: every experiment has it"),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("table_type", Text, nullable=False),
    Column("sort_index", Integer, nullable=False),
    Column("patterns", Text),
    Column("coldefs", JSONB, nullable=False),
    UniqueConstraint("experiment_name", "name", postgresql_nulls_not_distinct=True),
)
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", MOMENT, nullable=False),
    Column("uid", Text, nullable=False, comment="who"),
    Column("origin", JSONB, nullable=False, comment="from where: address, credential, request or command"),
    Column("action", Text, nullable=False, comment="insert, update or delete"),
    Column("table_name", Text, nullable=False),
    Column("row_key", Text),
    Column("experiment_name", Text, comment="as it was called then"),
    Column("before", JSONB, comment="of a change, only what differs"),
    Column("after", JSONB),
    Index("ix_audit_of_experiment", "experiment_name", "id"),
    Index("ix_audit_of_person", "uid", "id"),
)
"""Written by the database itself at every change of the other tables, and only added to."""

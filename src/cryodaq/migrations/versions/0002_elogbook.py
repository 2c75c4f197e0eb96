"""The elogbook's first tables, and the contract's roles."""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LAB = (
    "read post edit delete manage_groups feedback_read feedback_write switch ops_page experiment_create "
    "experiment_edit experiment_delete instrument_create"
)
ROLES = (
    (
        "SiteAdmin",
        f"{LAB} config_edit",
    ),
    ("LabPersonnel", LAB),
    ("PowerUsers", "switch experiment_create experiment_edit"),
    ("DAQOperators", "switch ops_page"),
    ("Manager", "manage_groups read post edit delete"),
    ("Editor", "read post edit delete"),
    ("Writer", "post read"),
    ("Reader", "read"),
)


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS elogbook")
    _create_people()
    _create_instruments()
    _create_experiments()
    _create_runs()
    _insert_roles()


def _create_people() -> None:
    op.create_table(
        "account",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("uid_number", sa.BigInteger(), nullable=True),
        sa.Column(
            "password_hash",
            sa.Text(),
            nullable=True,
            comment="argon2id; null for programs and for people who never log in here",
        ),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_account")),
        schema="elogbook",
    )
    op.create_table(
        "failed_login",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failed_login")),
        schema="elogbook",
    )
    op.create_index(
        op.f("ix_elogbook_failed_login_address"), "failed_login", ["address"], unique=False, schema="elogbook"
    )
    op.create_index(op.f("ix_elogbook_failed_login_uid"), "failed_login", ["uid"], unique=False, schema="elogbook")
    op.create_table(
        "posix_group",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("gid_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_posix_group")),
        schema="elogbook",
    )
    op.create_table(
        "role",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("privileges", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role")),
        sa.UniqueConstraint("name", name=op.f("uq_role_name")),
        schema="elogbook",
    )
    op.create_table(
        "browser_session",
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("forgery_token", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["uid"], ["elogbook.account.uid"], name=op.f("fk_browser_session_uid_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("secret_hash", name=op.f("pk_browser_session")),
        schema="elogbook",
    )
    op.create_index(
        op.f("ix_elogbook_browser_session_uid"), "browser_session", ["uid"], unique=False, schema="elogbook"
    )
    op.create_table(
        "login_ticket",
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["uid"], ["elogbook.account.uid"], name=op.f("fk_login_ticket_uid_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("secret_hash", name=op.f("pk_login_ticket")),
        schema="elogbook",
    )
    op.create_table(
        "posix_group_member",
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_name"],
            ["elogbook.posix_group.name"],
            name=op.f("fk_posix_group_member_group_name_posix_group"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["uid"], ["elogbook.account.uid"], name=op.f("fk_posix_group_member_uid_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_name", "uid", name=op.f("pk_posix_group_member")),
        schema="elogbook",
    )
    op.create_index(
        op.f("ix_elogbook_posix_group_member_uid"), "posix_group_member", ["uid"], unique=False, schema="elogbook"
    )
    op.create_table(
        "site_player",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("role_name", sa.Text(), nullable=False),
        sa.Column("player", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["role_name"], ["elogbook.role.name"], name=op.f("fk_site_player_role_name_role"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_player")),
        sa.UniqueConstraint("role_name", "player", name=op.f("uq_site_player_role_name")),
        schema="elogbook",
    )
    op.create_index(op.f("ix_elogbook_site_player_player"), "site_player", ["player"], unique=False, schema="elogbook")
    op.create_table(
        "token",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False, comment="sha256 of the secret, hexadecimal"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["uid"], ["elogbook.account.uid"], name=op.f("fk_token_uid_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("uid", "secret_hash", name=op.f("uq_token_uid")),
        schema="elogbook",
    )
    op.create_index(op.f("ix_elogbook_token_secret_hash"), "token", ["secret_hash"], unique=False, schema="elogbook")


def _create_instruments() -> None:
    op.create_table(
        "instrument",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column(
            "params", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "extra", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instrument")),
        schema="elogbook",
    )
    op.create_index(
        "uq_instrument_lower_id", "instrument", [sa.literal_column("lower(id)")], unique=True, schema="elogbook"
    )
    op.create_table(
        "instrument_player",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("instrument_id", sa.Text(collation="C"), nullable=False),
        sa.Column("role_name", sa.Text(), nullable=False),
        sa.Column("player", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["elogbook.instrument.id"],
            name=op.f("fk_instrument_player_instrument_id_instrument"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["role_name"], ["elogbook.role.name"], name=op.f("fk_instrument_player_role_name_role"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instrument_player")),
        sa.UniqueConstraint("instrument_id", "role_name", "player", name=op.f("uq_instrument_player_instrument_id")),
        schema="elogbook",
    )
    op.create_index(
        op.f("ix_elogbook_instrument_player_player"), "instrument_player", ["player"], unique=False, schema="elogbook"
    )


def _create_experiments() -> None:
    op.create_table(
        "experiment",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("instrument_id", sa.Text(collation="C"), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leader_account", sa.Text(), nullable=False),
        sa.Column("contact_info", sa.Text(), nullable=False),
        sa.Column(
            "params", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "extra", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("is_locked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("next_run_number", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("current_sample_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["elogbook.instrument.id"], name=op.f("fk_experiment_instrument_id_instrument")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_experiment")),
        sa.UniqueConstraint("sequence", name=op.f("uq_experiment_sequence")),
        schema="elogbook",
    )
    op.create_index(
        op.f("ix_elogbook_experiment_instrument_id"), "experiment", ["instrument_id"], unique=False, schema="elogbook"
    )
    op.create_table(
        "elog_entry",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("insert_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sample_name", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_name"], ["elogbook.experiment.name"], name=op.f("fk_elog_entry_experiment_name_experiment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_elog_entry")),
        schema="elogbook",
    )
    op.create_index("ix_elog_entry_order", "elog_entry", ["experiment_name", "id"], unique=False, schema="elogbook")
    op.create_table(
        "experiment_player",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("role_name", sa.Text(), nullable=False),
        sa.Column("player", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_name"],
            ["elogbook.experiment.name"],
            name=op.f("fk_experiment_player_experiment_name_experiment"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["role_name"], ["elogbook.role.name"], name=op.f("fk_experiment_player_role_name_role"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiment_player")),
        sa.UniqueConstraint(
            "experiment_name", "role_name", "player", name=op.f("uq_experiment_player_experiment_name")
        ),
        schema="elogbook",
    )
    op.create_index(
        op.f("ix_elogbook_experiment_player_player"), "experiment_player", ["player"], unique=False, schema="elogbook"
    )
    op.create_table(
        "experiment_switch",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.Text(collation="C"), nullable=False),
        sa.Column("station", sa.Integer(), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=True, comment="null: standby"),
        sa.Column("switch_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requestor_uid", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_name"],
            ["elogbook.experiment.name"],
            name=op.f("fk_experiment_switch_experiment_name_experiment"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["elogbook.instrument.id"], name=op.f("fk_experiment_switch_instrument_id_instrument")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiment_switch")),
        schema="elogbook",
    )
    op.create_index(
        "ix_experiment_switch_newest",
        "experiment_switch",
        ["instrument_id", "station", "id"],
        unique=False,
        schema="elogbook",
    )
    op.create_table(
        "sample",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column(
            "params", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "extra", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["experiment_name"], ["elogbook.experiment.name"], name=op.f("fk_sample_experiment_name_experiment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample")),
        sa.UniqueConstraint("experiment_name", "name", name=op.f("uq_sample_experiment_name")),
        schema="elogbook",
    )
    op.create_table(
        "sample_activation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("sample_id", sa.Text(), nullable=False),
        sa.Column("sample_name", sa.Text(), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activated_by", sa.Text(), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_name"],
            ["elogbook.experiment.name"],
            name=op.f("fk_sample_activation_experiment_name_experiment"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample_activation")),
        schema="elogbook",
    )
    op.create_index(
        op.f("ix_elogbook_sample_activation_sample_id"),
        "sample_activation",
        ["sample_id"],
        unique=False,
        schema="elogbook",
    )
    op.create_index(
        "uq_sample_activation_open",
        "sample_activation",
        ["experiment_name"],
        unique=True,
        schema="elogbook",
        postgresql_where=sa.text("stopped_at IS NULL"),
    )


def _create_runs() -> None:
    op.create_table(
        "run_file",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("run_number", sa.BigInteger(), nullable=True),
        sa.Column("run_label", sa.Text(collation="C"), nullable=True),
        sa.Column("path", sa.Text(collation="C"), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("create_timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modify_timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "extra", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "locations", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.CheckConstraint("(run_number IS NULL) <> (run_label IS NULL)", name=op.f("ck_run_file_number_or_label")),
        sa.ForeignKeyConstraint(
            ["experiment_name"], ["elogbook.experiment.name"], name=op.f("fk_run_file_experiment_name_experiment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_file")),
        schema="elogbook",
    )
    op.create_index(
        "uq_run_file_label",
        "run_file",
        ["experiment_name", "run_label", "path"],
        unique=True,
        schema="elogbook",
        postgresql_where=sa.text("run_label IS NOT NULL"),
    )
    op.create_index(
        "uq_run_file_number",
        "run_file",
        ["experiment_name", "run_number", "path"],
        unique=True,
        schema="elogbook",
        postgresql_where=sa.text("run_number IS NOT NULL"),
    )
    op.create_table(
        "run_param_description",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("param_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_name"],
            ["elogbook.experiment.name"],
            name=op.f("fk_run_param_description_experiment_name_experiment"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_param_description")),
        sa.UniqueConstraint("experiment_name", "param_name", name=op.f("uq_run_param_description_experiment_name")),
        schema="elogbook",
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True, comment="a run with an integer number"),
        sa.Column("label", sa.Text(collation="C"), nullable=True, comment="a run with a name: a movie's base name"),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("begin_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "params", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "editable_params",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("sample_id", sa.Text(), nullable=True),
        sa.CheckConstraint("(number IS NULL) <> (label IS NULL)", name=op.f("ck_run_number_or_label")),
        sa.ForeignKeyConstraint(
            ["experiment_name"], ["elogbook.experiment.name"], name=op.f("fk_run_experiment_name_experiment")
        ),
        sa.ForeignKeyConstraint(["sample_id"], ["elogbook.sample.id"], name=op.f("fk_run_sample_id_sample")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        schema="elogbook",
    )
    op.create_index(op.f("ix_elogbook_run_sample_id"), "run", ["sample_id"], unique=False, schema="elogbook")
    op.create_index("ix_run_newest", "run", ["experiment_name", "id"], unique=False, schema="elogbook")
    op.create_index(
        "uq_run_label",
        "run",
        ["experiment_name", "label"],
        unique=True,
        schema="elogbook",
        postgresql_where=sa.text("label IS NOT NULL"),
    )
    op.create_index(
        "uq_run_number",
        "run",
        ["experiment_name", "number"],
        unique=True,
        schema="elogbook",
        postgresql_where=sa.text("number IS NOT NULL"),
    )


def _insert_roles() -> None:
    role = sa.table(
        "role",
        sa.column("id", sa.Text()),
        sa.column("name", sa.Text()),
        sa.column("privileges", postgresql.ARRAY(sa.Text())),
        sa.column("position", sa.Integer()),
        schema="elogbook",
    )
    op.bulk_insert(
        role,
        [
            {"id": secrets.token_hex(12), "name": name, "privileges": privileges.split(), "position": position}
            for position, (name, privileges) in enumerate(ROLES)
        ],
    )

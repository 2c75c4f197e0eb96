"""The ledger's first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create schema if not exists ledger")
    _create_independent_tables()
    _create_tables_of_samples()
    _create_tables_of_files_and_movies()


def _create_independent_tables() -> None:
    op.create_table(
        "alarm",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="what is wrong with what; one open alarm a key"),
        sa.Column("microscope", sa.Text(), nullable=True),
        sa.Column("experiment", sa.Text(), nullable=True),
        sa.Column("sample_id", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False, comment="notice warning error"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
        schema="ledger",
    )
    op.create_index(
        "uq_alarm_open",
        "alarm",
        ["key"],
        unique=True,
        schema="ledger",
        postgresql_where=sa.text("cleared_at is null"),
    )
    op.create_table(
        "current_state",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Text(), nullable=False, comment="domain.experiment.Assignment, or unreachable"),
        sa.Column("experiment", sa.Text(), nullable=True),
        sa.Column("sample_id", sa.Text(), nullable=True),
        sa.Column("sample_name", sa.Text(), nullable=True),
        sa.Column("switched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_current_state")),
        schema="ledger",
        comment="What was current when: one row an interval in which every poll said the same.",
    )
    op.create_index(
        "ix_current_state_microscope_last",
        "current_state",
        ["microscope", "last_asked_at"],
        unique=False,
        schema="ledger",
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("run_name", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False, comment="start_run add_run_params end_run register_files"),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="what makes it the same delivery again"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("key", name=op.f("uq_delivery_key")),
        schema="ledger",
    )
    op.create_index(
        "ix_delivery_undelivered",
        "delivery",
        ["experiment", "run_name", "id"],
        unique=False,
        schema="ledger",
        postgresql_where=sa.text("delivered_at is null"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=True),
        sa.Column("experiment", sa.Text(), nullable=True),
        sa.Column("sample_id", sa.Text(), nullable=True),
        sa.Column("movie_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "facts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        schema="ledger",
    )
    op.create_index("ix_event_sample", "event", ["sample_id", "id"], unique=False, schema="ledger")
    op.create_table(
        "experiment",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("first_current_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "collaborators",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("access_applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_experiment")),
        schema="ledger",
    )
    op.create_table(
        "gain_reference",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False, comment="the microscope's gain root"),
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the root"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "mtime_ns",
            sa.BigInteger(),
            nullable=False,
            comment="of the microscope's clock; orders gains and movies",
        ),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gain_reference")),
        sa.UniqueConstraint("microscope", "root", "path", "size_bytes", "mtime_ns", name="uq_gain_reference_version"),
        schema="ledger",
        comment="Gain files on the microscope's gain root; settled once two looks agreed.",
    )


def _create_tables_of_samples() -> None:
    op.create_table(
        "lease",
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False, comment="host and process, for people"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("microscope", name=op.f("pk_lease")),
        schema="ledger",
    )
    op.create_table(
        "share_state",
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("share", sa.Text(), nullable=False),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("file_count", sa.BigInteger(), nullable=True),
        sa.Column("free_bytes", sa.BigInteger(), nullable=True),
        sa.Column("total_bytes", sa.BigInteger(), nullable=True),
        sa.Column("unrecognised_images", sa.Integer(), server_default="0", nullable=False),
        sa.Column("scan_s", sa.Double(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("scan_began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "mount",
            sa.Text(),
            nullable=True,
            comment="identity of the mount at the last scan; inodes mean something within one",
        ),
        sa.Column(
            "abandoned_worker",
            sa.Text(),
            nullable=True,
            comment="host, process and its start: no other worker while it lives",
        ),
        sa.PrimaryKeyConstraint("microscope", "share", name=op.f("pk_share_state")),
        schema="ledger",
    )
    op.create_table(
        "sample",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("imaging_method", sa.Text(), nullable=False),
        sa.Column("preprocess", sa.Boolean(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column(
            "dag_state",
            sa.Text(),
            server_default="absent",
            nullable=False,
            comment="absent written parsed broken retired",
        ),
        sa.Column("dag_problem", sa.Text(), nullable=True),
        sa.Column("first_current_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_active_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True, comment="why its movies are not processed, for people"),
        sa.ForeignKeyConstraint(
            ["experiment"], ["ledger.experiment.name"], name=op.f("fk_sample_experiment_experiment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample")),
        sa.UniqueConstraint("dag_id", name=op.f("uq_sample_dag_id")),
        schema="ledger",
    )
    op.create_table(
        "branch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sample_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "settings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="what operator and facility said when it was made",
        ),
        sa.Column("template_hash", sa.Text(), nullable=False),
        sa.Column("software_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["sample_id"], ["ledger.sample.id"], name=op.f("fk_branch_sample_id_sample")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branch")),
        sa.UniqueConstraint("sample_id", "name", name="uq_branch_name"),
        schema="ledger",
    )
    op.create_table(
        "exposure",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("share", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="folder and stem that its files share"),
        sa.Column(
            "occurrence",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="counts the exposures that had this key one after another",
        ),
        sa.Column("acquisition_folder", sa.Text(), nullable=False),
        sa.Column("sample_id", sa.Text(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True, comment="domain.ownership.Decision; null while undecided"),
        sa.Column("seen_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["sample_id"], ["ledger.sample.id"], name=op.f("fk_exposure_sample_id_sample")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exposure")),
        sa.UniqueConstraint("microscope", "key", "occurrence", name="uq_exposure_key"),
        schema="ledger",
    )
    op.create_index("ix_exposure_sample", "exposure", ["sample_id"], unique=False, schema="ledger")
    op.create_index(
        "ix_exposure_folder",
        "exposure",
        ["microscope", "acquisition_folder"],
        unique=False,
        schema="ledger",
    )
    op.create_index(
        "ix_exposure_undecided",
        "exposure",
        ["microscope"],
        unique=False,
        schema="ledger",
        postgresql_where=sa.text("decision is null"),
    )
    op.create_table(
        "gain_copy",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("gain_id", sa.BigInteger(), nullable=False),
        sa.Column("sample_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("xxh3_128", sa.Text(), nullable=True),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("copied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["gain_id"], ["ledger.gain_reference.id"], name=op.f("fk_gain_copy_gain_id_gain_reference")
        ),
        sa.ForeignKeyConstraint(["sample_id"], ["ledger.sample.id"], name=op.f("fk_gain_copy_sample_id_sample")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gain_copy")),
        sa.UniqueConstraint("gain_id", "sample_id", name="uq_gain_copy_gain_sample"),
        schema="ledger",
        comment="Copies of gains in samples' GainRefs: wanted by a movie, made by the transfer.",
    )


def _create_tables_of_files_and_movies() -> None:
    op.create_table(
        "file",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("microscope", sa.Text(), nullable=False),
        sa.Column("share", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the share's root"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False, comment="domain.names.FileRole"),
        sa.Column("exposure_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="seen held complete copying copied verified removed vanished",
        ),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "mtime_ns",
            sa.BigInteger(),
            nullable=False,
            comment="of the microscope's clock; compared for equality only",
        ),
        sa.Column("inode", sa.BigInteger(), nullable=True),
        sa.Column("frame_count", sa.Integer(), nullable=True),
        sa.Column("xxh3_128", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True, comment="absolute path of the copy"),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("complete_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("copied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "gone_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was no longer on the share; rows of gone files are history",
        ),
        sa.ForeignKeyConstraint(["exposure_id"], ["ledger.exposure.id"], name=op.f("fk_file_exposure_id_exposure")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        sa.UniqueConstraint("microscope", "share", "path", "version", name="uq_file_version"),
        schema="ledger",
    )
    op.create_index("ix_file_exposure", "file", ["exposure_id"], unique=False, schema="ledger")
    op.create_index(
        "ix_file_present",
        "file",
        ["microscope", "share", "path", "version"],
        unique=False,
        schema="ledger",
        postgresql_where=sa.text("gone_at is null"),
    )
    op.create_index(
        "ix_file_later_version",
        "file",
        ["exposure_id", "path", "version"],
        unique=False,
        schema="ledger",
        postgresql_where=sa.text("version > 1"),
    )
    op.create_index(
        "ix_file_movie_seen",
        "file",
        ["microscope", "seen_at"],
        unique=False,
        schema="ledger",
        postgresql_where=sa.text("role = 'movie'"),
    )
    op.create_index("ix_file_state", "file", ["microscope", "state"], unique=False, schema="ledger")
    op.create_table(
        "movie",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sample_id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="below raw"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("run_name", sa.Text(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("exposure_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="registered waiting queued triggered processing published failed kept",
        ),
        sa.Column("problem", sa.Text(), nullable=True, comment="why it waits or failed, for people"),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="domain.acquisition.AcquisitionMetadata",
        ),
        sa.Column("gain_target", sa.Text(), nullable=True, comment="absolute path of the copied gain reference"),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment"], ["ledger.experiment.name"], name=op.f("fk_movie_experiment_experiment")
        ),
        sa.ForeignKeyConstraint(["exposure_id"], ["ledger.exposure.id"], name=op.f("fk_movie_exposure_id_exposure")),
        sa.ForeignKeyConstraint(["file_id"], ["ledger.file.id"], name=op.f("fk_movie_file_id_file")),
        sa.ForeignKeyConstraint(["sample_id"], ["ledger.sample.id"], name=op.f("fk_movie_sample_id_sample")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_movie")),
        sa.UniqueConstraint("experiment", "run_name", "version", name="uq_movie_run"),
        sa.UniqueConstraint("file_id", name=op.f("uq_movie_file_id")),
        sa.UniqueConstraint("sample_id", "path", "version", name="uq_movie_identity"),
        schema="ledger",
    )
    op.create_index("ix_movie_sample", "movie", ["sample_id", "id"], unique=False, schema="ledger")
    op.create_index("ix_movie_state", "movie", ["state"], unique=False, schema="ledger")
    op.create_index(
        "ix_movie_later_version",
        "movie",
        ["sample_id", "path", "version"],
        unique=False,
        schema="ledger",
        postgresql_where=sa.text("version > 1"),
    )
    op.create_table(
        "removal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("aside", sa.Text(), nullable=False, comment="name on the share while its identity is compared"),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True, comment="removed kept"),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["file_id"], ["ledger.file.id"], name=op.f("fk_removal_file_id_file")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removal")),
        schema="ledger",
    )
    op.create_table(
        "stage_result",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("movie_id", sa.BigInteger(), nullable=False),
        sa.Column("branch_id", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False, comment="align ctf pick publish"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="running succeeded failed"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("log", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["branch_id"], ["ledger.branch.id"], name=op.f("fk_stage_result_branch_id_branch")),
        sa.ForeignKeyConstraint(["movie_id"], ["ledger.movie.id"], name=op.f("fk_stage_result_movie_id_movie")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_result")),
        sa.UniqueConstraint("movie_id", "branch_id", "stage", "attempt", name="uq_stage_result_attempt"),
        schema="ledger",
    )
    op.create_table(
        "trigger",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("movie_id", sa.BigInteger(), nullable=False),
        sa.Column("branch_id", sa.BigInteger(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("conf", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="domain.parameters.ImagingParameters of this movie",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["branch_id"], ["ledger.branch.id"], name=op.f("fk_trigger_branch_id_branch")),
        sa.ForeignKeyConstraint(["movie_id"], ["ledger.movie.id"], name=op.f("fk_trigger_movie_id_movie")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trigger")),
        sa.UniqueConstraint("dag_id", "run_id", name="uq_trigger_run"),
        sa.UniqueConstraint("movie_id", "branch_id", name="uq_trigger_movie"),
        schema="ledger",
    )
    op.create_index(
        "ix_trigger_unsent",
        "trigger",
        ["next_attempt_at"],
        unique=False,
        schema="ledger",
        postgresql_where=sa.text("sent_at is null"),
    )

"""The tables of everything that the pipeline observes, decides or produces.

Times are `timestamptz`, ours, in UTC. States are short texts that `domain` enumerates; every transition is one
transaction under the microscope's lease, with its `event` row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cryodaq.database import schema_metadata

metadata = schema_metadata("ledger")


def id_column() -> Column[int]:
    """Return a number that PostgreSQL gives."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def time_column(name: str, *, required: bool = False) -> Column[object]:
    """Return a column of moments."""
    return Column(name, DateTime(timezone=True), nullable=not required)


lease = Table(
    "lease",
    metadata,
    Column("microscope", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("token", Text, nullable=False),
    Column("holder", Text, nullable=False, comment="host and process, for people"),
    time_column("expires_at", required=True),
)

current_state = Table(
    "current_state",
    metadata,
    id_column(),
    Column("microscope", Text, nullable=False),
    Column("assignment", Text, nullable=False, comment="domain.experiment.Assignment, or unreachable"),
    Column("experiment", Text),
    Column("sample_id", Text),
    Column("sample_name", Text),
    time_column("switched_at"),
    time_column("first_asked_at", required=True),
    time_column("last_asked_at", required=True),
    Column("problem", Text),
    Index("ix_current_state_microscope_last", "microscope", "last_asked_at"),
    comment="What was current when: one row an interval in which every poll said the same.",
)

experiment = Table(
    "experiment",
    metadata,
    Column("name", Text, primary_key=True),
    Column("instrument", Text, nullable=False),
    Column("microscope", Text, nullable=False),
    Column("folder", Text, nullable=False),
    time_column("first_current_at", required=True),
    Column("collaborators", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    time_column("access_applied_at"),
    Column("access_changes", BigInteger, nullable=False, server_default=text("0"), comment="begun or doubted"),
    time_column("access_compared_at"),
)

sample = Table(
    "sample",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, ForeignKey(experiment.c.name), nullable=False),
    Column("microscope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("params", JSONB, nullable=False),
    Column("imaging_method", Text, nullable=False),
    Column("preprocess", Boolean, nullable=False),
    Column("dag_id", Text, nullable=False, unique=True),
    Column("dag_state", Text, nullable=False, server_default="absent", comment="absent written parsed broken retired"),
    Column("dag_problem", Text),
    time_column("first_current_at", required=True),
    time_column("last_active_at", required=True),
    Column("problem", Text, comment="why its movies are not processed, for people"),
    Column(
        "current_branch",
        Text,
        nullable=False,
        server_default="live",
        comment="name of the branch that new movies are processed in",
    ),
    Column("beam_shifts", JSONB, comment="publish.beam_shifts.Pattern: the places in which its exposures' shifts lie"),
)

exposure = Table(
    "exposure",
    metadata,
    id_column(),
    Column("microscope", Text, nullable=False),
    Column("share", Text, nullable=False),
    Column("key", Text, nullable=False, comment="folder and stem that its files share"),
    Column(
        "occurrence",
        Integer,
        nullable=False,
        server_default="1",
        comment="counts the exposures that had this key one after another",
    ),
    Column("acquisition_folder", Text, nullable=False),
    Column("sample_id", Text, ForeignKey(sample.c.id)),
    Column("decision", Text, comment="domain.ownership.Decision; null while undecided"),
    time_column("seen_from", required=True),
    time_column("seen_until", required=True),
    time_column("decided_at"),
    UniqueConstraint("microscope", "key", "occurrence", name="uq_exposure_key"),
    Index("ix_exposure_undecided", "microscope", postgresql_where=text("decision is null")),
    Index("ix_exposure_folder", "microscope", "acquisition_folder"),
    Index("ix_exposure_sample", "sample_id"),
)

file = Table(
    "file",
    metadata,
    id_column(),
    Column("microscope", Text, nullable=False),
    Column("share", Text, nullable=False),
    Column("path", Text, nullable=False, comment="relative to the share's root"),
    Column("version", Integer, nullable=False),
    Column("role", Text, nullable=False, comment="domain.names.FileRole"),
    Column("exposure_id", BigInteger, ForeignKey(exposure.c.id), nullable=False),
    Column("state", Text, nullable=False, comment="seen held complete copying copied verified removed vanished"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False, comment="of the microscope's clock; compared for equality only"),
    Column("inode", BigInteger),
    Column("frame_count", Integer),
    Column("xxh3_128", Text),
    Column("target", Text, comment="absolute path of the copy"),
    Column("problem", Text),
    time_column("seen_at", required=True),
    time_column("changed_at", required=True),
    time_column("complete_at"),
    time_column("copied_at"),
    time_column("verified_at"),
    time_column("removed_at"),
    Column(
        "gone_at", DateTime(timezone=True), comment="when it was no longer on the share; rows of gone files are history"
    ),
    UniqueConstraint("microscope", "share", "path", "version", name="uq_file_version"),
    Index("ix_file_state", "microscope", "state"),
    Index("ix_file_present", "microscope", "share", "path", "version", postgresql_where=text("gone_at is null")),
    Index("ix_file_exposure", "exposure_id"),
    Index("ix_file_target", "target", postgresql_using="hash"),
    Index("ix_file_movie_seen", "microscope", "seen_at", postgresql_where=text("role = 'movie'")),
    Index("ix_file_later_version", "exposure_id", "path", "version", postgresql_where=text("version > 1")),
)


def _place(key: str, folder: str) -> Computed:
    """Return where on the grid a movie was taken, worked out once, so that thousands are grouped at once."""
    return Computed(f"coalesce(metadata ->> '{key}', substring(path from '{folder}_([0-9]+)'))", persisted=True)


movie = Table(
    "movie",
    metadata,
    id_column(),
    Column("sample_id", Text, ForeignKey(sample.c.id), nullable=False),
    Column("path", Text, nullable=False, comment="below raw"),
    Column("version", Integer, nullable=False),
    Column("experiment", Text, ForeignKey(experiment.c.name), nullable=False),
    Column("run_name", Text, nullable=False),
    Column("file_id", BigInteger, ForeignKey(file.c.id), nullable=False, unique=True),
    Column("exposure_id", BigInteger, ForeignKey(exposure.c.id), nullable=False),
    Column(
        "state", Text, nullable=False, comment="registered waiting queued triggered processing published failed kept"
    ),
    Column("problem", Text, comment="why it waits or failed, for people"),
    Column("metadata", JSONB, comment="domain.acquisition.AcquisitionMetadata"),
    Column("grid_square", Text, _place("grid_square", "GridSquare"), comment="of the metadata, else of the path"),
    Column("foil_hole", Text, _place("foil_hole", "FoilHole"), comment="of the metadata, else of the path"),
    Column("gain_target", Text, comment="absolute path of the copied gain reference"),
    Column(
        "refused_gains",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="copies of gain references that its own frames contradicted",
    ),
    Column("beam_shift_group", Text, comment="name in its sample; empty: not told apart; null: not published yet"),
    time_column("registered_at", required=True),
    time_column("triggered_at"),
    time_column("published_at"),
    Column("moves", Integer, nullable=False, server_default="0", comment="how often it was given to another sample"),
    UniqueConstraint("sample_id", "path", "version", name="uq_movie_identity"),
    UniqueConstraint("experiment", "run_name", "version", name="uq_movie_run"),
    Index("ix_movie_sample", "sample_id", "id"),
    Index("ix_movie_state", "state"),
    Index("ix_movie_published", "published_at"),
    Index("ix_movie_later_version", "sample_id", "path", "version", postgresql_where=text("version > 1")),
)

branch = Table(
    "branch",
    metadata,
    id_column(),
    Column("sample_id", Text, ForeignKey(sample.c.id), nullable=False),
    Column("name", Text, nullable=False),
    Column("settings", JSONB, nullable=False, comment="what operator and facility said when it was made"),
    Column("template_hash", Text, nullable=False),
    Column("software_version", Text, nullable=False),
    time_column("created_at", required=True),
    UniqueConstraint("sample_id", "name", name="uq_branch_name"),
)

stage_result = Table(
    "stage_result",
    metadata,
    id_column(),
    Column("movie_id", BigInteger, ForeignKey(movie.c.id), nullable=False),
    Column("branch_id", BigInteger, ForeignKey(branch.c.id), nullable=False),
    Column("stage", Text, nullable=False, comment="align ctf pick publish"),
    Column("attempt", Integer, nullable=False),
    Column("state", Text, nullable=False, comment="running succeeded failed"),
    time_column("started_at", required=True),
    time_column("ended_at"),
    Column("result", JSONB),
    Column("problem", Text),
    Column("cause", Text, comment="of a failure: domain.failures.Cause"),
    Column("log", Text),
    UniqueConstraint("movie_id", "branch_id", "stage", "attempt", name="uq_stage_result_attempt"),
)

measurement = Table(
    "measurement",
    metadata,
    Column("branch_id", BigInteger, ForeignKey(branch.c.id), primary_key=True, autoincrement=False),
    Column("movie_id", BigInteger, ForeignKey(movie.c.id), primary_key=True, autoincrement=False),
    Column("fitted", Boolean, comment="null: CTF not estimated yet; false: no CTF was found"),
    Column("fit_resolution_ang", Double),
    Column("defocus_ang", Double, comment="mean of U and V"),
    Column("astigmatism_ang", Double, comment="U - V"),
    Column("ice_ring_ratio", Double),
    Column("motion_total_ang", Double),
    Column("mean_counts", Double, comment="counts per pixel and frame"),
    Column("relative_ice_thickness", Double, comment="mean free paths; only differences mean something"),
    Column("particle_count", Integer),
    comment="Numbers of the stages' newest results; copied from stage_result.",
)

judgement = Table(
    "judgement",
    metadata,
    Column("movie_id", BigInteger, ForeignKey(movie.c.id), primary_key=True, autoincrement=False),
    Column("verdict", Text, comment="in or out, whatever the limits say; null: the limits decide"),
    Column("rating", Integer, comment="1 to 5"),
    Column("comment", Text, nullable=False, server_default=""),
    Column("judged_by", Text, nullable=False),
    time_column("judged_at", required=True),
    comment="What people say of single movies.",
)

sample_limits = Table(
    "sample_limits",
    metadata,
    Column("sample_id", Text, ForeignKey(sample.c.id), primary_key=True),
    Column("limits", JSONB, nullable=False, comment="quantity: [smallest, largest] that is in; null for no limit"),
    Column("kept_by", Text, nullable=False),
    time_column("kept_at", required=True),
    comment="Which micrographs of a sample are in, unless a person says otherwise of one.",
)

trigger = Table(
    "trigger",
    metadata,
    id_column(),
    Column("movie_id", BigInteger, ForeignKey(movie.c.id), nullable=False),
    Column("branch_id", BigInteger, ForeignKey(branch.c.id), nullable=False),
    Column("dag_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("conf", JSONB, nullable=False),
    Column("parameters", JSONB, nullable=False, comment="domain.parameters.ImagingParameters of this movie"),
    time_column("created_at", required=True),
    time_column("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("next_attempt_at", required=True),
    Column("problem", Text),
    Column("reruns", Integer, nullable=False, server_default="0", comment="runs that ended without a result"),
    time_column("settled_at"),
    Column("outcome", Text, comment="published failed; null while the movie is still to be processed"),
    UniqueConstraint("dag_id", "run_id", name="uq_trigger_run"),
    UniqueConstraint("movie_id", "branch_id", name="uq_trigger_movie"),
    Index("ix_trigger_unsent", "next_attempt_at", postgresql_where=text("sent_at is null and settled_at is null")),
    Index("ix_trigger_in_flight", "sent_at", postgresql_where=text("sent_at is not null and settled_at is null")),
)

delivery = Table(
    "delivery",
    metadata,
    id_column(),
    Column("experiment", Text, nullable=False),
    Column("run_name", Text, nullable=False),
    Column("call", Text, nullable=False, comment="start_run add_run_params end_run register_files"),
    Column("payload", JSONB, nullable=False),
    Column("key", Text, nullable=False, unique=True, comment="what makes it the same delivery again"),
    time_column("created_at", required=True),
    time_column("delivered_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("next_attempt_at", required=True),
    Column("problem", Text),
    Index("ix_delivery_undelivered", "experiment", "run_name", "id", postgresql_where=text("delivered_at is null")),
)

alarm = Table(
    "alarm",
    metadata,
    id_column(),
    Column("key", Text, nullable=False, comment="what is wrong with what; one open alarm a key"),
    Column("microscope", Text),
    Column("experiment", Text),
    Column("sample_id", Text),
    Column("severity", Text, nullable=False, comment="notice warning error"),
    Column("text", Text, nullable=False),
    time_column("raised_at", required=True),
    time_column("seen_at", required=True),
    time_column("cleared_at"),
    Index("uq_alarm_open", "key", unique=True, postgresql_where=text("cleared_at is null")),
)

event = Table(
    "event",
    metadata,
    id_column(),
    time_column("at", required=True),
    Column("kind", Text, nullable=False),
    Column("microscope", Text),
    Column("experiment", Text),
    Column("sample_id", Text),
    Column("movie_id", BigInteger),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_event_sample", "sample_id", "id"),
)

export_state = Table(
    "export_state",
    metadata,
    Column("branch_id", BigInteger, ForeignKey(branch.c.id), primary_key=True, autoincrement=False),
    Column(
        "optics", JSONB, nullable=False, comment="optics groups in the order of their numbers; null: no longer used"
    ),
    Column("with_motion", Boolean, nullable=False, comment="whether every micrograph has its motion STAR"),
    Column("files", JSONB, nullable=False, comment="by name: bytes that count, digest of the head"),
    comment="How far a branch's growing files were written; without a row they are made anew.",
)

export_row = Table(
    "export_row",
    metadata,
    Column("branch_id", BigInteger, ForeignKey(branch.c.id), primary_key=True, autoincrement=False),
    Column("movie_id", BigInteger, ForeignKey(movie.c.id), primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False, comment="of the movie's lines"),
    Column("has_motion", Boolean, nullable=False),
    comment="Which movies have lines in a branch's growing files.",
)

gain_reference = Table(
    "gain_reference",
    metadata,
    id_column(),
    Column("microscope", Text, nullable=False),
    Column("root", Text, nullable=False, comment="the microscope's gain root"),
    Column("path", Text, nullable=False, comment="relative to the root"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False, comment="of the microscope's clock; orders gains and movies"),
    time_column("seen_at", required=True),
    time_column("settled_at"),
    UniqueConstraint("microscope", "root", "path", "size_bytes", "mtime_ns", name="uq_gain_reference_version"),
    comment="Gain files on the microscope's gain root; settled once two looks agreed.",
)

gain_copy = Table(
    "gain_copy",
    metadata,
    id_column(),
    Column("gain_id", BigInteger, ForeignKey(gain_reference.c.id), nullable=False),
    Column("sample_id", Text, ForeignKey(sample.c.id), nullable=False),
    Column("target", Text, nullable=False),
    Column("xxh3_128", Text),
    time_column("wanted_at", required=True),
    time_column("copied_at"),
    Column("problem", Text),
    UniqueConstraint("gain_id", "sample_id", name="uq_gain_copy_gain_sample"),
    comment="Copies of gains in samples' GainRefs: wanted by a movie, made by the transfer.",
)

gain_orientation = Table(
    "gain_orientation",
    metadata,
    Column("microscope", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="of gain reference and movie: their suffixes"),
    Column("orientation", Text, nullable=False, comment="imaging.gain.ORIENTATIONS"),
    Column("agreed", Integer, nullable=False, comment="movies that showed it one after another"),
    Column("against", Integer, nullable=False, comment="movies that showed another one after another"),
)

reassignment = Table(
    "reassignment",
    metadata,
    id_column(),
    Column("microscope", Text, nullable=False),
    Column("from_sample", Text, ForeignKey(sample.c.id), nullable=False),
    Column("to_sample", Text, ForeignKey(sample.c.id), nullable=False),
    Column("asked", JSONB, nullable=False, comment="folder and since, as the person said them"),
    Column("asked_by", Text, nullable=False),
    Column("exposures", JSONB, nullable=False, comment="ids of what is given to the other sample"),
    Column("state", Text, nullable=False, comment="planned moved done"),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="how much was moved"),
    time_column("planned_at", required=True),
    time_column("moved_at"),
    time_column("done_at"),
    Index("ix_reassignment_open", "microscope", postgresql_where=text("state <> 'done'")),
    comment="What staff gave from one sample to another; an open row is carried on after a crash.",
)

assignment = Table(
    "assignment",
    metadata,
    id_column(),
    Column("microscope", Text, nullable=False),
    Column("to_sample", Text, ForeignKey(sample.c.id), nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("exposures", JSONB, nullable=False, comment="ids of what leaves quarantine"),
    time_column("planned_at", required=True),
    time_column("done_at"),
    Index("ix_assignment_open", "microscope", postgresql_where=text("done_at is null")),
    comment="What staff gave from quarantine to a sample; an open row is carried on after a crash.",
)

removal = Table(
    "removal",
    metadata,
    id_column(),
    Column("file_id", BigInteger, ForeignKey(file.c.id), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("aside", Text, nullable=False, comment="name on the share while its identity is compared"),
    time_column("intended_at", required=True),
    time_column("ended_at"),
    Column("outcome", Text, comment="removed kept"),
    Column("problem", Text),
)

share_state = Table(
    "share_state",
    metadata,
    Column("microscope", Text, primary_key=True),
    Column("share", Text, primary_key=True),
    time_column("scanned_at"),
    Column("file_count", BigInteger),
    Column("free_bytes", BigInteger),
    Column("total_bytes", BigInteger),
    Column("unrecognised_images", Integer, nullable=False, server_default="0"),
    Column("scan_s", Double),
    Column("problem", Text),
    time_column("scan_began_at"),
    Column("mount", Text, comment="identity of the mount at the last scan; inodes mean something within one"),
    Column("mounted_from", Text, comment="the server's share at the last scan; no other is scanned"),
    Column("abandoned_worker", Text, comment="host, process and its start: no other worker while it lives"),
)

acceptance = Table(
    "acceptance",
    metadata,
    id_column(),
    Column("file_id", BigInteger, ForeignKey(file.c.id), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("frame_count", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("accepted_by", Text, nullable=False),
    time_column("accepted_at", required=True),
    Index("ix_acceptance_file", "file_id"),
    comment="Short movies that a person called complete, as they were at that moment.",
)

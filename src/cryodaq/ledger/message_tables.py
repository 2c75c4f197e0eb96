"""The tables of what people outside are told."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from cryodaq.ledger.tables import experiment, id_column, metadata, time_column

incident = Table(
    "incident",
    metadata,
    id_column(),
    Column("key", Text, nullable=False, comment="of the alarm"),
    Column("microscope", Text),
    Column("severity", Text, nullable=False),
    Column("text", Text, nullable=False),
    time_column("opened_at", required=True),
    time_column("told_at"),
    time_column("closed_at"),
    Index("uq_incident_open", "key", unique=True, postgresql_where=text("closed_at is null")),
    comment="What people outside are told of: an alarm that comes and goes is one incident.",
)

silence = Table(
    "silence",
    metadata,
    id_column(),
    Column("key", Text, nullable=False, comment="beginning of the alarms' keys"),
    time_column("until", required=True),
    Column("asked_by", Text, nullable=False),
    time_column("asked_at", required=True),
)

digest = Table(
    "digest",
    metadata,
    Column("experiment", Text, ForeignKey(experiment.c.name), primary_key=True),
    time_column("told_at", required=True),
    time_column("last_published_at", required=True),
    Column("invited", JSONB, nullable=False, server_default=text("'[]'::jsonb"), comment="user names"),
    comment="What collaborators were told last of their experiment.",
)

outgoing = Table(
    "outgoing",
    metadata,
    id_column(),
    Column("channel", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("message", JSONB, nullable=False, comment="domain.notifications.Message"),
    time_column("created_at", required=True),
    time_column("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("next_attempt_at", required=True),
    Column("problem", Text),
    UniqueConstraint("channel", "message_id", name="uq_outgoing_message"),
    Index("ix_outgoing_unsent", "next_attempt_at", postgresql_where=text("sent_at is null")),
    comment="Messages to people: each once a channel, kept until it is sent.",
)

"""Register a copied movie in the elogbook: its run, and its file with the checksum."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.ledger import deliveries
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ledger.triggers import WaitingMovie

if TYPE_CHECKING:
    from sqlalchemy import Connection


def announce_movie(connection: Connection, movie: WaitingMovie, sample: SampleRecord, *, at: datetime) -> None:
    """Put a movie's run and file into the elogbook's outbox; a second call changes nothing."""
    begun_at = movie.copied_at.isoformat()
    deliveries.enqueue(
        connection,
        movie.experiment,
        run_name=movie.run_name,
        call="start_run",
        payload={"sample_name": sample.name, "begun_at": begun_at},
        key=f"movie-{movie.id}:start_run",
        at=at,
    )
    acquired_at = datetime.fromtimestamp(movie.source_mtime_ns / 1e9, tz=UTC).isoformat()
    registered = {
        "path": str(PurePosixPath(movie.target).relative_to(sample.experiment_folder)),
        "size_bytes": movie.size_bytes,
        "checksum": f"xxh3_128:{movie.xxh3_128}",
        "created_at": acquired_at,
        "modified_at": acquired_at,
    }
    deliveries.enqueue(
        connection,
        movie.experiment,
        run_name=movie.run_name,
        call="register_files",
        payload={"files": [registered]},
        key=f"movie-{movie.id}:register_movie",
        at=at,
    )

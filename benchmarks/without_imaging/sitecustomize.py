"""Python reads this at its start: stages record that they were done and do nothing, so what is left is the ordering."""

from __future__ import annotations

import sqlalchemy as sa

from cryodaq import wiring
from cryodaq.ledger import results


def record_only(system: wiring.System, stage: str, movie_id: int, branch_id: int) -> dict[str, object]:
    """Do with the ledger what a stage does, and nothing else."""
    with system.engine.begin() as connection:
        target = results.movie_to_process(connection, movie_id, branch_id)
        if target is None:
            message = f"movie {movie_id} was never handed over"
            raise LookupError(message)
        attempt = results.begin_attempt(connection, target, stage, log="", at=wiring.utc_now())
    with system.engine.begin() as connection:
        results.succeed(connection, target, attempt, stage=stage, result={}, at=wiring.utc_now())
        if stage == "publish":
            done = "update ledger.movie set state = 'published', published_at = now() where id = :movie"
            connection.execute(sa.text(done), {"movie": movie_id})
    return {}


wiring.System.run_stage = record_only  # type: ignore[method-assign]  # that is the point

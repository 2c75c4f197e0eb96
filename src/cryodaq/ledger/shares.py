"""The shares of a microscope at their last scan, and workers that were given up on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from cryodaq.ledger.tables import share_state


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRecord:
    """What is remembered of a share from one transfer to the next."""

    scan_began_at: datetime | None
    """Begin of the last scan that came to its end."""
    mount: str | None
    mounted_from: str | None
    """The server's share that was scanned last; None: a local folder."""
    abandoned_worker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRecord:
    """One scan that came to its end."""

    began_at: datetime
    ended_at: datetime
    scan_s: float
    file_count: int
    free_bytes: int
    total_bytes: int
    mount: str
    mounted_from: str | None = None
    unrecognised_images: int


def find_share(connection: Connection, microscope: str, share: str) -> ShareRecord:
    """Return what is known of a share, nothing before its first scan."""
    row = connection.execute(
        select(share_state).where(share_state.c.microscope == microscope, share_state.c.share == share)
    ).first()
    if row is None:
        return ShareRecord(scan_began_at=None, mount=None, mounted_from=None, abandoned_worker=None)
    return ShareRecord(
        scan_began_at=row.scan_began_at,
        mount=row.mount,
        mounted_from=row.mounted_from,
        abandoned_worker=row.abandoned_worker,
    )


def room_of_shares(connection: Connection, microscope: str) -> dict[str, tuple[int, int]]:
    """Return free and total bytes of a microscope's shares at their last scans."""
    columns = (share_state.c.share, share_state.c.free_bytes, share_state.c.total_bytes)
    query = select(*columns).where(share_state.c.microscope == microscope, share_state.c.total_bytes > 0)
    return {row.share: (int(row.free_bytes or 0), int(row.total_bytes)) for row in connection.execute(query)}


def record_scan(connection: Connection, microscope: str, share: str, *, scan: ScanRecord) -> None:
    """Record a scan; whatever was wrong with the share is over."""
    values = {
        "scan_began_at": scan.began_at,
        "scanned_at": scan.ended_at,
        "scan_s": scan.scan_s,
        "file_count": scan.file_count,
        "free_bytes": scan.free_bytes,
        "total_bytes": scan.total_bytes,
        "mount": scan.mount,
        "mounted_from": scan.mounted_from,
        "unrecognised_images": scan.unrecognised_images,
        "problem": None,
        "abandoned_worker": None,
    }
    connection.execute(
        insert(share_state)
        .values(microscope=microscope, share=share, **values)
        .on_conflict_do_update(index_elements=[share_state.c.microscope, share_state.c.share], set_=values)
    )


def record_problem(connection: Connection, microscope: str, share: str, *, problem: str) -> None:
    """Record why a share cannot be read."""
    connection.execute(
        insert(share_state)
        .values(microscope=microscope, share=share, problem=problem)
        .on_conflict_do_update(
            index_elements=[share_state.c.microscope, share_state.c.share], set_={"problem": problem}
        )
    )


def record_abandoned(connection: Connection, microscope: str, share: str, *, mark: str) -> None:
    """Record a worker that was given up: no other one is started for the share while it lives."""
    connection.execute(
        insert(share_state)
        .values(microscope=microscope, share=share, abandoned_worker=mark)
        .on_conflict_do_update(
            index_elements=[share_state.c.microscope, share_state.c.share], set_={"abandoned_worker": mark}
        )
    )


def forget_abandoned(connection: Connection, microscope: str, share: str) -> None:
    """Record that the worker that was given up has ended at last."""
    connection.execute(
        update(share_state)
        .where(share_state.c.microscope == microscope, share_state.c.share == share)
        .values(abandoned_worker=None)
    )

"""Show what is proved of a sample's copies: manifests, reading everything again, certificates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryodaq.domain.layout import SampleLayout
from cryodaq.errors import CopyMismatchError, TransferError
from cryodaq.ledger import acceptances, custody, observations, samples
from cryodaq.ledger.custody import HeldFile
from cryodaq.ledger.files import HAS_COPY
from cryodaq.ledger.samples import SampleRecord
from cryodaq.transfer.manifest import is_newest, manifest_text, read_manifest, write_manifest
from cryodaq.transfer.verify import verify

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)
PROVED = frozenset({"verified", "removed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What reading a copy again showed."""

    file: HeldFile
    outcome: str
    """equal, damaged, unreadable, or on tape."""
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What may go from the microscope, and why the rest may not."""

    sample: SampleRecord
    made_at: datetime
    safe: tuple[HeldFile, ...]
    """On the share, and their copies are verified."""
    unsafe: tuple[tuple[HeldFile, str], ...]
    """On the share, each with the reason why it must stay."""
    gone: tuple[tuple[HeldFile, str], ...]
    """Not on the share any more, and never copied."""

    @property
    def safe_bytes(self) -> int:
        """What removing would free."""
        return sum(one.size_bytes for one in self.safe)


def write_manifests(engine: Engine, microscope: str) -> list[Path]:
    """Write the manifests of samples that are drained and have none of their newest proof; return their paths."""
    with engine.connect() as connection:
        proofs = custody.last_proof_of(connection, microscope)
        answer = observations.last_answer(connection, microscope)
        known = {number: samples.find_sample(connection, number) for number in proofs}
    current = answer.sample_id if answer else None
    written = []
    for number, proved_at in proofs.items():
        found = known[number]
        if found is None or number == current:
            continue
        path = _manifest(found)
        if path.parent.is_dir() and not is_newest(path, proved_at=proved_at) and write_sample_manifest(engine, found):
            written.append(path)
    return written


def write_sample_manifest(engine: Engine, owner: SampleRecord) -> Path | None:
    """Write the manifest of all of a sample's verified copies; None, and no manifest, where there are none.

    What an earlier manifest lists stays in it while its proof is only to be given again, as after the ledger was
    rebuilt from it: its hash may be known nowhere else. Raises `TransferError`.
    """
    with engine.connect() as connection:
        held = custody.files_of_sample(connection, owner.id)
    path, folder = _manifest(owner), PurePosixPath(owner.folder)
    before = read_manifest(path)
    listed = {
        _listed(PurePosixPath(one.target), folder): one
        for one in held
        if one.target and one.xxh3_128 and (one.state in PROVED or _is_to_be_proved(one))
    }
    kept = {
        place: one for place, one in listed.items() if one.state in PROVED or before.get(str(place)) == one.xxh3_128
    }
    if not kept or not (before or any(one.verified_at for one in kept.values())):
        path.unlink(missing_ok=True)  # its copies went to another sample
        return None
    times = [one.verified_at for one in kept.values() if one.verified_at is not None]
    proved_at = max(times) if times else datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    lines = ((place, one.xxh3_128 or "") for place, one in kept.items())
    write_manifest(path, manifest_text(lines), proved_at=proved_at)
    return path


def _is_to_be_proved(one: HeldFile) -> bool:
    return one.state == "copied" and one.problem is None


def _listed(target: PurePosixPath, folder: PurePosixPath) -> PurePosixPath:
    """Return a copy's path below the sample's folder; one that another system made keeps its whole path."""
    return target.relative_to(folder) if target.is_relative_to(folder) else target


def _manifest(owner: SampleRecord) -> Path:
    return Path(SampleLayout(root=PurePosixPath(owner.folder)).manifest)


def verify_sample(
    engine: Engine,
    owner: SampleRecord,
    *,
    now: Callable[[], datetime],
    progress: Callable[[Finding], None] = lambda _: None,
) -> list[Finding]:
    """Read all of a sample's copies again from storage; proofs of what reads back wrong are taken away at once."""
    with engine.connect() as connection:
        held = custody.files_of_sample(connection, owner.id)
    findings = []
    for finding in reread(held):
        findings.append(finding)
        progress(finding)
        if finding.outcome in {"damaged", "unreadable"}:
            damaged = replace(finding.file, problem=finding.problem)
            with engine.begin() as connection:
                custody.withdraw_proof(connection, [damaged], microscope=owner.microscope, at=now())
            log.error("a copy is damaged: %s", finding.problem, extra={"path": finding.file.target})
    return findings


def reread(held: Iterable[HeldFile]) -> Iterator[Finding]:
    """Read copies again from storage and compare them with their hashes; those on tape are left there."""
    for one in held:
        if one.state not in HAS_COPY or one.target is None or one.xxh3_128 is None:
            continue
        target = Path(one.target)
        if _is_on_tape(target):
            yield Finding(file=one, outcome="on tape", problem="it was migrated; recall it to read it again")
            continue
        try:
            verify(target, xxh3_128=one.xxh3_128)
        except CopyMismatchError as error:
            yield Finding(file=one, outcome="damaged", problem=str(error))
        except TransferError as error:
            yield Finding(file=one, outcome="unreadable", problem=str(error))
        else:
            yield Finding(file=one, outcome="equal")


def _is_on_tape(target: Path) -> bool:
    """Whether the file system keeps a stub only: reading it would recall it, for hours."""
    try:
        found = target.stat(follow_symlinks=False)
    except OSError:
        return False
    return found.st_size > found.st_blksize and found.st_blocks == 0


def certify(engine: Engine, owner: SampleRecord, *, now: Callable[[], datetime]) -> Certificate:
    """Say what of a sample may be removed from the microscope, and why the rest may not."""
    with engine.connect() as connection:
        held = custody.files_of_sample(connection, owner.id)
        here = [one for one in held if one.gone_at is None]
        short = acceptances.short_copies(connection, [one.id for one in here])
    reasons = [(one, short.get(one.id) or _reason_to_stay(one)) for one in here]
    lost = [one for one in held if one.gone_at is not None and one.state not in HAS_COPY]
    return Certificate(
        sample=owner,
        made_at=now(),
        safe=tuple(one for one, why in reasons if why is None),
        unsafe=tuple((one, why) for one, why in reasons if why is not None),
        gone=tuple((one, one.problem or "it went before it was copied") for one in lost),
    )


def _reason_to_stay(one: HeldFile) -> str | None:
    if one.role == "living":
        return "programs still write to it"
    if one.state == "verified":
        return None
    waits = {
        "seen": "it is not known to be complete",
        "held": "a person must look at it",
        "complete": "it is not copied yet",
        "copying": "it is being copied",
        "copied": "its copy was not read again yet",
    }
    reason = waits.get(one.state, one.state)
    return f"{reason}: {one.problem}" if one.problem else reason

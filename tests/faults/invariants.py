"""What must hold after every schedule."""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from tests.faults.world import Source, World, stem_of

from cryodaq.transfer.pour import new_hash

MANIFEST = "manifest.xxh128"
"""Giving movies to another sample writes it."""
ROWS = """
select f.id, f.path, f.version, f.role, f.state, f.target, f.xxh3_128, f.gone_at is not null as gone, f.problem,
       f.verified_at is not null as proved,
       e.sample_id, e.decision, (select count(*) from ledger.movie m where m.file_id = f.id) as movies
from ledger.file f join ledger.exposure e on f.exposure_id = e.id
where f.microscope = :microscope order by f.path, f.version
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version of a file as the ledger has it."""

    id: int
    path: str
    version: int
    role: str
    state: str
    target: str | None
    xxh3_128: str | None
    gone: bool
    problem: str | None
    proved: bool
    """It was verified once."""
    sample_id: str | None
    decision: str | None
    movies: int


def rows_of(engine: sa.Engine, microscope: str) -> list[Row]:
    with engine.connect() as connection:
        found = connection.execute(sa.text(ROWS), {"microscope": microscope})
        return [Row(**row._mapping) for row in found]


def hash_of(content: bytes) -> str:
    digest = new_hash()
    digest.update(memoryview(content))
    return digest.hexdigest()


def newest(rows: list[Row]) -> dict[str, Row]:
    return {row.path: row for row in rows}


def _taken(row: Row) -> bool:
    """Whether it waits for a person because another file's copy has its name: `a.v2.tif` beside a second `a.tif`."""
    return ".v2." in f"{row.path}.v{row.version}." and "already exists and is another file" in (row.problem or "")


def unsettled(world: World, engine: sa.Engine, microscope: str) -> list[str]:
    """Return what is still to be done."""
    rows = rows_of(engine, microscope)
    found = newest(rows)
    left = [
        f"{row.path}@{row.version} is {row.state}"
        for row in rows
        if row.state == "copied" and not _beyond_repair(world, row, found[row.path])
    ]
    for source in world.sources.values():
        row = found.get(source.path)
        if (world.share / source.path).exists():
            if row is None:
                left.append(f"{source.path} was never seen")
            elif row.state not in {"verified", "held"} or (source.finished and row.state == "held" and not _taken(row)):
                left.append(f"{source.path} is {row.state}: {row.problem}")
            elif row.gone:
                left.append(f"{source.path} is taken for gone")
            elif source.finished and row.state != "held" and row.xxh3_128 != hash_of(source.whole[-1]):
                left.append(f"{source.path}@{row.version} is of an older content")
        elif row is not None and not row.gone:
            left.append(f"{source.path} is not taken for gone")
    return left


def broken_invariants(world: World, engine: sa.Engine, microscope: str) -> list[str]:
    """Return one sentence for everything that should not be."""
    rows = rows_of(engine, microscope)
    if strange := sorted({row.path for row in rows} - world.sources.keys()):
        return [f"{path} was never on this microscope's share" for path in strange]
    broken = [] if not (left := unsettled(world, engine, microscope)) else [f"not settled: {one}" for one in left]
    broken += _of_rows(world, rows)
    broken += _of_sources(world, rows)
    broken += _of_storage(world, rows)
    broken += _of_plans(engine, microscope)
    broken += _of_owners(world, rows)
    return broken


def gone_files(engine: sa.Engine, microscope: str) -> dict[int, str]:
    """Return what is called gone and was not removed by us, by the ids of the newest versions."""
    query = sa.text(
        "select distinct on (path) id, path, state, gone_at from ledger.file where microscope = :m "
        "order by path, version desc"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"m": microscope}).all()
    return {row.id: row.path for row in rows if row.gone_at is not None and row.state != "removed"}


def _of_plans(engine: sa.Engine, microscope: str) -> list[str]:
    """What people gave to another sample is there, with its movies."""
    plans = sa.text("select id, state from ledger.reassignment where microscope = :m and state <> 'done'")
    assignments = sa.text("select id from ledger.assignment where microscope = :m and done_at is null")
    strays = sa.text(
        "select m.id, m.sample_id, e.sample_id as owner from ledger.movie m join ledger.exposure e on "
        "m.exposure_id = e.id where e.microscope = :m and m.sample_id is distinct from e.sample_id"
    )
    with engine.connect() as connection:
        begun = connection.execute(plans, {"m": microscope}).all()
        apart = connection.execute(strays, {"m": microscope}).all()
        given = connection.execute(assignments, {"m": microscope}).scalars().all()
    broken = [f"reassignment {row.id} is {row.state} still" for row in begun]
    broken += [f"assignment {number} is open still" for number in given]
    return broken + [f"movie {row.id} of {row.sample_id} is of an exposure of {row.owner}" for row in apart]


def _of_rows(world: World, rows: list[Row]) -> list[str]:
    """Every row that has a copy: it is there, whole, under one name, and has one movie."""
    broken, found = [], newest(rows)
    for row in rows:
        name = f"{row.path}@{row.version} ({row.state})"
        if row.state not in {"copied", "verified", "removed"}:
            if row.movies:
                broken.append(f"{name} has a movie and no copy")
            continue
        target = Path(row.target or "")
        if not target.is_file():
            broken.append(f"{name}: there is no {target}")
        elif hash_of(target.read_bytes()) != row.xxh3_128 and not _beyond_repair(world, row, found[row.path]):
            broken.append(f"{name}: {target} has another hash")
        elif (
            _expects_frames(row)
            and not _beyond_repair(world, row, found[row.path])
            and target.read_bytes() not in world.sources[row.path].whole
        ):
            broken.append(f"{name}: {target} never was a whole file")
        wanted = 1 if row.role == "movie" and row.sample_id is not None else 0
        if row.movies != wanted:
            broken.append(f"{name} of {row.sample_id} has {row.movies} movies")
    for target, count in Counter(row.target for row in rows if row.target).items():
        if count > 1:
            broken.append(f"{target} stands for {count} rows")
    return broken


def _rotten(world: World) -> set[str]:
    return {hash_of(content) for content in world.rotten}


def _beyond_repair(world: World, row: Row, latest: Row) -> bool:
    """Whether the storage damaged a copy before it was verified, and the source has another content by now."""
    return row.state == "copied" and row.xxh3_128 in _rotten(world) and (row.gone or latest.id != row.id)


def _expects_frames(row: Row) -> bool:
    """Whether the sample says how many frames a movie has; in quarantine a pause between frames looks like the end."""
    return row.role != "movie" or (row.sample_id is not None and row.decision != "operator")


def lost_copies(world: World, engine: sa.Engine, microscope: str) -> list[str]:
    """Return what the ledger calls copied and the storage does not have, wherever it lies just now."""
    rotten = _rotten(world)
    kept = {hash_of(path.read_bytes()) for path in world.storage.rglob("*") if path.is_file()}
    copied = [row for row in rows_of(engine, microscope) if row.state in {"copied", "verified", "removed"}]
    return [
        f"{row.path}@{row.version} ({row.state}) did not survive the loss of power"
        for row in copied
        if row.role != "living" and row.xxh3_128 not in kept and row.xxh3_128 not in rotten
    ]


def _of_sources(world: World, rows: list[Row]) -> list[str]:
    """Every whole source is still there, or its copy is; nobody but the microscope's people removed another one."""
    broken = []
    removed = {row.path: row for row in rows if row.state == "removed"}
    loose = {row.path for row in rows if not _expects_frames(row)}
    versions = Counter(row.path for row in rows if row.state in {"copied", "verified", "removed"})
    for source in world.sources.values():
        there = (world.share / source.path).exists()
        if not there and not source.taken and source.path not in removed:
            broken.append(f"{source.path} is gone, and no verified row says why")
        if not there and not source.taken and source.path in removed:
            row = removed[source.path]
            if not row.proved:
                broken.append(f"{source.path} was removed, and its copy had not been verified")
            if not source.whole or row.xxh3_128 != hash_of(source.whole[-1]):
                broken.append(f"{source.path} was removed, and its newest content was not the one copied")
        if not source.living and versions[source.path] > max(1, len(source.whole)) and source.path not in loose:
            broken.append(f"{source.path} has {versions[source.path]} versions of {len(source.whole)} contents")
    broken += [f"written into the empty mount point: {path}" for path in world.strays]
    return broken + [f"left aside: {path.name}" for path in world.share.rglob(".cryodaq-aside-*")]


def _of_storage(world: World, rows: list[Row]) -> list[str]:
    """Nothing lies under a visible name that the ledger does not know; nothing half is left."""
    known = {row.target for row in rows}
    broken = []
    for path in world.storage.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        if path.name.endswith(".part"):
            broken.append(f"left half: {path}")
        elif not path.name.endswith(".damaged") and path.name != MANIFEST and str(path) not in known:
            broken.append(f"{path} is in no row")
        if path.stat().st_mode & stat.S_IRWXO:
            broken.append(f"{path} can be read by everybody")
    quarantine = world.storage / "quarantine" / f"tem{world.number}"
    if quarantine.exists() and stat.S_IMODE(quarantine.stat().st_mode) != 0o700:
        broken.append(f"{quarantine} is open")
    return broken


def _of_owners(world: World, rows: list[Row]) -> list[str]:
    """An exposure belongs to a sample that was current about when it appeared, or to nobody."""
    broken = []
    stems: dict[str, list[Source]] = {}
    for source in world.sources.values():
        stems.setdefault(stem_of(source.path), []).append(source)
    for row in rows:
        if row.target and row.sample_id and f"/{row.sample_id}/" not in row.target:
            broken.append(f"{row.path}@{row.version} of {row.sample_id} lies in {row.target}")
        if row.decision in {"operator", None} or stem_of(row.path) in world.reborn:
            continue
        possible = world.possible_owners([one.path for one in stems[stem_of(row.path)]])
        if row.sample_id not in possible and not (row.sample_id is None and len(possible) > 1):
            broken.append(f"{row.path}@{row.version} belongs to {row.sample_id} ({row.decision}), not to {possible}")
    return broken

"""The tables of some of a sample's micrographs: what a person selected, in the same form as the sample's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from cryodaq.app.exporting.described import described
from cryodaq.app.exporting.keeping import known_optics
from cryodaq.domain.layout import SampleLayout
from cryodaq.ledger import exports
from cryodaq.ledger.samples import Branch, SampleRecord
from cryodaq.publish import sample_tables
from cryodaq.publish.star import optics_groups

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["star", "csv"]
_FILES: dict[Kind, str] = {"star": sample_tables.WITH_CTF, "csv": sample_tables.EVERYTHING}


def export_selection(
    connection: Connection, sample: SampleRecord, branch: Branch, *, movie_ids: Collection[int], kind: Kind
) -> Iterator[str]:
    """Yield the lines of the micrographs' STAR file (those with a CTF) or of the CSV of everything.

    Paths are relative to the sample's folder, so the file is to be used there.
    """
    root, name = PurePosixPath(sample.folder), _FILES[kind]
    layout, wanted = SampleLayout(root=root).branch(branch.name), set(movie_ids)
    movies = [
        described(source, layout=layout, sample_folder=root)
        for source in exports.exported_sources(connection, branch.id)
        if source.movie_id in wanted
    ]
    state = exports.export_state_of(connection, branch.id)
    used = {movie.aligned.optics for movie in movies}
    numbers = optics_groups([movie.aligned.optics for movie in movies], known=known_optics(state))
    groups = {one: number for one, number in numbers.items() if one in used}
    names = list(movies[0].facts) if movies else []
    yield sample_tables.heads(groups, with_motion=False, fact_names=names)[name]
    for movie in movies:
        line = sample_tables.lines(movie, group=groups[movie.aligned.optics], root=root, with_motion=False).get(name)
        if line is not None:
            yield line

"""Run within a container: answers one question about the ledger as a line of JSON."""

import json
import sys
from pathlib import Path

import sqlalchemy as sa

from cryodaq.wiring import open_system

QUESTIONS = {
    "following": "select distinct microscope from ledger.current_state order by 1",
    "counts": "select state, count(*) from ledger.movie group by state",
    "running": "select movie_id from ledger.stage_result where state = 'running'",
    "unverified": "select count(*) from ledger.file where role = 'movie' and state <> 'verified'",
    "published": "select run_name from ledger.movie where state = 'published'",
    "not once": """
        select m.run_name, s.stage, count(*) from ledger.movie m join ledger.stage_result s on s.movie_id = m.id
        where s.state = 'succeeded' group by m.run_name, s.stage having count(*) <> 1
        union all
        select f.path, 'copied', count(*) from ledger.file f where f.role = 'movie'
        group by f.microscope, f.share, f.path having count(*) <> 1""",
}


def main(question: str) -> object:
    system = open_system()
    with system.engine.connect() as connection:

        def rows(name: str) -> list[list[object]]:
            return [list(row) for row in connection.execute(sa.text(QUESTIONS[name]))]

        if question == "verdict":
            root = Path(str(system.facility.storage.root))
            stars = root.glob("*/*/*/micrographs_ctf.star")
            lines = [line for path in stars for line in path.read_text().splitlines() if "_DW.mrc" in line]
            copies = [path for path in root.rglob("*fractions.tiff") if path.stat().st_size == 0]
            facts = {"published": len(rows("published")), "not once": rows("not once")}
            return {**facts, "star rows": len(lines), "short": [str(path) for path in copies]}
        found = rows(question)
    if question == "counts":
        return {str(state): count for state, count in found}
    return found[0][0] if question == "unverified" else [row[0] for row in found]


print(json.dumps(main(sys.argv[1])))

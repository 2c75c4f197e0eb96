"""Run within a container: answers one question about the ledger as a line of JSON."""

import csv
import json
import sys
import time
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from cryodaq.wiring import open_system

QUESTIONS = {
    "following": "select distinct microscope from ledger.current_state order by 1",
    "counts": "select state, count(*) from ledger.movie group by state",
    "unverified": "select count(*) from ledger.file where role = 'movie' and state <> 'verified'",
    "leases": "select microscope, epoch, holder from ledger.lease order by 1",
    "aligning": "select movie_id from ledger.stage_result where stage = 'align' and state = 'running'",
    "copying": "select path from ledger.file where role = 'movie' and state = 'copying' and microscope = 'tem2'",
    "published": "select run_name from ledger.movie where state = 'published'",
    "not once": """
        select m.run_name, s.stage, count(*) from ledger.movie m join ledger.stage_result s on s.movie_id = m.id
        where s.state = 'succeeded' group by m.run_name, s.stage having count(*) <> 1
        union all
        select f.path, 'copied', count(*) from ledger.file f where f.role = 'movie'
        group by f.microscope, f.share, f.path having count(*) <> 1""",
    "attempts": """
        select stage, attempt, state, count(*) from ledger.stage_result group by 1, 2, 3 order by 1, 2, 3""",
    "tables": "select version_num from schema_version",
    "problems": "select distinct problem from ledger.stage_result where problem is not null",
    "open alarms": "select text from ledger.alarm where cleared_at is null",
}
LOOK_S = 0.02


def main(question: str, limit_s: str = "0") -> object:
    system = open_system()
    with system.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:

        def rows(name: str) -> list[list[object]]:
            return [list(row) for row in connection.execute(sa.text(QUESTIONS[name]))]

        if question == "verdict":
            root = Path(str(system.facility.storage.root))
            files = [path for path in root.glob("*/*/*/micrographs.csv") if not path.parent.is_symlink()]
            rows_of = [list(csv.DictReader(path.open())) for path in files]
            exported = Counter(row["run"] for table in rows_of for row in table)
            facts = {"published": len(rows("published")), "not once": rows("not once"), "attempts": rows("attempts")}
            twice = [name for name, count in exported.items() if count > 1]
            return {**facts, "exported": len(exported), "exported twice": twice}
        found, deadline = rows(question), time.monotonic() + float(limit_s)
        while not found and time.monotonic() < deadline:  # with a limit: until there is an answer
            time.sleep(LOOK_S)
            found = rows(question)
    if question == "counts":
        return {str(state): count for state, count in found}
    if question == "unverified":
        return found[0][0]
    return found if len(found[0:1]) and len(found[0]) > 1 else [row[0] for row in found]


print(json.dumps(main(*sys.argv[1:])))

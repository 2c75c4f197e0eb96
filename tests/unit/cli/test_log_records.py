"""Records as JSON: one line each, with the facts that were given."""

from __future__ import annotations

import json
import logging
import sys

from cryodaq.cli.log_records import JsonFormatter, TextFormatter


def written(**facts: object) -> dict[str, object]:
    """Return a record of an error, with the facts given as `extra`, as it is written."""
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        info = sys.exc_info()
    record = logging.getLogger("cryodaq.test").makeRecord(
        "cryodaq.test",
        logging.ERROR,
        "here.py",
        1,
        "movie %s\nis short",
        ("m1",),
        info if facts.pop("with_traceback", False) else None,
        extra=facts,
    )
    (line,) = JsonFormatter().format(record).splitlines()
    return dict(json.loads(line))


def test_facts_keep_their_names_and_a_record_is_one_line() -> None:
    facts = {"microscope": "tem1", "experiment": "20261122-CS01", "sample": "grid1", "movie": "Å_1"}
    found = written(**facts)
    assert facts.items() <= found.items()
    assert found["message"] == "movie m1\nis short"
    assert found["level"] == "ERROR"
    assert str(found["time"]).endswith("+00:00")
    assert "traceback" not in found


def test_a_traceback_goes_along() -> None:
    assert "ZeroDivisionError" in str(written(with_traceback=True)["traceback"])


def test_people_read_the_facts_too() -> None:
    record = logging.getLogger("cryodaq.test").makeRecord(
        "cryodaq.test", logging.ERROR, "here.py", 1, "a scan failed", (), None, extra={"share": "/mnt/tem1", "files": 3}
    )
    assert TextFormatter().format(record).endswith("ERROR cryodaq.test a scan failed (share /mnt/tem1, files 3)")

"""How our own processes write their log: for people, or one JSON object a line for a log store."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}
LogFormat = Literal["text", "json"]


class JsonFormatter(logging.Formatter):
    """One object a record: time, level, logger, message, and the facts given with `extra`.

    Facts keep their names, among them `microscope`, `experiment`, `sample` and `movie`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        content: dict[str, object] = {
            **_facts(record),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One line a record for people: time, level, logger, message, and the facts given with `extra`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's name
        """Return the line without a traceback."""
        facts = ", ".join(f"{key} {value}" for key, value in _facts(record).items())
        return super().formatMessage(record) + (f" ({facts})" if facts else "")


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _OWN and not key.startswith("_")}


def write_log(log_format: LogFormat) -> None:
    """Send this process's records of cryodaq, INFO and above, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logger = logging.getLogger("cryodaq")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

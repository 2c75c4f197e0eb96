"""What bodies hold, for the OpenAPI document: the contract's keys with their types.

The checks themselves are the book's, as they refuse in the contract's words; these shapes tell programs and people
what passes them. Keys that are not listed are kept where the contract keeps them.
"""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]  # a JSON schema

TEXT: Shape = {"type": "string"}
NAME: Shape = {"type": "string", "minLength": 1, "maxLength": 100}
TIME: Shape = {"type": "string", "format": "date-time"}
FLAG: Shape = {"type": "boolean"}
OPEN: Shape = {"type": "object", "additionalProperties": True}
RUN_NUMBER: Shape = {"oneOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": 500}]}


def keys(*required: str, more: bool = True, **properties: Shape) -> Shape:
    """Return the shape of an object."""
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": more}


def json_body(shape: Shape, *, required: bool = True) -> Shape:
    """Return what a route says of its JSON body."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": shape}}}}


def entry_form(shape: Shape) -> Shape:
    """Return what a route says of its form."""
    kinds = ("multipart/form-data", "application/x-www-form-urlencoded")
    return {"requestBody": {"required": True, "content": {kind: {"schema": shape} for kind in kinds}}}


ENTRY_FORM = keys(
    "log_text",
    log_text=TEXT,
    log_title=TEXT,
    log_tags={**TEXT, "description": "with blanks between them"},
    log_emails={**TEXT, "description": "with blanks between them"},
    run_num={**TEXT, "description": "a run's number, or current"},
    parent={**TEXT, "description": "_id of the entry that this one answers"},
    author={**TEXT, "description": "who signs; only programs may say"},
    once={**TEXT, "description": "ours: an entry with this key is written once"},
    xpost_instrument_elog={**TEXT, "description": "on: also into the logs of the instrument"},
    files={"type": "array", "items": {"type": "string", "format": "binary"}},
)
INSTRUMENT = keys("_id", "description", _id=NAME, description=TEXT, params=OPEN)
INSTRUMENT_CHANGE = keys(_id=NAME, description=TEXT, params=OPEN)
EXPERIMENT = keys(
    "instrument",
    "start_time",
    "end_time",
    "leader_account",
    "contact_info",
    instrument=NAME,
    start_time=TIME,
    end_time=TIME,
    leader_account=TEXT,
    contact_info=TEXT,
    description=TEXT,
    posix_group=TEXT,
    params=OPEN,
    initial_sample=NAME,
)
EXPERIMENT_CHANGE = {**EXPERIMENT, "required": []}
NAMES: Shape = {"type": "array", "items": TEXT}
STATION: Shape = {"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}
SWITCH = keys("experiment_name", "instrument", "station", experiment_name=NAME, instrument=NAME, station=STATION)
STANDBY = keys("instrument", "station", instrument=NAME, station=STATION)
SAMPLE = keys("name", "description", name=NAME, description=TEXT, params=OPEN, create_associated_run=FLAG)
RUN_PARAMS = {**OPEN, "description": "merged key by key"}
DESCRIPTIONS: Shape = {"type": "object", "additionalProperties": TEXT}
FILE = keys(
    "path",
    path={"type": "string", "minLength": 1},
    run_num=RUN_NUMBER,
    size={"type": "integer", "minimum": 0, "description": "bytes"},
    checksum=TEXT,
    create_timestamp=TIME,
    modify_timestamp=TIME,
)
FILES: Shape = {"oneOf": [FILE, {"type": "array", "items": FILE, "minItems": 1}]}
_COLUMN = keys(
    "source",
    label=TEXT,
    type=TEXT,
    source={**TEXT, "description": "such as params.aligned_defocus or editable_params.Comment.value"},
    is_editable=FLAG,
    position={"type": "integer", "minimum": 0},
)
RUN_TABLE = keys(
    "name",
    name=NAME,
    description=TEXT,
    table_type={
        "type": "string",
        "enum": ["table", "histogram", "scatter", "generatedtable", "generatedscatter", "groupbytable"],
    },
    sort_index={"type": "integer", "minimum": 0},
    patterns=TEXT,
    coldefs={"type": "array", "items": _COLUMN, "maxItems": 200},
)
CELL = keys("runnum", "source", "value", runnum=TEXT, source=TEXT, value=TEXT)
TABLE_NAMES = keys("existing_run_table_name", existing_run_table_name=TEXT, system_run_table_name=TEXT)
CLONE = {
    **EXPERIMENT,
    "required": ["start_time", "end_time"],
    "properties": {
        **EXPERIMENT["properties"],
        **{f"copy_{what}": FLAG for what in ("samples", "roles", "setup", "run_param_descriptions")},
    },
}
LOG_IN = keys(more=False, user=TEXT, password=TEXT, ticket=TEXT)
TICKET = keys("user", user=TEXT)

"""How an explgbk and the embedded elogbook differ for a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What a client must know of the server that it talks to."""

    name: str
    runs_can_be_ended: bool
    """Else end_run closes another run than the one asked for, so it is never sent."""
    server_error_is_outage: bool
    """Whether status 500 means that the server is broken; an explgbk refuses requests with it."""
    file_times_in_seconds: bool
    """register_file takes times without a fraction only."""
    notes_have_keys: bool
    """An entry of the log that is sent again with its key is not written again."""
    converts_run_numbers: bool
    """A query's run number becomes an integer when Python's int() takes it, but not one in a body."""


EMBEDDED = Quirks(
    name="embedded",
    runs_can_be_ended=True,
    server_error_is_outage=True,
    file_times_in_seconds=False,
    notes_have_keys=True,
    converts_run_numbers=False,
)
EXPLGBK = Quirks(
    name="explgbk",
    runs_can_be_ended=False,
    server_error_is_outage=False,
    file_times_in_seconds=True,
    notes_have_keys=False,
    converts_run_numbers=True,
)
QUIRKS = {quirks.name: quirks for quirks in (EMBEDDED, EXPLGBK)}

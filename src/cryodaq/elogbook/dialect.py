"""Where ours is deliberately better than an explgbk, and how to switch each difference off.

A facility whose existing clients rely on an explgbk's ways sets the dialect to `explgbk`; recorded
conversations then replay without a difference.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The decisions in which ours and an explgbk differ."""

    name: str
    strict_times: bool
    """Accept only one time format per call; else ISO 8601 with or without fraction and offset."""
    closes_highest_run: bool
    """Starting a run closes the highest open one, even when the start then fails; else only a request closes."""
    body_begins_run: bool
    """`start_time` in the body of start_run is when the run began; else it is only a param."""
    current_run_is_highest: bool
    """The current run is the highest number; else the one that was started last."""
    every_number_required: bool
    """Each int or float parameter of a sample must be a number, and `showwhen` is ignored."""
    initial_sample_is_lost: bool
    """A sample named at registration is not made, as its parameters are missing; else it waits for them."""
    open_reads: bool
    """Some calls answer without an account, as an explgbk's do."""
    names_bind_programs: bool
    """The name pattern also binds programs (an explicit override passes); else only people's pages."""
    trusts_attachment_types: bool
    """An attachment is what its sender says; else its content must agree."""
    verbatim_file_runs: bool
    """Keep the run number of a file as it was sent; else "00042" is run 42 in every call."""


CRYODAQ = Dialect(
    name="cryodaq",
    strict_times=False,
    closes_highest_run=False,
    body_begins_run=True,
    current_run_is_highest=False,
    every_number_required=False,
    initial_sample_is_lost=False,
    open_reads=False,
    names_bind_programs=True,
    trusts_attachment_types=False,
    verbatim_file_runs=False,
)
EXPLGBK = Dialect(
    name="explgbk",
    strict_times=True,
    closes_highest_run=True,
    body_begins_run=False,
    current_run_is_highest=True,
    every_number_required=True,
    initial_sample_is_lost=True,
    open_reads=True,
    names_bind_programs=False,
    trusts_attachment_types=True,
    verbatim_file_runs=True,
)
DIALECTS = {dialect.name: dialect for dialect in (CRYODAQ, EXPLGBK)}

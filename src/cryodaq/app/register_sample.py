"""Find a sample by its name; register one that was never current, because somebody forgot to make it so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cryodaq.app.follow_logbook import Following, register
from cryodaq.domain.names import check_experiment_name
from cryodaq.errors import LedgerError
from cryodaq.ledger import custody, samples
from cryodaq.ledger.samples import SampleRecord
from cryodaq.ports import Logbook

if TYPE_CHECKING:
    from sqlalchemy import Engine


def find_or_register(
    logbook: Logbook,
    following_on: Callable[[str], Following],
    experiment: str,
    *,
    name: str,
    microscope: str | None,
    engine: Engine,
) -> SampleRecord:
    """Return a sample by its name or id.

    Parameters
    ----------
    following_on
        Returns what following the elogbook on a microscope needs.
    microscope
        Where a sample was measured that was never current.

    Raises
    ------
    LedgerError
        Neither ledger nor elogbook knows it, or nobody says on which microscope it is.
    LogbookError
        The elogbook does not answer, or refuses.
    UnsafeNameError
        The experiment's name is not one.
    """
    with engine.connect() as connection:
        known = custody.find_sample_called(connection, experiment, name)
    if known is not None:
        return known
    found = next((one for one in logbook.samples(experiment) if name in {one.name, one.id}), None)
    if found is None:
        message = f"neither the ledger nor the elogbook knows a sample {name} of {experiment}"
        raise LedgerError(message)
    if microscope is None:
        message = f"{found.name} of {experiment} was never current; say on which microscope it is with --microscope"
        raise LedgerError(message)
    following = following_on(microscope)
    check_experiment_name(experiment, following.experiment_pattern)
    wanted = following.microscope.instrument.casefold()
    spelled = (one.id for one in logbook.instruments() if one.id.casefold() == wanted)
    instrument = next(spelled, following.microscope.instrument)
    with engine.begin() as connection:
        register(
            connection,
            following,
            experiment,
            sample=found,
            instrument=instrument,
            started_at=None,
            known=samples.find_sample(connection, found.id),
        )
        made = samples.find_sample(connection, found.id)
    if made is None:
        message = f"{found.name} of {experiment} could not be registered"
        raise LedgerError(message)
    return made

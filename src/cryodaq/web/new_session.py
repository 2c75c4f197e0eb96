"""Beginning a session: what the form says, what is wrong with it, and the steps in the elogbook."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.microscope import Microscope
from cryodaq.domain.parameters import read_operator_settings
from cryodaq.domain.session_checks import Check, check_parameters
from cryodaq.errors import LogbookError, LogbookUnreachableError, ParameterError
from cryodaq.logbook.desk import NewExperiment
from cryodaq.web.operators import Stand
from cryodaq.web.sample_fields import FieldGroup, read_params

NEW = "new"
"""The choice of an experiment that is still to be registered."""
_PROPOSAL = re.compile(r"[A-Za-z0-9]{1,20}", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
MOST_DAYS = 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A session as an operator wants it."""

    experiment: str
    register: NewExperiment | None
    """What to register first; None for an experiment that exists."""
    collaborators: tuple[str, ...]
    sample_name: str
    sample_description: str
    params: Mapping[str, ParameterValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a form said."""

    wanted: Wanted
    problems: Mapping[str, str]
    """By field."""
    checks: tuple[Check, ...]
    """What follows from the parameters."""


def experiment_name(begins: date, proposal: str) -> str:
    """Return the name of an experiment by the facility's rule: date and proposal."""
    return f"{begins:%Y%m%d}-{proposal}"


def read_form(
    sent: Mapping[str, str],
    people: Sequence[str],
    *,
    groups: Sequence[FieldGroup],
    microscope: Microscope,
    zone: ZoneInfo,
) -> Reading:
    """Read the form of a new session; nothing is asked of anybody."""
    problems: dict[str, str] = {}
    register = None
    experiment = sent.get("experiment", "")
    if experiment == NEW:
        register = _read_experiment(sent, problems, instrument=microscope.instrument, zone=zone)
        experiment = register.name if register else ""
    elif not experiment:
        problems["experiment"] = "Choose an experiment, or begin a new one."
    for person in people:
        if _ACCOUNT.fullmatch(person) is None:
            problems["person"] = f"{person[:40]} is not an account."
    name = sent.get("sample_name", "").strip()
    if not name:
        problems["sample_name"] = "The sample needs a name."
    elif len(name) > 100 or "/" in name or name.startswith("."):
        problems["sample_name"] = "The name is a folder's link too: up to 100 characters, no slash, no dot first."
    params, wrong = read_params(groups, sent)
    problems |= wrong
    checks = _checks(params, microscope, problems)
    wanted = Wanted(
        experiment=experiment,
        register=register,
        collaborators=tuple(dict.fromkeys(people)),
        sample_name=name,
        sample_description=sent.get("sample_description", "").strip()[:1000],
        params=params,
    )
    return Reading(wanted=wanted, problems=problems, checks=tuple(checks))


def _checks(params: Mapping[str, ParameterValue], microscope: Microscope, problems: dict[str, str]) -> list[Check]:
    try:
        return check_parameters(read_operator_settings(params), params, microscope.defaults)
    except ParameterError as error:
        problems["params"] = f"{error}."
        return []


def _read_experiment(
    sent: Mapping[str, str], problems: dict[str, str], *, instrument: str, zone: ZoneInfo
) -> NewExperiment | None:
    begins, days = _date(sent.get("begins", "")), sent.get("days", "7").strip()
    proposal, leader = sent.get("proposal", "").strip(), sent.get("leader", "").strip()
    if begins is None:
        problems["begins"] = "Write the first day, such as 2026-11-22."
    if _PROPOSAL.fullmatch(proposal) is None:
        problems["proposal"] = "The proposal has letters and digits only, such as CS01."
    if not (days.isascii() and days.isdigit() and 1 <= int(days[:4]) <= MOST_DAYS):
        problems["days"] = f"Write between 1 and {MOST_DAYS} days."
    if _ACCOUNT.fullmatch(leader) is None:
        problems["leader"] = "Name the principal investigator's account."
    if begins is None or problems.keys() & {"proposal", "days", "leader"}:
        return None
    starts_at = datetime.combine(begins, time(), tzinfo=zone)
    return NewExperiment(
        name=experiment_name(begins, proposal),
        instrument=instrument,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(days=int(days)),
        leader=leader,
        contact=sent.get("contact", "").strip()[:200] or leader,
        description=sent.get("about", "").strip()[:1000],
    )


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


class SessionStepError(Exception):
    """A step was refused; those before it are done, and are found done when the form is sent again."""

    def __init__(self, step: str, *, done: Sequence[str], reason: LogbookError) -> None:
        before = f" Done before: {', '.join(done)}." if done else " Nothing was changed."
        super().__init__(f"{step}: {reason}.{before} Correct it and send the form again.")


def begin_session(place: Stand, wanted: Wanted) -> None:
    """Register what is missing, switch, and make the sample current; the same again is fine.

    Raises
    ------
    SessionStepError
        The elogbook refused a step; everything before it is done.
    LogbookUnreachableError
    """
    done: list[str] = []

    def step(words: str, do: Callable[[], None]) -> None:
        try:
            do()
        except LogbookUnreachableError:
            raise
        except LogbookError as error:
            raise SessionStepError(words, done=done, reason=error) from error
        done.append(words)

    desk, session, name = place.desk, place.session, wanted.experiment
    instrument, station = place.microscope.instrument, place.microscope.station
    register = wanted.register
    known = {one.name for one in desk.experiments(session, instrument=instrument)}
    if register is not None and register.name not in known:
        step(f"registering {name}", lambda: desk.register(session, register))
    here = {person.uid for person in desk.collaborators(session, name)} if wanted.collaborators else set()
    for uid in wanted.collaborators:
        if f"uid:{uid}" not in here:
            step(f"adding {uid}", lambda uid=uid: desk.add_collaborator(session, name, uid))  # type: ignore[misc]  # mypy knows no defaults of lambdas
    samples = {one.name: one for one in desk.samples(session, name)}
    if wanted.sample_name not in samples or dict(samples[wanted.sample_name].params) != dict(wanted.params):
        step(f"adding the sample {wanted.sample_name}", lambda: _create(place, wanted))
    if place.active.experiment != name:
        step(f"switching to {name}", lambda: desk.switch(session, name, instrument=instrument, station=station))
    step(f"making {wanted.sample_name} current", lambda: desk.make_current(session, name, wanted.sample_name))


def _create(place: Stand, wanted: Wanted) -> None:
    place.desk.create_sample(
        place.session,
        wanted.experiment,
        name=wanted.sample_name,
        description=wanted.sample_description,
        params=wanted.params,
    )

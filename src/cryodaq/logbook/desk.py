"""What an operator decides at the pages, told to the elogbook with the operator's own browser session.

The elogbook alone says who may do what; nothing here has rights of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from cryodaq.domain.experiment import Collaborator, Instrument, ParameterValue, Sample
from cryodaq.errors import LogbookError
from cryodaq.logbook import reading
from cryodaq.logbook.access import SESSION_COOKIE, is_session
from cryodaq.logbook.transport import FormFile, Transport, check, value_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """What the elogbook says is active on a station."""

    experiment: str | None
    """None: standby, or never switched."""
    sample: str | None
    """Name of the current sample."""
    switched_at: datetime | None
    switched_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentEntry:
    """One experiment in a list."""

    name: str
    instrument: str
    description: str
    contact: str
    started_at: datetime | None
    locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentFacts:
    """What the elogbook says of one experiment."""

    instrument: str
    description: str
    contact: str
    leader: str
    """An account."""
    started_at: datetime | None
    ends_at: datetime | None
    locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One switch of a station."""

    experiment: str
    """`Standby` for none."""
    switched_at: datetime | None
    requestor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryPerson:
    """Somebody in the site's directory."""

    uid: str
    full_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExperiment:
    """What registering an experiment needs."""

    name: str
    instrument: str
    starts_at: datetime
    ends_at: datetime
    leader: str
    """Account of the principal investigator."""
    contact: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    """A file of a log entry."""

    id: str
    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of an experiment's log."""

    id: str
    root: str
    """First entry of its thread; its own id where it begins one."""
    author: str
    written_at: datetime | None
    title: str
    content: str
    tags: tuple[str, ...]
    sample: str
    deleted_by: str
    """Empty while it stands."""
    attachments: tuple[AttachedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change in the elogbook."""

    id: int
    at: datetime | None
    user: str
    address: str
    """From where; empty where it was no request."""
    request: str
    action: str
    """insert, update or delete."""
    table: str
    key: str
    experiment: str
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None


class Desk:
    """An operator at the embedded elogbook; `session` is the browser's secret in every call.

    Every method raises `LogbookUnreachableError` without an answer, `LogbookAccessError` when the person may not,
    and `LogbookError` with the elogbook's words when it refuses.
    """

    def __init__(
        self,
        url: str,
        *,
        cookie: str = SESSION_COOKIE,
        web_secret: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client of the elogbook at `url`; `web_secret` shows that the pages' own server asks."""
        self._transport = Transport(url, web_secret=web_secret, transport=transport)
        self._cookie = cookie

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _headers(self, session: str) -> dict[str, str]:
        if not is_session(session):
            raise LogbookError("the browser's session cannot be read; log in again")
        return {"Cookie": f"{self._cookie}={session}", "Sec-Fetch-Site": "same-origin"}

    def _ask(
        self, session: str, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None
    ) -> Any:  # Any: a JSON value
        return value_of(self._transport.ask(method, path, query=query, body=body, headers=self._headers(session)))

    def instrument_privileges(self, session: str, instrument: str) -> frozenset[str]:
        """Return what the person may do with one microscope."""
        found = self._ask(session, "GET", "/session/rights", query={"instrument": instrument})
        held = found.get("privileges") if isinstance(found, dict) else None
        if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
            message = f"the elogbook's privileges make no sense: {held!r:.120}"
            raise LogbookError(message)
        return frozenset(held)

    def active(self, session: str, instrument: str, *, station: int) -> Active:
        """Return what is active on a station now."""
        found = reading.objects(self._ask(session, "GET", "/lgbk/ws/activeexperiments"), what="active experiments")
        for entry in found:
            same = reading.text(entry, "instrument").casefold() == instrument.casefold()
            if same and reading.integer(entry.get("station", 0), what="station") == station:
                return Active(
                    experiment=reading.text(entry, "name", default="") or None,
                    sample=reading.text(entry, "current_sample", default="") or None,
                    switched_at=reading.moment(entry, "switch_time"),
                    switched_by=reading.text(entry, "requestor_uid", default=""),
                )
        return Active(experiment=None, sample=None, switched_at=None, switched_by="")

    def experiments(self, session: str, *, instrument: str) -> list[ExperimentEntry]:
        """Return the experiments of a microscope that the person may read, newest first."""
        found = reading.objects(self._ask(session, "GET", "/lgbk/ws/experiments"), what="the experiments")
        entries = [
            ExperimentEntry(
                name=reading.text(entry, "name"),
                instrument=reading.text(entry, "instrument"),
                description=reading.text(entry, "description", default=""),
                contact=reading.text(entry, "contact_info", default=""),
                started_at=reading.moment(entry, "start_time"),
                locked=entry.get("is_locked") is True,
            )
            for entry in found
        ]
        return [one for one in reversed(entries) if one.instrument.casefold() == instrument.casefold()]

    def experiment(self, session: str, experiment: str) -> ExperimentFacts:
        """Return what the elogbook says of an experiment."""
        found = self._ask(session, "GET", _path(experiment, "info"))
        entry = reading.objects([found], what="the experiment")[0]
        return ExperimentFacts(
            instrument=reading.text(entry, "instrument"),
            description=reading.text(entry, "description", default=""),
            contact=reading.text(entry, "contact_info", default=""),
            leader=reading.text(entry, "leader_account", default=""),
            started_at=reading.moment(entry, "start_time"),
            ends_at=reading.moment(entry, "end_time"),
            locked=entry.get("is_locked") is True,
        )

    def samples(self, session: str, experiment: str) -> list[Sample]:
        """Return the samples of an experiment, newest first."""
        found = self._ask(session, "GET", _path(experiment, "samples"))
        return [reading.sample(entry) for entry in reading.objects(found, what="the samples")]

    def current_sample(self, session: str, experiment: str) -> str | None:
        """Return the name of the sample that is current in an experiment, active or not."""
        found = self._ask(session, "GET", _path(experiment, "current_sample_name"))
        return found if isinstance(found, str) and found else None

    def collaborators(self, session: str, experiment: str) -> list[Collaborator]:
        """Return who has a role in an experiment."""
        found = self._ask(session, "GET", _path(experiment, "collaborators"))
        return [reading.collaborator(entry) for entry in reading.objects(found, what="the collaborators")]

    def history(self, session: str, instrument: str, *, station: int) -> list[Switch]:
        """Return the switches of a station, newest first."""
        query = {"instrument": instrument, "station": str(station)}
        found = self._ask(session, "GET", "/lgbk/ws/instrument_switch_history", query=query)
        return [
            Switch(
                experiment=reading.text(entry, "experiment_name", default="Standby"),
                switched_at=reading.moment(entry, "switch_time"),
                requestor=reading.text(entry, "requestor_uid", default=""),
            )
            for entry in reading.objects(found, what="the switches")
        ]

    def people(self, session: str, part: str) -> list[DirectoryPerson]:
        """Return people of the directory whose account contains a text."""
        found = self._ask(session, "GET", "/lgbk/ws/get_matching_uids", query={"uid": f"*{part}*"})
        return [
            DirectoryPerson(uid=reading.text(entry, "uid"), full_name=reading.text(entry, "gecos", default=""))
            for entry in reading.objects(found, what="the directory's people")
        ]

    def sample_definitions(self, session: str) -> list[reading.Json]:
        """Return the site's definitions of a sample's parameters."""
        found = self._ask(session, "GET", "/lgbk/get_modal_param_definitions", query={"modal_type": "samples"})
        return reading.objects(found.get("params") if isinstance(found, dict) else None, what="the definitions")

    def instruments(self, session: str) -> list[Instrument]:
        """Return the microscopes that the elogbook knows."""
        found = self._ask(session, "GET", "/lgbk/ws/instruments")
        return [reading.instrument(entry) for entry in reading.objects(found, what="the instruments")]

    def update_instrument(self, session: str, changed: Instrument) -> None:
        """Replace a microscope's description and parameters."""
        document = {"_id": changed.id, "description": changed.description, "params": dict(changed.params)}
        self._ask(session, "PUT", f"/lgbk/ws/instruments/{quote(changed.id, safe='')}", body=document)

    def register(self, session: str, new: NewExperiment) -> None:
        """Register an experiment."""
        document = {
            "instrument": new.instrument,
            "start_time": _time(new.starts_at),
            "end_time": _time(new.ends_at),
            "leader_account": new.leader,
            "contact_info": new.contact,
            "description": new.description,
        }
        query = {"experiment_name": new.name}
        self._ask(session, "POST", "/lgbk/ws/register_new_experiment", query=query, body=document)

    def add_collaborator(self, session: str, experiment: str, uid: str, *, role: str = "Reader") -> None:
        """Give somebody a role in an experiment; whoever has one may read its files."""
        query = {"uid": f"uid:{uid}", "role_fq_name": f"LogBook/{role}"}
        self._ask(session, "POST", _path(experiment, "add_collaborator"), query=query)

    def toggle_role(self, session: str, experiment: str, player: str, *, role: str) -> None:
        """Give somebody a role in an experiment, or take it away; `player` is `uid:<user>` or a group."""
        query = {"uid": player, "role_fq_name": f"LogBook/{role}"}
        self._ask(session, "POST", _path(experiment, "toggle_role"), query=query)

    def remove_collaborator(self, session: str, experiment: str, player: str) -> None:
        """Take all roles in an experiment away."""
        self._ask(session, "POST", _path(experiment, "remove_collaborator"), query={"uid": player})

    def create_sample(
        self,
        session: str,
        experiment: str,
        *,
        name: str,
        description: str,
        params: Mapping[str, ParameterValue],
    ) -> None:
        """Add a sample."""
        document = {"name": name, "description": description, "params": dict(params)}
        self._ask(session, "POST", _path(experiment, "samples") + "/", body=document)

    def update_sample(self, session: str, experiment: str, changed: Sample) -> None:
        """Replace a sample's name, description and parameters."""
        document = {"name": changed.name, "description": changed.description, "params": dict(changed.params)}
        self._ask(session, "PUT", _path(experiment, "samples", changed.id), body=document)

    def switch(self, session: str, experiment: str, *, instrument: str, station: int) -> None:
        """Make an experiment active on a station."""
        body = {"experiment_name": experiment, "instrument": instrument, "station": station}
        self._ask(session, "POST", "/lgbk/ws/switch_experiment", body=body)

    def standby(self, session: str, *, instrument: str, station: int) -> None:
        """Make no experiment active on a station."""
        body = {"instrument": instrument, "station": station}
        self._ask(session, "POST", "/lgbk/ws/instrument_standby", body=body)

    def make_current(self, session: str, experiment: str, sample: str) -> None:
        """Make a sample current."""
        self._ask(session, "POST", _path(experiment, "make_sample_current"), query={"sample_name": sample})

    def stop_current(self, session: str, experiment: str, sample: str) -> None:
        """Make no sample current."""
        self._ask(session, "POST", _path(experiment, "stop_current_sample"), query={"sample_name": sample})

    def changes(
        self,
        session: str,
        experiment: str | None,
        *,
        narrowed: Mapping[str, str],
        without: Sequence[str] = (),
        before: int | None,
        limit: int,
    ) -> list[Change]:
        """Return what was changed in an experiment, or everywhere, newest first.

        Parameters
        ----------
        narrowed
            `user` and `table`, as far as only those are wanted.
        without
            Tables that are left out.
        before
            Only what came before the change of this id.
        """
        path = "/lgbk/ws/audit" if experiment is None else _path(experiment, "audit")
        query = [*narrowed.items(), *(("without", table) for table in without), ("limit", str(limit))]
        query += [] if before is None else [("before", str(before))]
        found = self._ask(session, "GET", f"{path}?{urlencode(query)}")
        return [_change(document) for document in reading.objects(found, what="the changes")]

    def log(self, session: str, experiment: str, *, search: str = "") -> list[LogEntry]:
        """Return an experiment's log, oldest entry first; `search` is words, or `t:` and a tag."""
        if search:
            found = self._ask(session, "GET", _path(experiment, "search_elog"), query={"search_text": search})
        else:
            found = self._ask(session, "GET", _path(experiment, "elog"))
        return [_entry(document) for document in reading.objects(found, what="the log")]

    def log_tags(self, session: str, experiment: str) -> list[str]:
        """Return the tags that are used in an experiment's log."""
        found = self._ask(session, "GET", _path(experiment, "get_elog_tags"))
        return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []

    def write_entry(
        self, session: str, experiment: str, *, fields: Mapping[str, str], files: Sequence[FormFile] = ()
    ) -> None:
        """Write an entry; `fields` are the contract's: log_text, log_title, log_tags, parent."""
        path = _path(experiment, "new_elog_entry")
        headers = self._headers(session)
        value_of(self._transport.ask("POST", path, form=fields, files=files, headers=headers))

    def gets_mail(self, session: str, experiment: str, uid: str) -> bool:
        """Whether somebody gets the entries of an experiment's log by e-mail."""
        found = self._ask(session, "GET", _path(experiment, "elog_email_subscriptions"))
        subscribed = reading.objects(found, what="the subscriptions")
        return any(reading.text(one, "subscriber", default="") == uid for one in subscribed)

    def send_mail(self, session: str, experiment: str, *, wanted: bool) -> None:
        """Have the entries of an experiment's log sent to the person, or no more."""
        self._ask(session, "POST", _path(experiment, "elog_email_subscribe" if wanted else "elog_email_unsubscribe"))

    def attachment(self, session: str, experiment: str, *, entry: str, attachment: str, small: bool) -> FormFile:
        """Return an attached file, or the small picture of it."""
        query = {"entry_id": entry, "attachment_id": attachment, "prefer_preview": "true" if small else "false"}
        path = _path(experiment, "attachment")
        reply = self._transport.ask("GET", path, query=query, headers=self._headers(session))
        check(reply)
        return FormFile(name=attachment, type=reply.media_type.partition(";")[0].strip(), content=reply.body)


def _change(document: reading.Json) -> Change:
    origin, before, after = document.get("origin"), document.get("before"), document.get("after")
    came: Mapping[str, object] = origin if isinstance(origin, dict) else {}
    return Change(
        id=reading.integer(document.get("_id"), what="the change's number"),
        at=reading.moment(document, "at"),
        user=reading.text(document, "user", default=""),
        address=reading.text(came, "address", default=""),
        request=reading.text(came, "request", default=""),
        action=reading.text(document, "action", default=""),
        table=reading.text(document, "table", default=""),
        key=reading.text(document, "key", default=""),
        experiment=reading.text(document, "experiment", default=""),
        before=before if isinstance(before, dict) else None,
        after=after if isinstance(after, dict) else None,
    )


def _entry(document: reading.Json) -> LogEntry:
    tags, files = document.get("tags"), document.get("attachments")
    return LogEntry(
        id=reading.text(document, "_id"),
        root=reading.text(document, "root", default="") or reading.text(document, "_id"),
        author=reading.text(document, "author", default=""),
        written_at=reading.moment(document, "insert_time"),
        title=reading.text(document, "title", default=""),
        content=reading.text(document, "content", default=""),
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        sample=reading.text(document, "sample", default=""),
        deleted_by=reading.text(document, "deleted_by", default=""),
        attachments=tuple(
            AttachedFile(
                id=reading.text(one, "_id"),
                name=reading.text(one, "name", default="file"),
                type=reading.text(one, "type", default=""),
            )
            for one in reading.objects(files if files is not None else [], what="the attachments")
        ),
    )


def _path(experiment: str, *rest: str) -> str:
    parts = (experiment, *rest)
    if any(part in {"", ".", ".."} for part in parts):
        message = f"{experiment!r} {rest!r} cannot be an address in the elogbook"
        raise LogbookError(message)
    return f"/lgbk/{quote(experiment, safe='')}/ws/{'/'.join(quote(part, safe='') for part in rest)}"


def _time(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"

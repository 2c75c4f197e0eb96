"""Routes of the entries that go by e-mail."""

from __future__ import annotations

from fastapi import APIRouter

from cryodaq.elogbook.api.gate import Answer, Entry, get_or_post, success, value
from cryodaq.elogbook.book import subscriptions
from cryodaq.elogbook.book.times import read_time

router = APIRouter(tags=["elog"])


@router.get("/lgbk/{experiment}/ws/elog_email_subscriptions")
def list_subscriptions(gate: Entry, experiment: str) -> Answer:
    with gate.experiment(experiment, needs="read") as (work, _):
        return value(subscriptions.listing(work, experiment))


@get_or_post(router, "/lgbk/{experiment}/ws/elog_email_subscribe")
def subscribe(gate: Entry, experiment: str) -> Answer:
    """Send the entries of this log to whoever asks."""
    with gate.experiment(experiment, needs="read", changes=True) as (work, _):
        subscriptions.subscribe(work, experiment)
    return success()


@get_or_post(router, "/lgbk/{experiment}/ws/elog_email_unsubscribe")
def unsubscribe(gate: Entry, experiment: str) -> Answer:
    """Send no more entries of this log to whoever asks."""
    with gate.experiment(experiment, needs="read", changes=True) as (work, _):
        subscriptions.unsubscribe(work, experiment)
    return success()


@router.get("/lgbk/ws/elog_mail")
def list_entries_to_send(gate: Entry, since: str) -> Answer:
    """Give the entries written since a time that somebody gets by e-mail, with `recipients`; ours."""
    with gate.site("read") as work:
        first = read_time(since, what="since", strict_format=None)
        return value(subscriptions.entries_to_send(work, since=first))

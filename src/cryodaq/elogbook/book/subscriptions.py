"""Who gets the entries of logs by e-mail, and which entries are to be sent."""

from __future__ import annotations

import re
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from cryodaq.domain.digest import addresses
from cryodaq.elogbook import tables as t
from cryodaq.elogbook.authentication import principal_named
from cryodaq.elogbook.book import elog
from cryodaq.elogbook.book.times import write_time
from cryodaq.elogbook.book.work import Document, Work
from cryodaq.elogbook.refusals import RuleError
from cryodaq.elogbook.rights import experiment_and_privileges, readable_experiments
from cryodaq.elogbook.settings import MailRules

MOST_ADDRESSES = 20
"""Of those that an entry names itself."""
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)", re.ASCII)


def listing(work: Work, experiment: str) -> list[Document]:
    """Return the subscriptions of an experiment, the oldest first."""
    s = t.log_subscription.c
    found = sa.select(s.uid, s.email_address, s.subscribed_time).where(s.experiment_name == experiment)
    return [
        {"_id": uid, "subscriber": uid, "email_address": address, "subscribed_time": write_time(at)}
        for uid, address, at in work.connection.execute(found.order_by(s.subscribed_time, s.uid))
    ]


def subscribe(work: Work, experiment: str) -> None:
    """Send entries to whoever asks from now on; asking again changes nothing.

    Raises
    ------
    RuleError
        The site sends no entries, or the person's name makes no address.
    """
    if work.settings.mail is None:
        raise RuleError("This site sends no entries by e-mail; its facility file says nothing of it")
    found = addresses([work.uid], work.settings.mail.address)
    if not found:
        message = f"The user name {work.uid:.80} makes no e-mail address"
        raise RuleError(message)
    row = {"experiment_name": experiment, "uid": work.uid, "email_address": found[0], "subscribed_time": work.now}
    work.connection.execute(insert(t.log_subscription).values(row).on_conflict_do_nothing())


def unsubscribe(work: Work, experiment: str) -> None:
    """Send nothing more to whoever asks; asking again changes nothing."""
    s = t.log_subscription
    work.connection.execute(sa.delete(s).where(s.c.experiment_name == experiment, s.c.uid == work.uid))


def entries_to_send(work: Work, *, since: datetime) -> list[Document]:
    """Return the entries written since a time that somebody gets by e-mail, each with its `recipients`.

    Those are the addresses that the entry names, in the domains that the site allows, and the people who had subscribed
    when it was written and may still read the experiment. Only experiments that whoever asks may read are told of.
    """
    rules = work.settings.mail
    if rules is None or work.principal is None:
        return []
    e, s = t.elog_entry.c, t.log_subscription.c
    wanted = sa.exists().where(s.experiment_name == e.experiment_name)
    statement = sa.select(e.experiment_name, e.id).where(
        e.insert_time >= since, e.deleted_time.is_(None), sa.or_(wanted, sa.func.cardinality(e.email_to) > 0)
    )
    readable = set(readable_experiments(work.connection, work.principal))
    found = []
    for experiment, entry_id in work.connection.execute(statement.order_by(e.insert_time, e.id)).all():
        if experiment in readable:
            entry = elog.one(work, experiment, entry_id)
            recipients = [*_named(entry, rules), *_subscribers(work, experiment, entry_id)]
            if recipients:
                found.append({**entry, "experiment": experiment, "recipients": list(dict.fromkeys(recipients))})
    return found


def _named(entry: Document, rules: MailRules) -> list[str]:
    matched = [(_ADDRESS.fullmatch(address), address) for address in entry.get("email_to", [])]
    allowed = [address for found, address in matched if found is not None and found[1].lower() in rules.domains]
    return allowed[:MOST_ADDRESSES]


def _subscribers(work: Work, experiment: str, entry_id: str) -> list[str]:
    s, e = t.log_subscription.c, t.elog_entry.c
    of_entry = sa.select(e.insert_time).where(e.id == entry_id).scalar_subquery()
    subscribed = sa.select(s.uid, s.email_address).where(s.experiment_name == experiment, s.subscribed_time <= of_entry)
    found = []
    for uid, address in work.connection.execute(subscribed.order_by(s.uid)).all():
        person = principal_named(work.connection, uid)
        if person is not None and "read" in experiment_and_privileges(work.connection, person, experiment)[1]:
            found.append(address)
    return found

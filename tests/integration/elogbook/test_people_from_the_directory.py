"""Importing the site's directory: people come and are corrected, nobody loses anything silently."""

from __future__ import annotations

from cryodaq.elogbook import accounts
from cryodaq.elogbook.directory_import import import_directory
from cryodaq.ports import DirectoryGroup, DirectoryPerson

from .conftest import Site, register

BOOK = "/lgbk/20261122-CS01/ws"


def person(uid: str, name: str, number: int) -> DirectoryPerson:
    return DirectoryPerson(uid=uid, full_name=name, uid_number=number)


def test_an_import_adds_and_corrects_and_says_who_is_gone(site: Site) -> None:
    engine = site.engine()
    people = [person("new1", "Nina New", 5020), person("pi1", "Paula Married", 5003)]
    groups = [DirectoryGroup(name="cryo-users", gid_number=7001, members=frozenset({"new1", "unknown"}))]
    with engine.begin() as connection:
        told = import_directory(connection, people=people, groups=groups)
    assert (told.added, told.changed, told.groups) == (1, 1, 1)
    assert "student1" in told.gone
    assert "pi1" not in told.gone
    with engine.begin() as connection:
        again = import_directory(connection, people=people, groups=groups)
        listed = {one.uid: one for one in accounts.list_users(connection)}
    assert (again.added, again.changed) == (0, 0)
    assert (listed["new1"].full_name, listed["new1"].roles, listed["new1"].tokens) == ("Nina New", (), 0)
    assert listed["admin"].roles == ("SiteAdmin",)
    with site.as_program("operator1") as operator:
        register(operator, "20261122-CS01")
        found = {one["uid"]: one for one in operator.get(f"{BOOK}/collaborators").json()["value"]}
        assert (found["uid:pi1"]["full_name"], found["uid:pi1"]["uidNumber"]) == ("Paula Married", "5003")
    with site.as_program("student1") as student:  # is in the group no more
        assert student.get(f"{BOOK}/info").status_code == 403

"""People and groups from LDAP entries and from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ldap3 import MOCK_SYNC, OFFLINE_SLAPD_2_4, Connection, Server

from cryodaq.directory.file import FileDirectory
from cryodaq.directory.ldap import LdapDirectory, LdapServer
from cryodaq.errors import DirectoryError
from cryodaq.ports import DirectoryGroup, DirectoryPerson

PEOPLE, GROUPS = "ou=People,dc=example,dc=org", "ou=Group,dc=example,dc=org"
SERVER = LdapServer(url="ldaps://directory.example.org", people_base=PEOPLE, groups_base=GROUPS)
PAULA = DirectoryPerson(uid="pi1", full_name="Paula Ñandú", uid_number=5003)


def connect() -> Connection:
    connection = Connection(
        Server("fake", get_info=OFFLINE_SLAPD_2_4), client_strategy=MOCK_SYNC, raise_exceptions=True
    )
    entries = {
        f"uid=pi1,{PEOPLE}": {"uid": "pi1", "cn": "Paula Ñandú", "uidNumber": 5003, "objectClass": "posixAccount"},
        f"uid=bare,{PEOPLE}": {"uid": "bare", "cn": "No Number", "objectClass": "person"},
        f"uid=odd,{PEOPLE}": {"uid": "o d/d", "cn": "Odd", "uidNumber": 5009, "objectClass": "posixAccount"},
        f"cn=users,{GROUPS}": {
            "cn": "users",
            "gidNumber": 7001,
            "memberUid": ["pi1", "x"],
            "objectClass": "posixGroup",
        },
        f"cn=empty,{GROUPS}": {"cn": "empty", "gidNumber": 7002, "objectClass": "posixGroup"},
    }
    for name, attributes in entries.items():
        connection.strategy.add_entry(name, attributes)
    connection.bind()
    return connection


def test_people_with_a_numeric_id_and_groups_with_their_members_are_found() -> None:
    directory = LdapDirectory(SERVER, connect)
    assert directory.people() == [PAULA]
    assert sorted(directory.groups(), key=lambda group: group.name) == [
        DirectoryGroup(name="empty", gid_number=7002, members=frozenset()),
        DirectoryGroup(name="users", gid_number=7001, members=frozenset({"pi1", "x"})),
    ]


def test_a_server_that_does_not_answer_is_said_to() -> None:
    def refuse() -> Connection:
        message = "no route to host"
        raise OSError(message)

    with pytest.raises(DirectoryError, match=r"directory\.example\.org does not answer.*no route to host"):
        LdapDirectory(SERVER, refuse).people()


def test_a_file_holds_the_same(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    content = {
        "people": [{"uid": "pi1", "full_name": "Paula Ñandú", "uid_number": 5003}],
        "groups": [{"name": "users", "gid_number": 7001, "members": ["pi1"]}],
    }
    path.write_text(json.dumps(content))
    directory = FileDirectory(path)
    assert directory.people() == [PAULA]
    assert directory.groups() == [DirectoryGroup(name="users", gid_number=7001, members=frozenset({"pi1"}))]


@pytest.mark.parametrize("text", ["", "[]", '{"people": [{"uid": "../x", "full_name": "", "uid_number": 1}]}'])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "people.json"
    path.write_text(text)
    with pytest.raises(DirectoryError):
        FileDirectory(path).people()

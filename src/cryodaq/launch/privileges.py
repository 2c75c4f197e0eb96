"""Run a child as an unprivileged user when started as root, without opening any folder's mode.

PostgreSQL refuses to run as root. Where the unprivileged user can enter every parent of the folders that it needs,
changing the user is enough; otherwise the child also gets the one capability that lets it pass closed folders
(`CAP_DAC_READ_SEARCH`, or `CAP_DAC_OVERRIDE` where a container lacks it), so that no parent is opened for others.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryodaq.errors import LaunchError

PASS_FOLDERS = (("dac_read_search", 2), ("dac_override", 1))
"""Capabilities that let a process pass closed folders, with their numbers in linux/capability.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildUser:
    """Whom a child runs as."""

    uid: int
    gid: int
    changed: bool
    """Whether that is another user than ours."""


def child_user(home: Path) -> ChildUser:
    """Return ourselves, or as root the owner of `home`, or else `nobody`."""
    if os.geteuid() != 0:
        return ChildUser(uid=os.geteuid(), gid=os.getegid(), changed=False)
    owner = home.stat()
    if owner.st_uid != 0:
        return ChildUser(uid=owner.st_uid, gid=owner.st_gid, changed=True)
    nobody = pwd.getpwnam("nobody")
    return ChildUser(uid=nobody.pw_uid, gid=nobody.pw_gid, changed=True)


def can_enter(folder: Path, user: ChildUser) -> bool:
    """Whether the user may pass through every folder down to and including `folder`."""
    for part in (folder, *folder.parents):
        status = part.stat()
        if status.st_uid == user.uid:
            needed = stat.S_IXUSR
        elif status.st_gid == user.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            return False
    return True


def _permitted_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def command_as(user: ChildUser, command: Sequence[str], *, folders: Sequence[Path]) -> list[str]:
    """Return the command that runs `command` as `user`, able to enter `folders`.

    Raises
    ------
    LaunchError
        The user cannot enter one of them and this process may not grant it.
    """
    if not user.changed:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        message = "setpriv is missing (Debian package util-linux): PostgreSQL cannot be started from root without it"
        raise LaunchError(message)
    drop = [setpriv, f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]
    closed = [folder for folder in folders if not can_enter(folder.resolve(), user)]
    if not closed:
        return [*drop, "--", *command]
    permitted = _permitted_capabilities()
    for name, number in PASS_FOLDERS:
        if permitted >> number & 1:
            return [*drop, f"--inh-caps=+{name}", f"--ambient-caps=+{name}", "--", *command]
    message = f"user {user.uid} cannot enter {closed[0]}; choose a --home that other users can pass through"
    raise LaunchError(message)

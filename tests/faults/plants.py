"""Errors put into the program on purpose, one at a time: the schedules must find each of them.

A plant replaces a piece of a module's text when it is imported.
The piece must be there exactly once, so a plant that the program outgrew says so.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True, slots=True)
class Plant:
    """One error."""

    what: str
    module: str
    before: str
    after: str
    also: tuple[str, str] | None = None
    """Another piece of the module and what it becomes: an error that two checks would prevent."""


PLANTS = {
    "no-fence": Plant(
        "a process whose lease was taken goes on",
        "cryodaq.ledger.leases",
        "if epoch != held.epoch:",
        "if epoch is None:",
    ),
    "no-check-before": Plant(
        "a source that changed since it was judged complete is copied",
        "cryodaq.transfer.copy",
        "!= (order.size_bytes, order.mtime_ns):",
        "== (-1, -1):",
    ),
    "no-check-after": Plant(
        "a source that changes while it is read is copied",
        "cryodaq.transfer.copy",
        "_check_unchanged(order, before, after)\n",
        "pass\n",
    ),
    "no-sync": Plant(
        "a copy gets its name before its bytes are on the disk",
        "cryodaq.transfer.copy",
        "        os.fsync(part)\n",
        "        os.fstat(part)\n",
    ),
    "no-folder-sync": Plant(
        "a copy is recorded before its name is on the disk",
        "cryodaq.transfer.copy",
        "    sync_folder(target.parent)\n    return True",
        "    return True",
    ),
    "rename-replaces": Plant(
        "a copy takes the name of another file",
        "cryodaq.transfer.copy",
        "        rename_without_replacing(part, target)\n",
        "        part.replace(target)\n",
    ),
    "removed-unverified": Plant(
        "a source goes before its copy was read again",
        "cryodaq.ledger.removals",
        'file.c.state == "verified", file.c.gone_at',
        'file.c.state.in_(("copied", "verified")), file.c.gone_at',
        also=(
            "for name in RemovableFile.__dataclass_fields__ if name in file.c)",
            (
                "for name in RemovableFile.__dataclass_fields__ if name in file.c and name != 'verified_at') + ("
                "func.coalesce(file.c.verified_at, file.c.copied_at).label('verified_at'),)"
            ),
        ),
    ),
    "removed-unread": Plant(
        "a copy is not compared when it is read again",
        "cryodaq.transfer.verify",
        "if found != xxh3_128:",
        "if found is None:",
    ),
    "removed-uncompared": Plant(
        "what lies aside is removed whatever it is",
        "cryodaq.transfer.remove",
        "        _check(waiting, expected)\n",
        "        waiting.stat()\n",
    ),
    "no-quiet-time": Plant(
        "a file is complete at its second look",
        "cryodaq.domain.completeness",
        "CAUTIOUS_QUIET_S = 10.0",
        "CAUTIOUS_QUIET_S = 0.0",
    ),
    "short-movies-pass": Plant(
        "a movie without its last frames is complete",
        "cryodaq.domain.completeness",
        "CompletenessState.SHORT if found < wanted else",
        "",
    ),
    "hash-of-the-buffer": Plant(
        "the hash is of what was asked for, not of what was read",
        "cryodaq.transfer.pour",
        "        digest.update(view[:count])\n        give",
        "        digest.update(view)\n        give",
    ),
    "owner-by-folder": Plant(
        "the folder says whose an exposure is, whatever is current",
        "cryodaq.domain.ownership",
        "    said = {poll.sample_id for poll in known}\n",
        "    said = {poll.sample_id for poll in known}\n"
        "    if len(folder_owners) == 1:\n"
        "        return Ownership(sample_id=next(iter(folder_owners)), decision=Decision.FOLDER)\n",
    ),
    "forgotten-names": Plant(
        "a copy that got its name before a crash is not known again",
        "cryodaq.app.transfer_window.copying",
        "            copy_names.intend_names(connection, [",
        "            len([",
    ),
    "kept-parts": Plant(
        "what a dead window left half stays",
        "cryodaq.app.transfer_window.copying",
        "        if folders:\n",
        "        if not folders:\n",
    ),
    "no-sentinel": Plant(
        "an unmounted share is an empty one",
        "cryodaq.transfer.beneath",
        "        if sentinel is not None:\n",
        "        if sentinel is None:\n",
    ),
    "gone-for-good": Plant(
        "a file that is back before its copy was verified is taken for gone",
        "cryodaq.app.transfer_window.session",
        "        if record.gone_at is None and (newest is None or newest.version <= record.version):\n",
        "        if newest is None or newest.version <= record.version:\n",
    ),
    "any-server": Plant(
        "another camera's share counts as the microscope's",
        "cryodaq.transfer.mounted",
        "    if expected is None or ",
        "    if expected or expected is None or ",
    ),
    "late-readers": Plant(
        "who lost access while a copy was on its way to others can read it there",
        "cryodaq.app.moving_copies",
        "        if not now.complete or now.changes != self._before.changes:\n",
        "        if now.changes < 0:\n",
    ),
    "repaired-blindly": Plant(
        "what lies on the share takes a damaged copy's place, whatever it is",
        "cryodaq.app.transfer_window.repairing",
        'if made["xxh3_128"] != record.xxh3_128:',
        'if made["xxh3_128"] is None:',
    ),
    "kept-readers": Plant(
        "whoever could read a copy can still do so when it is given to others",
        "cryodaq.store.access",
        "    write_access(file, _wanted(Acl(owner=6, group=4, others=0), readers,",
        "    write_access(file, _wanted(read_access(file), readers,",
    ),
    "epoch-kept": Plant(
        "who takes a lease that has run out gets the epoch of the one before, who may wake",
        "cryodaq.ledger.leases",
        'set_={**values, "epoch": lease.c.epoch + 1})',
        'set_={**values, "epoch": lease.c.epoch + int(previous is None or previous.expires_at > at)})',
    ),
    "settled-without-readers": Plant(
        "a copy that was named before a crash comes to others as it was",
        "cryodaq.app.transfer_window.settling",
        "            handover.grant(places)\n",
        "            pass\n",
    ),
    "readers-for-ever": Plant(
        "who left the elogbook's list can still read",
        "cryodaq.app.reconcile_access",
        "revoke=readers_of(plan.revoked) - always)",
        "revoke=NOBODY)",
        also=(
            "from cryodaq.store.access import AccessDifference, Readers",
            "from cryodaq.store.access import NOBODY, AccessDifference, Readers",
        ),
    ),
    "access-half-set": Plant(
        "access that a crash left half-way counts as it was before",
        "cryodaq.ledger.readers",
        "collaborators=[dict(person) for person in collaborators], access_applied_at=None, access_changes=change",
        "access_changes=change",
    ),
    "no-hot-folders": Plant(
        "a file that is rewritten in place is not seen",
        "cryodaq.transfer.scan",
        "if known.hot_until > now or relative in hot:",
        "if relative in hot and now < 0:",
    ),
}


def source_of(plant: Plant) -> Path:
    """Return the file that an error is put into."""
    return SOURCE.joinpath(*plant.module.split(".")).with_suffix(".py")


def planted(plant: Plant, path: Path) -> str:
    """Return a module's text with an error in it; end where the program has outgrown the plant."""
    text = path.read_text()
    for before, after in filter(None, [(plant.before, plant.after), plant.also]):
        if text.count(before) != 1:
            sys.exit(f"the plant does not fit {plant.module} any more: {before!r}")
        text = text.replace(before, after)
    return text


class _Planted(importlib.machinery.SourceFileLoader):
    def __init__(self, plant: Plant, path: str) -> None:
        super().__init__(plant.module, path)
        self._plant = plant

    def get_code(self, fullname: str) -> CodeType:
        return compile(planted(self._plant, Path(self.path)), self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._plant.module:
            return None
        path = source_of(self._plant)
        return importlib.machinery.ModuleSpec(fullname, _Planted(self._plant, str(path)), origin=str(path))


def sow(name: str) -> None:
    """Plant an error, before the program is imported."""
    plant = PLANTS[name]
    if plant.module in sys.modules:
        sys.exit(f"{plant.module} is imported already")
    sys.meta_path.insert(0, _Finder(plant))

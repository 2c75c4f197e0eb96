"""Keep the shape of a session: folders in which nothing lies are made beside the copies, once their owner is known."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cryodaq.app.transfer_window.session import Session
from cryodaq.domain.file_roles import acquisition_folder
from cryodaq.domain.names import safe_relative_path
from cryodaq.errors import TransferError, UnsafeNameError
from cryodaq.ledger import exposures
from cryodaq.transfer.workers import ShareWorker

log = logging.getLogger(__name__)
EVERY_S = 15.0
"""An empty folder mostly gets its first file in a moment."""


@dataclass(frozen=True, slots=True)
class _Order:
    base: str
    folders: list[str]


class EmptyFolderKeeper:
    """Makes an empty folder where what lies around it belongs to one sample; others wait until it does."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._empty: dict[str, frozenset[str]] = {}
        """By share."""
        self._made: set[tuple[str, str]] = set()
        """(base, folder)."""
        self._order: tuple[_Order, Future[dict[str, Any]]] | None = None
        self._due_s = session.clock() + EVERY_S

    def note(self, share: str, folders: Collection[str]) -> None:
        """Take in what a scan found."""
        self._empty[share] = frozenset(folders)

    def keep(self, worker: ShareWorker) -> None:
        """Make what is missing, some folders of one sample at a time."""
        self._collect()
        if self._order is not None or not worker.alive or self._session.clock() < self._due_s:
            return
        self._due_s = self._session.clock() + EVERY_S
        order = self._next()
        if order is not None:
            asked = worker.request("make_folders", base=order.base, folders=order.folders)
            self._order = (order, asked)

    def _next(self) -> _Order | None:
        empty = sorted({folder for folders in self._empty.values() for folder in folders if _is_safe(folder)})
        if not empty:
            return None
        tops = {PurePosixPath(folder).parts[0] for folder in empty}
        with self._session.transfer.engine.connect() as connection:
            owners = exposures.owners_below(connection, self._session.microscope, tops)
        wanted: dict[str, list[str]] = {}
        for folder in empty:
            found = _owners_around(PurePosixPath(folder), owners)
            owner = self._session.sample(next(iter(found))) if len(found) == 1 else None
            base = None if owner is None else self._session.transfer.raw_folder_of(owner)
            if base is not None and self._session.folder_is_ready(base) and (str(base), folder) not in self._made:
                wanted.setdefault(str(base), []).append(folder)
        return next((_Order(base, folders) for base, folders in wanted.items()), None)

    def _collect(self) -> None:
        if self._order is None or not self._order[1].done():
            return
        (order, future), self._order = self._order, None
        try:
            future.result()
        except TransferError as error:
            log.warning("empty folders were not made", extra={"base": order.base, "problem": str(error)})
            return
        self._made |= {(order.base, folder) for folder in order.folders}
        self._due_s = 0.0


def _owners_around(folder: PurePosixPath, owners: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return who owns what lies nearest: in the folder's session, else in the nearest folder above it."""
    session = owners.get(str(acquisition_folder(folder / "file")), frozenset())
    if session:
        return session
    for above in folder.parents[:-1]:  # not the share's root, which everybody shares
        inside = [found for path, found in owners.items() if PurePosixPath(path).is_relative_to(above)]
        if inside:
            return frozenset().union(*inside)
    return frozenset()


def _is_safe(folder: str) -> bool:
    try:
        safe_relative_path(folder)
    except UnsafeNameError:
        return False  # files of it could not be copied either, which is said
    return True

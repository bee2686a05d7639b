"""What wirt asks of a place where backups are kept. Synchronous, for threads: a place may be a server that has
gone.

Errors: ``NotFound``, ``CorruptState`` (something there is damaged, and what), ``Shortage`` (it is full; the
numbers are told), ``ResourceBusy`` (others are at work in it), ``Unavailable``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol, runtime_checkable

from wirt.plan.backup import Backup, DiskBackup
from wirt.ports.blocks import Blocks


class Stopped(Exception):
    """The work was told to stop, and has."""


@dataclass(slots=True)
class Work:
    """How long work is watched and held: ``stop`` ends it soon, ``tell`` is given the bytes that were done since
    it was told last, ``bytes_per_s`` bounds what is read from a guest."""

    stop: Event
    tell: Callable[[int], None]
    bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """``problems``: a sentence for each thing that is there and can't be read."""

    backups: tuple[Backup, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Swept:
    objects: int
    size: int


class BackupWriter(Protocol):
    """One backup that is being made. Nothing of it is to be seen until :meth:`publish` is through."""

    def take(
        self, vdev: str, format_: str, blocks: Blocks, work: Work, *, since: Backup | None = None
    ) -> DiskBackup:
        """All that ``blocks`` holds; with ``since``, ``blocks`` was opened for changes and tells what has changed
        since that backup."""
        ...

    def publish(self, backup: Backup) -> None: ...

    def close(self) -> None:
        """Let others at work that may not be done beside this."""
        ...


class BackupStore(Protocol):
    """``tag`` is the place's own short name, which checkpoints carry."""

    @property
    def path(self) -> str: ...

    @property
    def tag(self) -> str: ...

    def all(self) -> Listing:
        """The oldest first."""
        ...

    def find(self, backup: str) -> Backup: ...

    def write(self, backup: str) -> BackupWriter: ...

    def discard(self, backup: str) -> None:
        """What a writer left of a backup, published or not. Nothing there is no error."""
        ...

    def restore(self, backup: Backup, vdev: str, target: Blocks, work: Work) -> None:
        """Onto a disk that reads as zeroes; every byte's checksum is compared on the way."""
        ...

    def verify(self, backup: Backup, work: Work) -> int:
        """Compare all checksums; the bytes that were read."""
        ...

    def forget(self, backups: Collection[str]) -> None:
        """They are gone; their room comes back with :meth:`sweep`."""
        ...

    def sweep(self, work: Work) -> Swept:
        """Remove what no backup needs, and what writers left that did not live to end."""
        ...


@runtime_checkable
class KeepsFiles(Protocol):
    """A pool whose volumes are files, beside which a place for backups can be."""

    @property
    def directory(self) -> Path: ...


class BackupStores(Protocol):
    def open(self, path: str, *, make: bool = False) -> BackupStore:
        """``make``: an empty or missing directory becomes one."""
        ...

"""A domain as it was at an instant, and the tree that such instants make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from wirt.model.cpu import GivenCpu
from wirt.model.errors import BadInput
from wirt.model.memory import OLD_PADDING_KIB, GivenMemory

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class KeptDisk:
    """What a disk held: ``kept`` is the volume that holds it still, ``volume`` the one whose content it was, both
    as ``POOL/VOLUME``. ``layered``: the disk goes on in an image that stands on ``kept``; else ``kept`` depends on
    nothing. ``into``: the removal of the snapshot has begun to put the volume of that name into ``kept``, which is
    nothing to go back to any more. ``current``: it got so far that ``kept`` is what the disk is now, and only has
    no right name yet."""

    vdev: str
    volume: str
    kept: str
    layered: bool
    into: str | None = None
    current: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``parent`` is the snapshot that the domain's disks stood on when it was taken. ``text`` is the configuration
    of then. ``memory`` is the file with the guest's memory, if that was kept; ``paused``: the guest stood still.
    ``leaving``: its removal has begun, and there is no way back to it. ``cpu``: what the guest in ``memory``
    had, as far as that is known."""

    name: str
    created_at: float
    parent: str | None
    disks: tuple[KeptDisk, ...]
    text: str
    description: str = ""
    memory: str | None = None
    paused: bool = False
    leaving: bool = False
    padding_kib: int | None = None
    """Of the memory that was kept, as the next three; ``None`` where nobody wrote it down
    (:class:`~wirt.model.memory.GivenMemory`)."""
    memory_mib: int | None = None
    reporting: bool = False
    hotplug_mib: int = 0
    cpu: GivenCpu | None = None
    vcpus: int | None = None
    """That the guest in ``memory`` had, used or not; ``None``: as the configuration says."""

    @property
    def given(self) -> GivenMemory:
        padding_kib = OLD_PADDING_KIB if self.padding_kib is None else self.padding_kib
        return GivenMemory(self.memory_mib, padding_kib, self.reporting, self.hotplug_mib)


@dataclass(frozen=True, slots=True)
class SnapshotTree:
    """All snapshots of a domain. ``head`` is the one that its disks stand on now. ``left``: of removed
    snapshots, volumes on which more than one other stands, so that they can't go yet."""

    domain: UUID
    snapshots: tuple[Snapshot, ...] = ()
    head: str | None = None
    left: tuple[KeptDisk, ...] = ()
    revision: int = 0

    @property
    def unfinished(self) -> str | None:
        """A snapshot whose removal has begun and must end before anything else is done."""
        return next((each.name for each in self.snapshots if each.leaving), None)

    def get(self, name: str) -> Snapshot | None:
        return next((each for each in self.snapshots if each.name == name), None)

    def children(self, name: str | None) -> tuple[Snapshot, ...]:
        """Oldest first."""
        return tuple(each for each in self.snapshots if each.parent == name)

    def volumes(self) -> Iterator[str]:
        """All that only this tree has a use for."""
        yield from (disk.kept for disk in self.disks())

    def disks(self) -> Iterator[KeptDisk]:
        for each in self.snapshots:
            yield from each.disks
        yield from self.left

    def with_new(self, snapshot: Snapshot) -> SnapshotTree:
        return replace(self, snapshots=(*self.snapshots, snapshot), head=snapshot.name)

    def changed(self, snapshot: Snapshot) -> SnapshotTree:
        """With ``snapshot`` in the place of the one of its name."""
        return replace(
            self, snapshots=tuple(snapshot if each.name == snapshot.name else each for each in self.snapshots)
        )

    def without(self, name: str) -> SnapshotTree:
        """What grew from it grows from its parent."""
        gone = self.get(name)
        if gone is None:
            return self
        rest = tuple(
            replace(each, parent=gone.parent) if each.parent == name else each
            for each in self.snapshots
            if each.name != name
        )
        return replace(self, snapshots=rest, head=gone.parent if self.head == name else self.head)

    def at(self, name: str | None) -> SnapshotTree:
        """With the disks standing on the snapshot ``name`` now."""
        return replace(self, head=name)

    def with_left(self, name: str, disk: KeptDisk) -> SnapshotTree:
        """The disk of snapshot ``name`` is no snapshot's any more, but something stands on it."""
        tree = self.without_disk(name, disk.kept)
        return replace(tree, left=(*tree.left, disk))

    def without_disk(self, name: str, kept: str) -> SnapshotTree:
        """``kept`` is neither of the snapshot ``name`` any more, nor left."""

        def rest(disks: tuple[KeptDisk, ...]) -> tuple[KeptDisk, ...]:
            return tuple(each for each in disks if each.kept != kept)

        snapshots = tuple(
            replace(each, disks=rest(each.disks)) if each.name == name else each for each in self.snapshots
        )
        return replace(self, snapshots=snapshots, left=rest(self.left))

    def each_disk(self, kept: str, change: Callable[[KeptDisk], KeptDisk]) -> SnapshotTree:
        """With ``change`` made to whatever is about the volume ``kept``."""

        def changed(disks: tuple[KeptDisk, ...]) -> tuple[KeptDisk, ...]:
            return tuple(change(disk) if disk.kept == kept else disk for disk in disks)

        snapshots = tuple(replace(each, disks=changed(each.disks)) for each in self.snapshots)
        return replace(self, snapshots=snapshots, left=changed(self.left))


def check_snapshot_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} can't be the name of a snapshot",
            hint="1 to 40 letters, digits and _ . -, the first a letter or a digit",
        )

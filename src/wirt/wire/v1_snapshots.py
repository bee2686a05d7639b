"""The API's types of snapshots, version 1: fields are only added."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """``memory``: keep that too; the guest stands still meanwhile."""

    name: str
    memory: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotRevert:
    """``force``: end the domain's run first."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotDisk:
    """``kept`` is the volume that holds what ``volume``, the domain's, did then."""

    vdev: str
    volume: str
    kept: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``created_at`` in seconds since 1970. ``parent``: the snapshot that the disks stood on. ``current``: the
    disks stand on this one now. ``leaving``: its removal has begun; it must be called again if no job is at it."""

    name: str
    created_at: float
    parent: str | None
    memory: bool
    current: bool
    description: str = ""
    leaving: bool = False
    disks: list[SnapshotDisk] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SnapshotList:
    """Oldest first. ``left``: volumes of removed snapshots that others still stand on."""

    domain: str
    snapshots: list[Snapshot]
    left: list[str] = field(default_factory=list)
    api: str = VERSION

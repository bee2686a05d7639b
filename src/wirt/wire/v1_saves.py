"""The API's types of guests in files, version 1: fields are only added."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION, Notice


@dataclass(frozen=True, slots=True)
class Configuration:
    """An xl.cfg: ``file`` is its name for messages, relative paths in it start from ``cwd``."""

    text: str
    file: str
    cwd: str


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """``file`` is an absolute path on the host. ``running``, ``paused``: how the domain is left; by neither its
    run ends. ``force``: a file that is there is replaced, and a domain that goes on may write its disks.
    ``configuration`` is kept with it instead of the domain's own."""

    file: str
    running: bool = False
    paused: bool = False
    force: bool = False
    configuration: Configuration | None = None


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """``file`` is an absolute path on the host. ``paused``: leave it so. ``force``: also with disks that were
    written since. ``configuration`` is taken instead of the one in the file."""

    file: str
    paused: bool = False
    force: bool = False
    configuration: Configuration | None = None


@dataclass(frozen=True, slots=True)
class SavedDisk:
    """``target`` is what it would be here; ``size`` in bytes, as the guest saw it."""

    vdev: str
    target: str
    size: int
    writable: bool


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What would be done. ``known``: the domain is there, and off; else it is made. ``saved_at`` in seconds since
    1970, on ``host``. ``memory_bytes`` are in ``file_bytes``. ``doubts``: what speaks against it and was forced,
    ``remarks``: what is only to be known, a phrase each."""

    name: str
    uuid: str
    known: bool
    persistent: bool
    saved_at: float
    host: str
    hypervisor: str
    memory_mib: int
    memory_bytes: int
    file_bytes: int
    disks: list[SavedDisk]
    doubts: list[str]
    remarks: list[str]
    text: str
    notices: list[Notice] = field(default_factory=list)
    api: str = VERSION

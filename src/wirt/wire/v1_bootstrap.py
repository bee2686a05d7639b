"""The API's types of new systems, version 1. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class BootstrapRequest:
    """The words of ``wirt bootstrap``; relative paths start from ``cwd``. ``size`` in bytes, ``memory`` in MiB.
    ``key`` is a file of the host with the keys that packages are signed with. Empty words mean the default.
    ``force``: also over what is on a device or a volume that exists."""

    distribution: str
    into: str
    cwd: str
    name: str = ""
    size: int | None = None
    type: str = "pvh"
    release: str = ""
    mirror: str = ""
    key: str = ""
    unsigned: bool = False
    kernel: str = ""
    packages: list[str] = field(default_factory=list)
    console: str = "ttyS0"
    network: str = "dhcp"
    address: str = ""
    gateway: str = ""
    dns: list[str] = field(default_factory=list)
    user: str = ""
    ssh_keys: list[str] = field(default_factory=list)
    memory: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class BootstrapSlice:
    """A partition: ``start`` and ``size`` in bytes."""

    name: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class BootstrapFile:
    """``what``: ``config``, or of a guest that is entered directly ``kernel`` or ``initrd``."""

    what: str
    path: str


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """What would be done. ``files`` are written on the host beside the disk. ``partitions`` is empty where the
    file system takes the whole disk. ``config`` is the domain's xl.cfg."""

    name: str
    into: str
    size: int
    commands: list[list[str]]
    partitions: list[BootstrapSlice]
    files: list[BootstrapFile]
    config: str
    api: str = VERSION

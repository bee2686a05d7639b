"""The API's types of pools and volumes, version 1. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """``target``: a directory, a volume group, ``GROUP/THINPOOL``, or devices with commas between them.
    ``source``: ``SERVER:/EXPORT`` of an nfs pool."""

    name: str
    type: str = "dir"
    target: str = ""
    source: str | None = None
    options: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Sizes are in bytes, and ``None`` while the pool can't be reached: then ``problem`` says why. ``state``:
    ``ready``, ``unavailable`` or ``leaving``. ``promised`` is what its volumes may grow to."""

    name: str
    type: str
    target: str
    state: str
    source: str | None = None
    options: str = ""
    capabilities: list[str] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    capacity: int | None = None
    available: int | None = None
    allocated: int | None = None
    promised: int | None = None
    problem: str | None = None
    file_system: str | None = None
    abilities: list[str] = field(default_factory=list)
    """What the file system can do, of ``reflink``, ``direct`` and ``discard``; found out by trying."""


@dataclass(frozen=True, slots=True)
class PoolType:
    """``reason``: why this host has none, ``None`` if it can."""

    type: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PoolList:
    pools: list[Pool]
    types: list[PoolType]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class VolumeHolder:
    """Who has it open: a domain's name (or UUID, if it is another host's), or a job's ID."""

    host: str
    domain: str | None
    job: str | None
    writes: bool


@dataclass(frozen=True, slots=True)
class DiskChoice:
    """``what``: ``cache``, ``aio``, ``discard``, ``detect_zeroes`` or ``iothread``."""

    what: str
    choice: str
    reason: str


@dataclass(frozen=True, slots=True)
class Volume:
    """Sizes are in bytes. ``backing`` is the volume that it shares unchanged blocks with. ``domains`` have it
    among their disks, running or not."""

    pool: str
    name: str
    reference: str
    format: str
    size: int
    allocated: int
    path: str
    backing: str | None = None
    holders: list[VolumeHolder] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    engine: list[DiskChoice] = field(default_factory=list)
    """How it would be served as a disk whose entry says nothing of that. Only of one volume that is asked for."""


@dataclass(frozen=True, slots=True)
class VolumeList:
    volumes: list[Volume]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class PoolDetail:
    """``tidied``: what interrupted work had left and a refresh took away."""

    pool: Pool
    volumes: list[Volume]
    tidied: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """``size`` as in ``10G``. ``preallocation``: ``off``, ``metadata`` or ``full``."""

    size: str
    format: str | None = None
    preallocation: str = "off"


@dataclass(frozen=True, slots=True)
class VolumeResize:
    size: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class VolumeTarget:
    """``target`` is ``POOL/VOLUME``, for a clone the new volume's name. ``bytes_per_s`` as in ``10M``.
    ``overwrite``: the target is a device that exists, and all that is on it goes."""

    target: str
    format: str | None = None
    preallocation: str = "off"
    bytes_per_s: str | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """``file`` is an absolute path on the host. ``overwrite``, for an import, as for :class:`VolumeTarget`."""

    file: str
    format: str | None = None
    file_format: str | None = None
    overwrite: bool = False

"""Wire types of backups; as in :mod:`wirt.wire.v1`, fields are only ever added."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """``to`` is a pool of files or a directory, relative to ``cwd``. ``bytes_per_s`` as in ``10M``."""

    cwd: str = "/"
    to: str | None = None
    full: bool = False
    bytes_per_s: str | None = None


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """``source`` is a pool or a directory, relative to ``cwd``; without it any place that is known."""

    cwd: str = "/"
    source: str | None = None


@dataclass(frozen=True, slots=True)
class BackupRestore:
    """``disk`` alone, without a domain. ``replace``: the domain that it is of gets the disks."""

    cwd: str = "/"
    source: str | None = None
    name: str | None = None
    pool: str | None = None
    disk: str | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class BackupVerify:
    """``boot`` it too, with its disks in ``pool``, until its console shows ``expect`` (a regular expression)."""

    cwd: str = "/"
    source: str | None = None
    boot: bool = False
    pool: str | None = None
    expect: str | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class BackupKeep:
    """How many are kept of each domain; 0 says nothing. ``dry_run``: a ``BackupPrunePlan``, and nothing done."""

    cwd: str = "/"
    source: str | None = None
    domain: str | None = None
    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class BackupDisk:
    """Sizes are in bytes. ``moved`` was read from the guest, ``changed`` of it had changed, ``stored`` is what it
    took in the place."""

    vdev: str
    size: int
    format: str
    kind: str
    moved: int
    changed: int
    stored: int


@dataclass(frozen=True, slots=True)
class Backup:
    """``kind``: ``full`` or ``incremental``; of a full one ``reason`` says why. ``state`` was the domain's.
    ``consistency``: ``filesystem``, ``crash`` or ``off``, if that is known."""

    id: str
    domain: str
    uuid: str
    host: str
    created_at: float
    kind: str
    state: str
    path: str
    hypervisor: str
    parent: str | None = None
    reason: str = ""
    size: int = 0
    moved: int = 0
    stored: int = 0
    consistency: str | None = None


@dataclass(frozen=True, slots=True)
class BackupList:
    """The oldest first. ``problems``: what is there and can't be read."""

    backups: list[Backup]
    problems: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class BackupDetail:
    """``config`` is the domain's xl.cfg, without its passwords."""

    backup: Backup
    disks: list[BackupDisk]
    config: str
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class BackupPrunePlan:
    """``backups`` would be forgotten."""

    path: str
    backups: list[Backup]
    api: str = VERSION

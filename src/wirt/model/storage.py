"""Where disks live: storage pools, and the volumes in them. Sizes are in bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from wirt.model.devices import VOLUME_PREFIX, DiskFormat
from wirt.model.errors import BadInput

_SIZE = re.compile(r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,6})?) ?(?:(?P<unit>[KMGTkmgt])(?:iB)?)?")
_POOL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
_VOLUME_NAME = re.compile(r"(?!-)(?!\.{1,2}\Z)[A-Za-z0-9+_.-]{1,120}")
"""What LVM takes for the name of a logical volume (lvm(8), "VALID NAMES"), which files may have as well."""


class PoolType(StrEnum):
    """``dir``: files in a directory. ``block``: partitions and whole disks that exist. ``lvm``: a volume group.
    ``lvmthin``: a thin pool in one. ``nfs``: files on a server."""

    DIR = "dir"
    BLOCK = "block"
    LVM = "lvm"
    LVMTHIN = "lvmthin"
    NFS = "nfs"
    FAKE = "fake"


class Capability(StrEnum):
    """What a pool can do. ``grow``: make a volume larger, while it is in use. ``snapshot``: keep a volume as it is
    at an instant, as a volume of its own. ``layers``: have a new image take a volume's place that stands on it.
    ``clone``: a volume that shares what it has not changed with another. ``thin``: a volume takes
    only the room that was written. ``shared``: other hosts see the same volumes, so that a guest moves without
    its disks. ``create``: new volumes can be made at all. ``preallocate``: a new one can have all of its room from
    the beginning."""

    CREATE = "create"
    GROW = "grow"
    SNAPSHOT = "snapshot"
    LAYERS = "layers"
    CLONE = "clone"
    THIN = "thin"
    SHARED = "shared"
    PREALLOCATE = "preallocate"


class ImageFormat(StrEnum):
    """Of image files that are read or written as a whole: what disks can have, and what others' programs use."""

    RAW = "raw"
    QCOW2 = "qcow2"
    QCOW = "qcow"
    QED = "qed"
    VHD = "vhd"
    VHDX = "vhdx"
    VMDK = "vmdk"
    VDI = "vdi"


class Preallocation(StrEnum):
    """``off``: room is taken when it is written. ``metadata``: the tables of a qcow2 are laid out at once.
    ``full``: all of it is taken now, so that a guest never meets a full pool."""

    OFF = "off"
    METADATA = "metadata"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """``target`` is a directory, a volume group, ``GROUP/THINPOOL``, or a comma-separated list of devices;
    ``source`` is ``SERVER:/EXPORT`` of an nfs pool. ``options`` are the mount's (mount.nfs(8))."""

    name: str
    type: PoolType
    target: str
    source: str | None = None
    options: str = ""


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """``capacity`` is all that could be in it, ``available`` what can be taken now, ``allocated`` what its volumes
    have taken, ``promised`` what they may grow to."""

    capacity: int
    available: int
    allocated: int
    promised: int


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What a pool's files lie on, and what it can do for them. ``kind`` as mount(8) names it. ``reflink``: files
    share blocks, so that a raw volume is cloned at once. ``direct``: guests' disks pass by the host's memory.
    ``discard``: what a guest deletes is given back."""

    kind: str
    reflink: bool
    direct: bool
    discard: bool

    @property
    def abilities(self) -> tuple[str, ...]:
        able = {"reflink": self.reflink, "direct": self.direct, "discard": self.discard}
        return tuple(name for name, holds in able.items() if holds)


@dataclass(frozen=True, slots=True)
class Volume:
    """``size`` is what a guest sees, ``allocated`` the room it takes. ``path`` is a file or device of this host,
    or a URL that QEMU opens by itself (``nfs://``). ``backing`` is the volume of the same pool that it shares
    unchanged blocks with, which must stay as it is."""

    pool: str
    name: str
    format: DiskFormat
    size: int
    allocated: int
    path: str
    backing: str | None = None

    @property
    def reference(self) -> str:
        return f"{self.pool}/{self.name}"

    @property
    def device(self) -> bool:
        """Whether it is a block device of this host."""
        return self.path.startswith("/dev/")


@dataclass(frozen=True, slots=True)
class Image:
    """A file that is an image of ``format``, and no volume of a pool."""

    path: str
    format: ImageFormat


@dataclass(frozen=True, slots=True)
class VolumeRef:
    """``POOL/VOLUME``, as a person writes it."""

    pool: str
    volume: str

    @classmethod
    def parse(cls, text: str) -> VolumeRef:
        """``BadInput`` says what is wrong with it."""
        pool, slash, volume = text.removeprefix(VOLUME_PREFIX).partition("/")
        if not slash:
            raise BadInput(f"{text!r} names no volume", hint="as in default/web: a pool, a slash, a volume")
        check_pool_name(pool)
        check_volume_name(volume)
        return cls(pool, volume)

    def __str__(self) -> str:
        return f"{self.pool}/{self.volume}"

    @property
    def stored(self) -> str:
        """As a configuration that wirt has stored names it."""
        return f"{VOLUME_PREFIX}{self}"


@dataclass(frozen=True, slots=True)
class StoragePool:
    """The durable record of a pool. ``leaving``: it is being destroyed, and nothing new goes into it.
    ``created_by`` is the job that recorded it."""

    config: PoolConfig
    created_at: float = 0.0
    created_by: str = ""
    leaving: bool = False
    revision: int = 0

    @property
    def name(self) -> str:
        return self.config.name


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a volume open, or is about to: a domain (``domain`` is its UUID, ``epoch`` the one that it was
    started in) or a job (``job`` is its ID), on ``host``. While one writes nobody else has it, unless both say
    ``together``. A ``template`` has its own for good, so that nothing ever writes them."""

    host: str
    domain: str | None = None
    epoch: int = 0
    job: str | None = None
    writes: bool = True
    together: bool = False
    template: bool = False

    @property
    def who(self) -> str:
        return self.domain or f"job {self.job}"

    def clashes(self, other: Holder) -> bool:
        return self.who != other.who and (self.writes or other.writes) and not (self.together and other.together)


def parse_size(text: str) -> int:
    """Bytes, of ``10G``, ``1.5T``, ``512MiB`` or a plain number of them."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{text!r} is no size", hint="as in 10G: K, M, G and T are powers of 1024")
    return int(Decimal(match["number"]) * 1024 ** " KMGT".index((match["unit"] or " ").upper()))


def check_pool_name(name: str) -> None:
    if not _POOL_NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} can't be the name of a storage pool",
            hint="1 to 31 of a-z, 0-9, - and _, the first a letter or a digit",
        )


def check_volume_name(name: str) -> None:
    if not _VOLUME_NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} can't be the name of a volume",
            hint="1 to 120 letters, digits and + _ . -, the first no dash",
        )

"""Disks and network cards, as a configuration names them (xl-disk-configuration(5),
xl-network-configuration(5)). What a card or a disk becomes on a hypervisor is the plan's business."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from wirt.model.diskqos import UNLIMITED, DiskQos
from wirt.model.engine import Aio, CacheMode, DetectZeroes, IoThread

VOLUME_PREFIX = "pool:"
"""Before ``POOL/VOLUME`` in a configuration that wirt has stored: unmistakable for a path."""


class DiskFormat(StrEnum):
    RAW = "raw"
    QCOW = "qcow"
    QCOW2 = "qcow2"
    VHD = "vhd"
    QED = "qed"
    EMPTY = "empty"


class DiskBackend(StrEnum):
    """xl's ``backendtype``; wirt takes it as a wish and chooses by itself when it is absent."""

    PHY = "phy"
    TAP = "tap"
    QDISK = "qdisk"
    STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """One entry of ``disk = [...]``.

    ``target`` is a path, or ``None`` for an empty CD drive. ``vdev`` is the guest's name of the disk
    (``xvda``, ``hda``, ``sdb``, ``vda``), which also chooses the emulated controller of an hvm guest.
    """

    vdev: str
    target: str | None = None
    format: DiskFormat = DiskFormat.RAW
    writable: bool = True
    cdrom: bool = False
    backend: str = "0"
    backend_type: DiskBackend | None = None
    script: str | None = None
    removable: bool = False
    direct_io_safe: bool = False
    discard: bool = True
    trusted: bool = True
    grant_usage: bool | None = None
    colo: tuple[tuple[str, str], ...] = ()
    specification: str | None = None
    transport: str | None = None
    format_given: bool = field(default=False, compare=False)
    """Whether the entry names a format: that of a volume is known without."""
    discard_given: bool = field(default=False, compare=False)
    """Whether the entry says ``discard`` or ``no-discard``."""
    cache: CacheMode | None = None
    """This and the four below are wirt's own; ``None``: chosen by where the disk lies."""
    aio: Aio | None = None
    detect_zeroes: DetectZeroes | None = None
    iothread: IoThread | None = None
    queues: int | None = None
    qos: DiskQos = UNLIMITED

    @property
    def volume(self) -> str | None:
        """``POOL/VOLUME``, if the target is one."""
        if self.target is None or not self.target.startswith(VOLUME_PREFIX):
            return None
        return self.target.removeprefix(VOLUME_PREFIX)


class VifKind(StrEnum):
    """How a guest's card reaches the world. xl knows only bridges; the others are wirt's."""

    BRIDGE = "bridge"
    USER = "user"
    NONE = "none"


class NicType(StrEnum):
    IOEMU = "ioemu"
    VIF = "vif"


@dataclass(frozen=True, slots=True)
class PortForward:
    """``protocol:host_port:guest_port`` on the host's loopback; ``host_port`` 0 takes a free one.
    Needed only with user-mode networking: on a bridge the host reaches the guest anyway."""

    protocol: str
    guest_port: int
    host_port: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """xl's ``rate=``: an upper bound for what the guest sends, with the interval it is refilled in."""

    bytes_per_s: int
    interval_us: int = 50_000


@dataclass(frozen=True, slots=True)
class VifSpec:
    """One entry of ``vif = [...]``. ``None`` means: chosen by wirt when the domain is defined."""

    mac: str | None = None
    bridge: str | None = None
    kind: VifKind | None = None
    type: NicType | None = None
    model: str | None = None
    vifname: str | None = None
    script: str | None = None
    ip: tuple[str, ...] = ()
    gatewaydev: str | None = None
    backend: str = "0"
    rate: Rate | None = None
    mtu: int | None = None
    vlan: str | None = None
    devid: int | None = None
    accel: str | None = None
    trusted: bool = True
    forwards: tuple[PortForward, ...] = ()
    network: str | None = None
    """A network of wirt's (``wirt network create``) instead of a bridge's device."""
    rate_in: Rate | None = None
    """Of what is sent to the guest; ``rate`` is of what it sends."""
    groups: tuple[str, ...] = ()
    """Security groups; of none, everything may pass."""
    antispoof: bool = True


def devids(vifs: Sequence[VifSpec]) -> tuple[int, ...]:
    """The number of each card: its ``devid=``, or the lowest that is left, in the order of the list."""
    taken = {vif.devid for vif in vifs if vif.devid is not None}
    free = (number for number in itertools.count() if number not in taken)
    return tuple(next(free) if vif.devid is None else vif.devid for vif in vifs)

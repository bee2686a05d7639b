"""A machine as someone else's archive describes it: an OVF package, a Xen export, or a bare disk image.

Whatever is in here was said by whoever made the archive, so it is bounded, and plain where people read it. Sizes
are in bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from wirt.model.domain import Firmware
from wirt.model.storage import ImageFormat

VDEV = re.compile(r"hd[a-d]|xvd[a-z]")
MOST_DISKS = 64
MOST_CARDS = 64
MOST_LOST = 256
MOST_VCPUS = 4096
MOST_MEMORY_BYTES = 1 << 46
"""Beyond what any host has; what wirt itself takes is checked where a domain is made."""


class ApplianceKind(StrEnum):
    """``ova``: one archive with an OVF descriptor and its disks. ``ovf``: the descriptor, beside its files.
    ``xva``: an export of XenServer or XCP-ng. ``image``: nothing but a disk."""

    OVA = "ova"
    OVF = "ovf"
    XVA = "xva"
    IMAGE = "image"


class Controller(StrEnum):
    """What a disk hangs on in the machine that it comes from."""

    IDE = "ide"
    SATA = "sata"
    SCSI = "scsi"
    VIRTIO = "virtio"
    XEN = "xen"
    NVME = "nvme"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ApplianceDisk:
    """``label`` is what the archive calls it: a file's name, or ``Ref:8``. ``size`` is what the descriptor says a
    guest sees, ``None`` where only the image knows; ``stored`` the bytes that it takes in the archive. A disk
    without ``file`` is a new one that is empty. Of a CD drive, ``file`` is an image that lies in it. ``vdev``: the
    name that the archive gives the drive, if it is one that a guest of Xen's has (``hda``, ``xvdb``)."""

    label: str
    format: ImageFormat = ImageFormat.RAW
    size: int | None = None
    stored: int = 0
    controller: Controller = Controller.UNKNOWN
    cdrom: bool = False
    writable: bool = True
    file: str | None = None
    vdev: str = ""


@dataclass(frozen=True, slots=True)
class ApplianceCard:
    """``network`` is the name of what it was plugged into there; ``model`` in the archive's words."""

    network: str = ""
    mac: str | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Appliance:
    """It boots through firmware. ``vcpus`` and ``memory`` are ``None`` where nothing is said of them. ``lost``:
    what the archive has and this has no place for, a phrase each."""

    kind: ApplianceKind
    name: str = ""
    vcpus: int | None = None
    memory: int | None = None
    firmware: Firmware = Firmware.SEABIOS
    boot: str | None = None
    disks: tuple[ApplianceDisk, ...] = ()
    cards: tuple[ApplianceCard, ...] = ()
    lost: tuple[str, ...] = ()
    signed: bool = False
    """Whether checksums of its disks come with it."""

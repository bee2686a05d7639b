"""Version 1 of the API: machines that come from elsewhere, and go there. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """``file`` is an OVA, an OVF descriptor, an XVA or a disk image, as an absolute path on the host;
    ``format`` is the new volumes', ``file_format`` that of a bare image which is not to be guessed. ``memory``
    in MiB. ``bridges`` are those of the cards, in their order. ``machine``: which of several it is. Empty words
    mean: as the appliance says."""

    file: str
    name: str = ""
    pool: str = "default"
    format: str = ""
    file_format: str = ""
    bridges: list[str] = field(default_factory=list)
    memory: int | None = None
    vcpus: int | None = None
    machine: str = ""


@dataclass(frozen=True, slots=True)
class ImportDisk:
    """``label`` is what the appliance calls it, ``source_format`` what it is there; ``size`` in bytes."""

    label: str
    volume: str
    size: int
    format: str
    source_format: str


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What would be done. ``kind``: ova, ovf, xva or image. ``lost``: what can't be carried over, a phrase each.
    ``checked``: the disks come with checksums, which are compared. ``config`` is the domain's xl.cfg."""

    name: str
    kind: str
    disks: list[ImportDisk]
    lost: list[str]
    config: str
    checked: bool = False
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """``domain`` is a name, an ID or a UUID; ``file`` an absolute path on the host that ends in ``.ova``;
    ``format`` that of the disks in it, ``vmdk`` or ``qcow2``."""

    domain: str
    file: str
    format: str = "vmdk"


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What would be done. ``disks``: the files in the archive. ``lost``: what an OVF package has no words for."""

    name: str
    file: str
    disks: list[str]
    lost: list[str]
    api: str = VERSION

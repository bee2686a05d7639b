"""From someone else's machine to a domain of this host: its xl.cfg, its volumes, and what is lost on the way."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wirt.config.xlcfg.document import quote
from wirt.model.appliance import Appliance, ApplianceCard, ApplianceDisk, ApplianceKind, Controller
from wirt.model.devices import DiskFormat
from wirt.model.domain import Firmware
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat, VolumeRef
from wirt.model.text import plain
from wirt.model.units import GIB, MIB
from wirt.plan.launch import MOST_VCPUS

DEFAULT_MEMORY_MIB = 1024
MOST_NAME = 100
MOST_DISK_BYTES = 64 * 1024 * GIB
_EMULATED = 4
"""hda to hdd: what a guest finds without a driver of its own."""
_STRANGE = re.compile(r"[^A-Za-z0-9+_.-]+")
_MODELS = {
    "e1000": "e1000",
    "e1000e": "e1000e",
    "82540em": "e1000",
    "82545em": "e1000",
    "pcnet32": "pcnet",
    "pcnet": "pcnet",
    "vmxnet3": "vmxnet3",
    "virtio": "virtio",
    "virtio-net": "virtio",
    "virtio-net-pci": "virtio",
    "rtl8139": "rtl8139",
    "ne2k_pci": "ne2k_pci",
}
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class ImportWish:
    """What a person asks for. ``format`` is the new volumes', ``bridges`` are those of the cards in their order,
    ``memory`` is in MiB. What is ``None`` or empty follows from the appliance."""

    name: str = ""
    pool: str = "default"
    format: DiskFormat | None = None
    bridges: tuple[str, ...] = ()
    memory: int | None = None
    vcpus: int | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """What there is on this host: ``networks`` of wirt's by name, ``macs`` that its domains' cards have, the
    ``format`` that volumes of the pool get."""

    networks: Collection[str]
    macs: Collection[str]
    format: DiskFormat


@dataclass(frozen=True, slots=True)
class NewDisk:
    """A volume that is made, and filled from the disk ``source`` of the appliance, by its place; an empty one from
    none. Sizes are in bytes."""

    volume: VolumeRef
    size: int
    format: DiskFormat
    label: str
    source: int | None
    source_format: ImageFormat


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """``lost``: what can't be carried over, a phrase each."""

    name: str
    config: str
    disks: tuple[NewDisk, ...]
    lost: tuple[str, ...]


def plan_import(appliance: Appliance, wish: ImportWish, here: Here) -> ImportPlan:
    """``BadInput`` if nothing can be made of it."""
    lost = list(appliance.lost)
    name = wish.name or _name(appliance.name, lost)
    entries, disks = _disks(appliance, wish, here, name, lost)
    lines = [
        f"name    = {quote(name)}",
        'type    = "hvm"',
        f"memory  = {_memory(appliance, wish)}",
        f"vcpus   = {_vcpus(appliance, wish)}",
    ]
    if appliance.firmware is Firmware.OVMF:
        lines.append('firmware = "uefi"')
    if appliance.boot is not None:
        lines.append(f"boot    = {quote(appliance.boot)}")
    lines.append(_list("disk", entries))
    lines.append(_list("vif", _cards(appliance, wish, here, lost)))
    return ImportPlan(name, "".join(f"{line}\n" for line in lines), tuple(disks), tuple(dict.fromkeys(lost)))


def _list(key: str, entries: list[str]) -> str:
    inner = "".join(f"    {quote(each)},\n" for each in entries)
    return f"{key:<7} = [\n{inner}]" if entries else f"{key:<7} = [ ]"


def _name(said: str, lost: list[str]) -> str:
    name = _STRANGE.sub("-", said)[:MOST_NAME].strip("-.")
    if not name:
        raise BadInput("the appliance has no name that a domain could have", hint="--name NAME")
    if name.isdigit() or name == "Domain-0":
        name = f"imported-{name}"
    if name != said:
        lost.append(f"its name {plain(said, 100)!r}: it is called {name} here")
    return name


def _memory(appliance: Appliance, wish: ImportWish) -> int:
    if wish.memory is not None:
        if not 0 < wish.memory < 1 << 30:
            raise BadInput(f"{wish.memory} MiB is no size of a memory", hint="--memory 1024")
        return wish.memory
    return DEFAULT_MEMORY_MIB if appliance.memory is None else -(-appliance.memory // MIB)


def _vcpus(appliance: Appliance, wish: ImportWish) -> int:
    number = wish.vcpus if wish.vcpus is not None else appliance.vcpus or 1
    if not 0 < number <= MOST_VCPUS:
        raise BadInput(f"{number} CPUs are wanted; a domain has 1 to {MOST_VCPUS}", hint="--vcpus NUMBER")
    return number


def _disks(
    appliance: Appliance, wish: ImportWish, here: Here, name: str, lost: list[str]
) -> tuple[list[str], list[NewDisk]]:
    entries: list[str] = []
    disks: list[NewDisk] = []
    names = _given(appliance.disks)
    for number, disk in enumerate(appliance.disks):
        if disk.cdrom and not names[number] and len(entries) >= _EMULATED:
            lost.append(f"the CD drive {disk.label}: there are {_EMULATED} emulated drives")
            continue
        vdev = names[number] or _vdev(disk, len(entries), lost)
        if disk.cdrom and disk.file is None:
            entries.append(f",,{vdev},cdrom")
            continue
        volume = VolumeRef(wish.pool, name if not disks else f"{name}-{len(disks)}")
        size = _size(disk)
        source = number if disk.file is not None else None
        disks.append(NewDisk(volume, size, here.format, disk.label, source, disk.format))
        access = "devtype=cdrom" if disk.cdrom else f"access={'rw' if disk.writable else 'ro'}"
        entries.append(f"vdev={vdev},{access},target={volume.stored}")
    if not disks:
        raise BadInput("the appliance has no disk")
    return entries, disks


def _size(disk: ApplianceDisk) -> int:
    size = disk.size or 0
    if not 0 < size <= MOST_DISK_BYTES:
        raise BadInput(f"the disk {disk.label} has {size} bytes; a disk has 1 to {MOST_DISK_BYTES}")
    return -(-size // _SECTOR) * _SECTOR


def _vdev(disk: ApplianceDisk, place: int, lost: list[str]) -> str:
    """Emulated while there are such, for a guest may have no other driver; those of virtio stay what they are."""
    letters = _letters(place)
    if disk.cdrom:
        return f"hd{letters}"
    if disk.controller is Controller.VIRTIO:
        return f"xvd{letters}"
    if place >= _EMULATED or not disk.writable:
        why = "it can only be read" if not disk.writable else f"there are {_EMULATED} emulated drives"
        lost.append(f"the controller of the disk {disk.label}: {why}, so it is paravirtual")
        return f"xvd{letters}"
    return f"hd{letters}"


def _given(disks: Sequence[ApplianceDisk]) -> list[str]:
    """The names that the archive gives its drives, if each has one of its own that fits it; else none."""
    names = [disk.vdev for disk in disks]
    places = {name[-1] for name in names if name}
    fit = all(disk.vdev.startswith("hd") for disk in disks if disk.cdrom)
    fit = fit and all(disk.writable or disk.cdrom or disk.vdev.startswith("xvd") for disk in disks)
    return names if fit and len(places) == len(names) else [""] * len(names)


def _letters(place: int) -> str:
    """0 is a, 25 z, 26 aa."""
    letters = ""
    while place >= 0:
        letters = chr(ord("a") + place % 26) + letters
        place = place // 26 - 1
    return letters


def _cards(appliance: Appliance, wish: ImportWish, here: Here, lost: list[str]) -> list[str]:
    if len(wish.bridges) > len(appliance.cards) > 0:
        raise BadInput(f"{len(wish.bridges)} bridges are given, and it has {len(appliance.cards)} network cards")
    known = appliance.cards
    if appliance.kind is ApplianceKind.IMAGE:  # which says nothing of cards
        known = tuple(ApplianceCard() for _ in wish.bridges or ("",))
    taken = {mac.lower() for mac in here.macs}
    return [_card(card, number, wish, here, taken, lost) for number, card in enumerate(known)]


def _card(card: ApplianceCard, number: int, wish: ImportWish, here: Here, taken: set[str], lost: list[str]) -> str:
    parts: list[str] = []
    if card.mac is not None:
        if int(card.mac[:2], 16) & 1 or card.mac == "00:00:00:00:00:00":
            lost.append(f"the address {card.mac} of card {number}, which no single card can have")
        elif card.mac in taken:
            lost.append(f"the address {card.mac} of card {number}: another card here has it")
        else:
            taken.add(card.mac)
            parts.append(f"mac={card.mac}")
    model = _MODELS.get(card.model.lower())
    if model is not None:
        parts.append(f"model={model}")
    elif card.model:
        lost.append(f"the model {card.model} of card {number}: it is another here")
    if number < len(wish.bridges):
        parts.append(f"bridge={_bridge(wish.bridges[number])}")
    elif card.network in here.networks:
        parts.append(f"network={card.network}")
    elif card.network:
        lost.append(
            f"the network {card.network!r} of card {number}, which is not here: it is where cards are by default"
        )
    return ",".join(parts)


def _bridge(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:@-]{1,15}", name):
        raise BadInput(f"{plain(name, 40)!r} is no name of a bridge", hint="--bridge br0")
    return name

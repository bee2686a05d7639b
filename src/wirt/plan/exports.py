"""From a domain to a machine that others can read: what an OVF package has words for, and what it has none for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from wirt.config.xlcfg.syntax import parse
from wirt.model.appliance import (
    VDEV,
    Appliance,
    ApplianceCard,
    ApplianceDisk,
    ApplianceKind,
    Controller,
)
from wirt.model.devices import DiskSpec, NicType, VifSpec
from wirt.model.domain import Domain, DomainConfig, GuestType
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.text import plain
from wirt.model.units import MIB

DEFAULT_NETWORK = "default"
_KEYS = {"name", "uuid", "memory", "vcpus", "disk", "vif", "firmware", "bios", "type", "builder"}
"""Of xl.cfg, that an OVF package has words for, or that mean nothing elsewhere."""
_CARD = {"mac", "bridge", "network", "model", "kind", "type"}
_DISK = {"vdev", "target", "format", "format_given", "cdrom", "writable"}
_MODELS = {
    "e1000": "E1000",
    "e1000e": "E1000e",
    "vmxnet3": "VmxNet3",
    "pcnet": "PCNet32",
    "virtio": "virtio",
    "virtio-net": "virtio",
    "virtio-net-pci": "virtio",
    "rtl8139": "rtl8139",
    "ne2k_pci": "ne2k_pci",
}


@dataclass(frozen=True, slots=True)
class ExportDisk:
    """A disk that is written, by its place among the domain's; ``file`` is its name in the archive."""

    place: int
    file: str


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """``machine`` lacks the sizes of its disks, which are known when they are written."""

    machine: Appliance
    disks: tuple[ExportDisk, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        return self.machine.lost


def plan_export(domain: Domain, macs: Sequence[str], form: ImageFormat) -> ExportPlan:
    """``macs``: what each card's address is, said or not. ``BadInput`` if it has no disk."""
    config = domain.config
    lost = [*_lost_keys(domain), *_lost_disks(config), *_lost_cards(config)]
    written: list[ExportDisk] = []
    disks: list[ApplianceDisk] = []
    for place, disk in enumerate(config.disks):
        file = None
        if not disk.cdrom:
            file = f"{domain.name}-disk{len(written) + 1}.{form}"
            written.append(ExportDisk(place, file))
        disks.append(_disk(disk, config, form, file))
    if not written:
        raise BadInput(f"domain {domain.name} has no disk that could be exported")
    machine = Appliance(
        kind=ApplianceKind.OVA,
        name=domain.name,
        vcpus=config.vcpus,
        memory=config.memory_mib * MIB,
        firmware=config.firmware,
        disks=tuple(disks),
        cards=tuple(_card(vif, mac, config) for vif, mac in zip(config.vifs, macs, strict=True)),
        lost=tuple(dict.fromkeys(lost)),
        signed=True,
    )
    return ExportPlan(machine, tuple(written))


def with_sizes(machine: Appliance, sizes: Sequence[tuple[int, int]]) -> Appliance:
    """``sizes``: what a guest sees of each disk with a file, and what the file takes, in bytes."""
    left = iter(sizes)
    disks: list[ApplianceDisk] = []
    for disk in machine.disks:
        if disk.file is None:
            disks.append(disk)
            continue
        size, stored = next(left)
        disks.append(replace(disk, size=size, stored=stored))
    return replace(machine, disks=tuple(disks))


def _disk(disk: DiskSpec, config: DomainConfig, form: ImageFormat, file: str | None) -> ApplianceDisk:
    emulated = disk.cdrom or (config.type is GuestType.HVM and disk.vdev.startswith(("hd", "sd")))
    return ApplianceDisk(
        label=file or disk.vdev,
        format=form,
        controller=Controller.SATA if emulated else Controller.VIRTIO,
        cdrom=disk.cdrom,
        writable=not disk.cdrom,
        file=file,
        vdev=disk.vdev if VDEV.fullmatch(disk.vdev) else "",
    )


def _card(vif: VifSpec, mac: str, config: DomainConfig) -> ApplianceCard:
    network = vif.network or vif.bridge or DEFAULT_NETWORK
    emulated = config.type is GuestType.HVM and vif.type is not NicType.VIF
    model = vif.model or ("e1000" if emulated else "virtio")
    return ApplianceCard(network, mac, _MODELS.get(model, "E1000"))


def _lost_keys(domain: Domain) -> Iterator[str]:
    """Whatever its xl.cfg says beyond what is carried over, unless it is what goes without saying."""
    config, plain_one = domain.config, DomainConfig("", GuestType.HVM, 0)
    if config.type is not GuestType.HVM:
        yield f"that it is {config.type}: elsewhere its firmware has to find a boot loader on its disk"
    if config.firmware_path is not None:
        yield f"its own firmware ({config.firmware_path})"
    for assignment in parse(domain.text, file=domain.name).assignments:
        key = assignment.key
        said: Any = getattr(config, key, None)
        if key not in _KEYS and (said is None or said != getattr(plain_one, key, None)):
            yield f"its {key}{'' if said is None else f' ({plain(said, 80)})'}"


def _lost_disks(config: DomainConfig) -> Iterator[str]:
    for disk in config.disks:
        if disk.cdrom and disk.target is not None:
            yield f"what lies in the CD drive {disk.vdev} ({plain(disk.target, 80)}): it is empty there"
        if not disk.writable and not disk.cdrom:
            yield f"that {disk.vdev} can't be written"
        if not VDEV.fullmatch(disk.vdev):
            yield f"the name {disk.vdev} of a disk"
        for name in _unlike(disk, DiskSpec(disk.vdev), _DISK | ({"removable"} if disk.cdrom else set())):
            yield f"{name} of the disk {disk.vdev}"


def _lost_cards(config: DomainConfig) -> Iterator[str]:
    for number, vif in enumerate(config.vifs):
        for name in _unlike(vif, VifSpec(), _CARD):
            yield f"{name} of card {number}"


def _unlike(one: Any, other: Any, left_out: set[str]) -> list[str]:
    names = (field.name for field in fields(one) if field.name not in left_out)
    return [name for name in names if getattr(one, name) != getattr(other, name)]

"""The virtual hardware of an OVF system: the items of CIM_ResourceAllocationSettingData (DSP0004, DSP1041; OVF
2 has elements of their own for disks and cards)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from wirt.config.markup import Element
from wirt.config.ovf.lost import Lost
from wirt.config.ovf.units import amount, number
from wirt.model.appliance import (
    MOST_CARDS,
    MOST_DISKS,
    MOST_MEMORY_BYTES,
    MOST_VCPUS,
    VDEV,
    ApplianceCard,
    ApplianceDisk,
    Controller,
)
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.text import plain

_PROCESSOR, _MEMORY, _IDE, _SCSI, _ETHERNET = "3", "4", "5", "6", "10"
_FLOPPY, _CD, _DVD, _DISK, _OTHER_STORAGE, _LOGICAL_DISK = "14", "15", "16", "17", "20", "31"
_NAMES = {
    "1": "a device of another kind",
    "7": "a Fibre Channel adapter",
    "8": "an iSCSI adapter",
    "9": "an InfiniBand adapter",
    "11": "a network card of another kind",
    "12": "an I/O slot",
    "13": "an I/O device",
    _FLOPPY: "a floppy drive",
    "18": "a tape drive",
    "19": "a storage extent",
    "21": "a serial port",
    "22": "a parallel port",
    "23": "a USB controller",
    "24": "a graphics card",
    "25": "a FireWire controller",
    "35": "a sound card",
}
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}[:-]?){5}[0-9a-fA-F]{2}")
_CIM = "/wbem/wscim/"
"""In the names of all namespaces that an item's own words are from."""
MOST_ITEMS = 1024


@dataclass(frozen=True, slots=True)
class Disks:
    """``files`` are names by ID with their ``sizes`` in bytes, ``by_id`` the disks of the disk section."""

    files: dict[str, str]
    sizes: dict[str, int]
    by_id: dict[str, ApplianceDisk]


@dataclass(slots=True)
class Hardware:
    vcpus: int | None = None
    memory: int | None = None
    firmware: str = ""
    disks: list[ApplianceDisk] = field(default_factory=list)
    cards: list[ApplianceCard] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Item:
    """``type`` and ``subtype`` are the resource's."""

    type: str
    subtype: str
    id: str
    parent: str
    element: Element
    name: str

    def words(self, name: str) -> str:
        return self.element.words(name)


def read_hardware(system: Element, disks: Disks, option: str, what: str, lost: Lost) -> Hardware:
    """``option``: the ID of the size that is taken, where there is a choice of them."""
    sections = list(system.all("VirtualHardwareSection"))
    if not sections:
        raise BadInput(f"{what} says nothing of its system's hardware")
    for other in sections[1:]:
        inner = other.one("System")
        words = "" if inner is None else inner.words("VirtualSystemType")
        lost.add(f"a second description of its hardware ({words})")
    hardware, items = Hardware(), _items(sections[0], option, what, lost)
    controllers = {each.id: _controller(each) for each in items if each.type in (_IDE, _SCSI, _OTHER_STORAGE)}
    used: set[str] = set()
    for item in items:
        if item.type in (_CD, _DVD, _DISK, _LOGICAL_DISK):
            hardware.disks.append(_drive(item, disks, controllers, what, lost))
            used |= {item.words("HostResource").rpartition("/")[2]}
    for item in items:
        _take(item, hardware, what, lost)
    if len(hardware.disks) > MOST_DISKS or len(hardware.cards) > MOST_CARDS:
        raise BadInput(f"{what} has more than {MOST_DISKS} drives or {MOST_CARDS} cards")
    for identity in sorted(set(disks.by_id) - used):
        lost.add(f"the disk {disks.by_id[identity].label}, which is in no drive")
    _settings(sections[0], hardware, lost)
    return hardware


def _items(section: Element, option: str, what: str, lost: Lost) -> list[_Item]:
    found: list[_Item] = []
    for each in section.children:
        if each.name not in ("Item", "StorageItem", "EthernetPortItem"):
            continue
        if each.attribute("bound"):  # a limit or a reservation of an item beside it (DSP0243, 8.4)
            lost.add(f"a limit of its {each.words('ElementName') or 'resources'} ({each.attribute('bound')})")
            continue
        wanted = each.attribute("configuration").split()
        if wanted and option not in wanted:
            continue
        for child in each.children:
            if child.space and _CIM not in child.space:
                lost.add(f"the setting {child.attribute('key') or child.name} of its maker's")
        if len(found) >= MOST_ITEMS:
            raise BadInput(f"{what} has more than {MOST_ITEMS} pieces of hardware")
        found.append(
            _Item(
                type=each.words("ResourceType"),
                subtype=each.words("ResourceSubType"),
                id=each.words("InstanceID"),
                parent=each.words("Parent"),
                element=each,
                name=each.words("ElementName") or each.words("Description") or each.words("Caption"),
            )
        )
    return found


def _controller(item: _Item) -> Controller:
    words = f"{item.subtype} {item.name}".lower()
    if "virtio" in words:
        return Controller.VIRTIO
    if item.type == _IDE:
        return Controller.IDE
    if item.type == _SCSI:
        return Controller.SCSI
    if "nvme" in words:
        return Controller.NVME
    return Controller.SATA if "sata" in words or "ahci" in words else Controller.UNKNOWN


def _take(item: _Item, hardware: Hardware, what: str, lost: Lost) -> None:
    """What is no drive."""
    quantity = item.words("VirtualQuantity")
    if item.type == _PROCESSOR:
        hardware.vcpus = number(quantity or "1", f"the number of CPUs of {what}", MOST_VCPUS)
        _told(item, "Reservation", "a reservation of CPUs", lost)
    elif item.type == _MEMORY:
        unit = item.words("AllocationUnits")
        hardware.memory = amount(quantity, unit, f"the memory of {what}", MOST_MEMORY_BYTES, default_power=20)
        _told(item, "Reservation", "a reservation of memory", lost)
    elif item.type == _ETHERNET:
        hardware.cards.append(_card(item, what, lost))
    elif item.type in (_SCSI, _OTHER_STORAGE):
        if _controller(item) not in (Controller.VIRTIO, Controller.SATA):
            lost.add(f"the controller {item.subtype or item.name or item.id}: its disks get another")
    elif item.type not in (_IDE, _CD, _DVD, _DISK, _LOGICAL_DISK):
        kind = _NAMES.get(item.type, f"a resource of the unknown type {item.type or 'of none'}")
        lost.add(f"{kind}{f' ({item.name})' if item.name else ''}")


def _told(item: _Item, name: str, what: str, lost: Lost) -> None:
    if item.words(name) not in ("", "0"):
        lost.add(f"{what} ({item.words(name)})")


def _card(item: _Item, what: str, lost: Lost) -> ApplianceCard:
    address = item.words("Address")
    mac = None
    if address and _MAC.fullmatch(address):
        digits = address.replace(":", "").replace("-", "").lower()
        mac = ":".join(digits[place : place + 2] for place in range(0, 12, 2))
    elif address:
        lost.add(f"the address {address} of a network card, which is none")
    networks = [each.text.strip() for each in item.element.all("Connection")]
    if len(networks) > 1:
        lost.add(f"the connection of {item.name or 'a card'} to a second network ({networks[1]})")
    return ApplianceCard(plain(networks[0], 100) if networks else "", mac, plain(item.subtype, 40))


def _drive(item: _Item, disks: Disks, controllers: dict[str, Controller], what: str, lost: Lost) -> ApplianceDisk:
    resource, optical = item.words("HostResource"), item.type in (_CD, _DVD)
    controller = controllers.get(item.parent, Controller.UNKNOWN)
    vdev = item.name if VDEV.fullmatch(item.name) else ""
    empty = ApplianceDisk(
        plain(item.name, 60) or "CD drive", controller=controller, cdrom=True, writable=False, vdev=vdev
    )
    if not resource:
        if not optical:
            raise BadInput(f"{what} has a disk drive {plain(item.name, 60)!r} that holds no disk")
        return empty
    identity = resource.rpartition("/")[2]
    if resource.removeprefix("ovf:").startswith("/file/") and identity in disks.files:
        name = disks.files[identity]
        disk = ApplianceDisk(name, ImageFormat.RAW, None, disks.sizes.get(identity, 0), file=name)
    elif resource.removeprefix("ovf:").startswith("/disk/") and identity in disks.by_id:
        disk = disks.by_id[identity]
    elif optical:
        lost.add(f"what lies in {item.name or 'a CD drive'} ({resource})")
        return empty
    else:
        raise BadInput(f"{what} has a drive with {plain(resource, 80)!r}, which it does not describe")
    return replace(disk, controller=controller, cdrom=optical, writable=not optical, vdev=vdev)


def _settings(section: Element, hardware: Hardware, lost: Lost) -> None:
    """Extensions that VMware's products write beside the hardware."""
    for each in section.children:
        if each.name in ("Item", "StorageItem", "EthernetPortItem", "Info", "System"):
            continue
        if each.name == "Config" and each.attribute("key") == "firmware":
            hardware.firmware = each.attribute("value")
        elif each.name in ("Config", "ExtraConfig"):
            lost.add(f"the setting {each.attribute('key')} of its maker's")
        else:
            lost.add(f"an extension {each.name} of the hardware's description")

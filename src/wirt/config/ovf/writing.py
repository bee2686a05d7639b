"""An :class:`Appliance` as an OVF 1.1 descriptor (DSP0243 1.1.0), in the words that VMware's and VirtualBox's
readers know."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from wirt.model.appliance import Appliance, ApplianceCard, ApplianceDisk, Controller
from wirt.model.domain import Firmware
from wirt.model.storage import ImageFormat
from wirt.model.units import MIB

_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
_FORMATS = {
    ImageFormat.VMDK: "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized",
    ImageFormat.QCOW2: "http://www.gnome.org/~markmc/qcow-image-format.html",
}
FORMATS = tuple(_FORMATS)
_CONTROLLERS = {
    Controller.SATA: ("20", "AHCI", "SATA Controller"),
    Controller.VIRTIO: ("20", "VirtioSCSI", "virtio"),
}
_FIRST_CONTROLLER, _FIRST_DRIVE, _FIRST_CARD = 3, 10, 200
_FAMILY = "vmx-13"
"""Of virtual hardware: one that readers of all makers take."""

_Words = list[tuple[str, str]]


def write(machine: Appliance) -> str:
    """``memory`` and ``vcpus`` are known; a disk's controller is ``SATA`` or ``VIRTIO``. What ``lost`` names is
    not in it."""
    return "".join(f"{line}\n" for line in _lines(machine))


def _lines(machine: Appliance) -> Iterator[str]:
    files = [disk for disk in machine.disks if disk.file is not None]
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"'
    yield '          xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"'
    yield f'          xmlns:rasd="{_CIM}/CIM_ResourceAllocationSettingData"'
    yield f'          xmlns:vssd="{_CIM}/CIM_VirtualSystemSettingData"'
    yield '          xmlns:vmw="http://www.vmware.com/schema/ovf">'
    yield "  <References>"
    for number, disk in enumerate(files):
        yield f'    <File ovf:id="file{number}" ovf:href={quoteattr(str(disk.file))} ovf:size="{disk.stored}"/>'
    yield "  </References>"
    yield "  <DiskSection>"
    yield "    <Info>Virtual disks</Info>"
    for number, disk in enumerate(files):
        yield (
            f'    <Disk ovf:diskId="disk{number}" ovf:capacity="{disk.size}" ovf:capacityAllocationUnits="byte"'
            f' ovf:fileRef="file{number}" ovf:format="{_FORMATS[disk.format]}"/>'
        )
    yield "  </DiskSection>"
    yield "  <NetworkSection>"
    yield "    <Info>Networks</Info>"
    for name in dict.fromkeys(card.network for card in machine.cards):
        yield f"    <Network ovf:name={quoteattr(name)}><Description>{escape(name)}</Description></Network>"
    yield "  </NetworkSection>"
    yield f"  <VirtualSystem ovf:id={quoteattr(machine.name)}>"
    yield "    <Info>A virtual machine</Info>"
    yield f"    <Name>{escape(machine.name)}</Name>"
    yield '    <OperatingSystemSection ovf:id="1"><Info>Not known</Info></OperatingSystemSection>'
    yield from _hardware(machine, files)
    yield "  </VirtualSystem>"
    yield "</Envelope>"


def _hardware(machine: Appliance, files: list[ApplianceDisk]) -> Iterator[str]:
    yield "    <VirtualHardwareSection>"
    yield "      <Info>Virtual hardware</Info>"
    yield "      <System>"
    yield "        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>"
    yield "        <vssd:InstanceID>0</vssd:InstanceID>"
    yield f"        <vssd:VirtualSystemIdentifier>{escape(machine.name)}</vssd:VirtualSystemIdentifier>"
    yield f"        <vssd:VirtualSystemType>{_FAMILY}</vssd:VirtualSystemType>"
    yield "      </System>"
    yield from _item(
        ("AllocationUnits", "hertz * 10^6"),
        ("ElementName", f"{machine.vcpus} virtual CPUs"),
        ("InstanceID", "1"),
        ("ResourceType", "3"),
        ("VirtualQuantity", str(machine.vcpus)),
    )
    yield from _item(
        ("AllocationUnits", "byte * 2^20"),
        ("ElementName", "Memory"),
        ("InstanceID", "2"),
        ("ResourceType", "4"),
        ("VirtualQuantity", str((machine.memory or 0) // MIB)),
    )
    used = list(dict.fromkeys(disk.controller for disk in machine.disks))
    for number, controller in enumerate(used):
        kind, subtype, name = _CONTROLLERS[controller]
        yield from _item(
            ("Address", "0"),
            ("ElementName", name),
            ("InstanceID", str(_FIRST_CONTROLLER + number)),
            ("ResourceSubType", subtype),
            ("ResourceType", kind),
        )
    places = dict.fromkeys(used, 0)
    for number, disk in enumerate(machine.disks):
        parent = str(_FIRST_CONTROLLER + used.index(disk.controller))
        yield from _drive(disk, number, files, parent, places[disk.controller])
        places[disk.controller] += 1
    for number, card in enumerate(machine.cards):
        yield from _card(card, number)
    if machine.firmware is Firmware.OVMF:
        yield '      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>'
    yield "    </VirtualHardwareSection>"


def _drive(disk: ApplianceDisk, number: int, files: list[ApplianceDisk], parent: str, place: int) -> Iterator[str]:
    words: _Words = [("AddressOnParent", str(place)), ("ElementName", disk.vdev or disk.label)]
    if disk.file is not None:
        words.append(("HostResource", f"ovf:/disk/disk{files.index(disk)}"))
    kind = "15" if disk.cdrom else "17"
    yield from _item(
        *words, ("InstanceID", str(_FIRST_DRIVE + number)), ("Parent", parent), ("ResourceType", kind)
    )


def _card(card: ApplianceCard, number: int) -> Iterator[str]:
    words: _Words = [] if card.mac is None else [("Address", card.mac)]
    words += [("AutomaticAllocation", "true")]
    words += [("Connection", card.network)] if card.network else []
    yield from _item(
        *words,
        ("ElementName", f"Network card {number}"),
        ("InstanceID", str(_FIRST_CARD + number)),
        ("ResourceSubType", card.model),
        ("ResourceType", "10"),
    )


def _item(*words: tuple[str, str]) -> Iterator[str]:
    """Elements in the order of the alphabet, as the schema of OVF 1 wants them."""
    yield "      <Item>"
    for name, value in words:
        yield f"        <rasd:{name}>{escape(value)}</rasd:{name}>"
    yield "      </Item>"

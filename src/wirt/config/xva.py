"""The description in an export of XenServer or XCP-ng (``ova.xml``): XML-RPC values that hold the objects of its
database. Source: xapi-project, "XVA format" and the field reference of the XenAPI."""

from __future__ import annotations

import re
from typing import TypeAlias, cast

from wirt.config import markup
from wirt.config.markup import Element
from wirt.config.ovf.lost import Lost
from wirt.config.ovf.units import number
from wirt.model.appliance import (
    MOST_CARDS,
    MOST_DISKS,
    MOST_MEMORY_BYTES,
    MOST_VCPUS,
    Appliance,
    ApplianceCard,
    ApplianceDisk,
    ApplianceKind,
    Controller,
)
from wirt.model.domain import Firmware
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.text import plain

Value: TypeAlias = "str | dict[str, Value] | list[Value]"
Record: TypeAlias = "dict[str, Value]"
CHUNK_BYTES = 1024 * 1024
MOST_DISK_BYTES = 1 << 46
REF = re.compile(r"Ref:[0-9]{1,18}")
_NULL = ("", "OpaqueRef:NULL")
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
_LOST = {
    "VGPUs": "a virtual graphics processor",
    "VUSBs": "a USB device",
    "VTPMs": "a TPM",
    "attached_PCIs": "a PCI device",
    "snapshots": "snapshots",
    "NVRAM": "the variables of its firmware",
}
_DEFAULTS = {
    "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart",
    "actions_after_crash": "destroy",
    "actions_after_softreboot": "soft_reboot",
}
"""What a domain does as well."""
_USED = {
    *("name_label", "VCPUs_at_startup", "memory_static_max", "HVM_boot_policy", "HVM_boot_params", "domain_type"),
    *("VBDs", "VIFs", "is_a_template", "is_a_snapshot", "suspend_VDI", "PV_kernel", "PV_ramdisk", "PV_args"),
    *("PV_bootloader", "PV_bootloader_args", "PV_legacy_args", "memory_dynamic_max", "VCPUs_max"),
}
_IDLE = {
    *("uuid", "allowed_operations", "current_operations", "power_state", "user_version"),
    *("resident_on", "affinity", "scheduled_to_be_resident_on", "domid", "domarch"),
    *("last_boot_CPU_flags", "last_booted_record", "metrics", "guest_metrics", "consoles"),
    *("crash_dumps", "PCI_bus", "HVM_shadow_multiplier", "recommendations", "blobs"),
    *("is_control_domain", "is_default_template", "snapshot_of", "snapshot_time", "snapshot_info"),
    *("parent", "snapshot_metadata", "transportable_snapshot_id", "children", "reference_label"),
    *("version", "suspend_SR", "hardware_platform_version", "requires_reboot", "memory_overhead"),
    *("memory_target", "memory_static_min", "memory_dynamic_min", "is_snapshot_from_vmpp"),
    *("is_vmss_snapshot", "pending_guidances"),
}
"""What only the pool that it comes from can make sense of."""
_NOTHING = ("", "0", "false", "OpaqueRef:NULL")


def read(text: bytes, what: str) -> Appliance:
    """``BadInput`` says what is wrong in ``what``."""
    document = _value(markup.parse(text, what), what)
    if not isinstance(document, dict) or not isinstance(document.get("objects"), list):
        raise BadInput(f"{what} is no description of an exported machine", hint="exports of XenServer 5 and newer")
    objects = _objects(document["objects"], what)
    machine, lost = _machine(objects, what), Lost()
    boot = _boot(machine, lost)
    _others(machine, lost)
    return Appliance(
        kind=ApplianceKind.XVA,
        name=_text(machine, "name_label"),
        vcpus=number(_text(machine, "VCPUs_at_startup") or "1", f"the number of CPUs of {what}", MOST_VCPUS),
        memory=number(_text(machine, "memory_static_max"), f"the memory of {what}", MOST_MEMORY_BYTES),
        firmware=_firmware(machine),
        boot=boot,
        disks=_disks(machine, objects, what, lost),
        cards=_cards(machine, objects, what, lost),
        lost=lost.all(),
        signed=True,
    )


def _value(element: Element, what: str) -> Value:
    """XML-RPC's; a value without a type is a string, and all scalars are kept as they are written."""
    if element.name == "value":
        if not element.children:
            return element.text
        element = element.children[0]
    if element.name == "struct":
        found: Record = {}
        for member in element.all("member"):
            value = member.one("value")
            name = member.words("name")
            if value is None or name in found:
                raise BadInput(f"{what} has a member {plain(name, 60)!r} twice, or without a value")
            found[name] = _value(value, what)
        return found
    if element.name == "array":
        data = element.one("data")
        return [] if data is None else [_value(each, what) for each in data.all("value")]
    return element.text


def _objects(found: Value, what: str) -> dict[str, tuple[str, Record]]:
    """By reference: class and fields."""
    objects: dict[str, tuple[str, Record]] = {}
    for each in cast("list[Value]", found):
        snapshot = each.get("snapshot") if isinstance(each, dict) else None
        if not isinstance(each, dict) or not isinstance(snapshot, dict):
            raise BadInput(f"{what} has an object that is none")
        reference = _text(each, "id")
        if not reference or reference in objects:
            raise BadInput(f"{what} has an object twice, or without a name: {plain(reference, 60)!r}")
        objects[reference] = (_text(each, "class"), snapshot)
    return objects


def _machine(objects: dict[str, tuple[str, Record]], what: str) -> Record:
    """The machine itself: its snapshots may be exported with it."""
    machines = [fields for kind, fields in objects.values() if kind == "VM"]
    real = [each for each in machines if _text(each, "is_a_snapshot") not in ("1", "true")] or machines
    if len(real) != 1:
        raise BadInput(f"{what} describes {len(real)} machines; wirt imports one at a time")
    return real[0]


def _boot(machine: Record, lost: Lost) -> str | None:
    """A paravirtual guest that a boot loader of the host's starts has its kernel on its disk: here its firmware
    finds it, or nothing does, which is said."""
    parameters = _fields(machine, "HVM_boot_params")
    order = _text(parameters, "order").lower()
    hvm = bool(_text(machine, "HVM_boot_policy")) or _text(machine, "domain_type") == "hvm"
    if not hvm:
        for name in (
            "PV_kernel",
            "PV_ramdisk",
            "PV_args",
            "PV_bootloader",
            "PV_bootloader_args",
            "PV_legacy_args",
        ):
            if _text(machine, name):
                lost.add(f"{name} ({_text(machine, name)})")
        lost.add("that it is paravirtual: it becomes hvm, and needs a boot loader on its disk")
    boot = "".join(dict.fromkeys(letter for letter in order if letter in "cdn"))
    return boot or None


def _firmware(machine: Record) -> Firmware:
    return Firmware.OVMF if _text(_fields(machine, "HVM_boot_params"), "firmware") == "uefi" else Firmware.SEABIOS


def _others(machine: Record, lost: Lost) -> None:
    """Every field that says something, and that has not been used."""
    for name, value in machine.items():
        if name in _USED or name in _IDLE or value in ([], {}):
            continue
        if isinstance(value, dict):
            lost.add(f"its {name} ({', '.join(sorted(value))})")
        elif isinstance(value, list):
            lost.add(_LOST.get(name, f"its {name}"))
        elif value.strip() not in _NOTHING and value.strip().lower() != _DEFAULTS.get(name):
            lost.add(_LOST.get(name, f"its {name} ({value.strip()})"))
    if _text(machine, "VCPUs_max") not in ("", _text(machine, "VCPUs_at_startup")):
        lost.add(f"that it may have {_text(machine, 'VCPUs_max')} CPUs")
    if _text(machine, "memory_dynamic_max") not in ("", _text(machine, "memory_static_max")):
        lost.add("that its memory grows and shrinks: it has all of it")
    if _text(machine, "is_a_template") in ("1", "true"):
        lost.add("that it is a template: it becomes a domain")
    if _text(machine, "suspend_VDI") not in _NULL:
        lost.add("the memory of a suspended machine")


def _disks(
    machine: Record, objects: dict[str, tuple[str, Record]], what: str, lost: Lost
) -> tuple[ApplianceDisk, ...]:
    found: list[tuple[int, ApplianceDisk]] = []
    taken: set[str] = set()
    for fields in _members(machine, "VBDs", "VBD", objects, what, MOST_DISKS):
        place, optical = _text(fields, "userdevice"), _text(fields, "type") == "CD"
        position = int(place) if place.isascii() and place.isdigit() and len(place) < 4 else MOST_DISKS
        if _text(fields, "type") not in ("CD", "Disk"):
            lost.add(f"a drive of the type {_text(fields, 'type')}")
            continue
        reference = _text(fields, "VDI")
        kind, disk = objects.get(reference, ("", cast("Record", {})))
        if optical:
            if _text(fields, "empty") not in ("1", "true") and kind == "VDI":
                lost.add(f"the CD {_text(disk, 'name_label') or reference}, which is not in an export")
            empty = ApplianceDisk("CD drive", cdrom=True, writable=False, controller=Controller.XEN)
            found.append((position, empty))
            continue
        if kind != "VDI" or not REF.fullmatch(reference) or reference in taken:
            raise BadInput(f"{what} has a drive {plain(place, 20)} without a disk of its own")
        taken.add(reference)
        size = number(_text(disk, "virtual_size"), f"the size of {reference} in {what}", MOST_DISK_BYTES)
        writable = _text(fields, "mode") != "RO"
        entry = ApplianceDisk(
            reference, ImageFormat.RAW, size, controller=Controller.XEN, writable=writable, file=reference
        )
        found.append((position, entry))
    return tuple(entry for _, entry in sorted(found, key=lambda each: each[0]))


def _cards(
    machine: Record, objects: dict[str, tuple[str, Record]], what: str, lost: Lost
) -> tuple[ApplianceCard, ...]:
    found: list[tuple[str, ApplianceCard]] = []
    for fields in _members(machine, "VIFs", "VIF", objects, what, MOST_CARDS):
        _, network = objects.get(_text(fields, "network"), ("", cast("Record", {})))
        address = _text(fields, "MAC").lower()
        if address and not _MAC.fullmatch(address):
            lost.add(f"the address {address} of a network card, which is none")
            address = ""
        if _text(fields, "qos_algorithm_type"):
            lost.add("a limit of what a network card may send")
        if _text(fields, "MTU") not in ("", "1500"):
            lost.add(f"the MTU of a network card ({_text(fields, 'MTU')})")
        if _text(fields, "locking_mode") in ("locked", "disabled"):
            lost.add("the addresses that a network card was bound to")
        name = plain(_text(network, "name_label"), 100)
        found.append((_text(fields, "device").zfill(4), ApplianceCard(name, address or None)))
    return tuple(card for _, card in sorted(found, key=lambda each: each[0]))


def _members(
    machine: Record, field: str, kind: str, objects: dict[str, tuple[str, Record]], what: str, most: int
) -> list[Record]:
    references = machine.get(field, [])
    names = [each for each in references if isinstance(each, str)] if isinstance(references, list) else []
    if len(names) > most or len(set(names)) != len(names):
        raise BadInput(f"{what} has more than {most} {field}, or one twice")
    return [objects[name][1] for name in names if objects.get(name, ("", {}))[0] == kind]


def _text(fields: Record, name: str) -> str:
    value = fields.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _fields(fields: Record, name: str) -> Record:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}

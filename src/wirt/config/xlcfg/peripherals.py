"""The lists of a configuration that describe devices: ``disk``, ``vif``, ``serial``, ``smbios``."""

from __future__ import annotations

from collections.abc import Mapping

from wirt.config.xlcfg.disk import parse_disk
from wirt.config.xlcfg.reading import Reading
from wirt.config.xlcfg.settings import shown
from wirt.config.xlcfg.spec import Remark, SpecError
from wirt.config.xlcfg.syntax import Text
from wirt.config.xlcfg.vdev import parse_vdev
from wirt.config.xlcfg.vif import parse_vif
from wirt.model.devices import DiskSpec, NicType, VifSpec
from wirt.model.diskqos import in_force
from wirt.model.domain import GuestType
from wirt.model.errors import BadInput

MOST_OEM_STRINGS = 99
SMBIOS_NAMES = frozenset(
    (
        "bios_vendor",
        "bios_version",
        "system_manufacturer",
        "system_product_name",
        "system_version",
        "system_serial_number",
        "baseboard_manufacturer",
        "baseboard_product_name",
        "baseboard_version",
        "baseboard_serial_number",
        "baseboard_asset_tag",
        "baseboard_location_in_chassis",
        "enclosure_manufacturer",
        "enclosure_serial_number",
        "enclosure_asset_tag",
        "battery_manufacturer",
        "battery_device_name",
        "oem",
    )
)


def disks(reading: Reading) -> tuple[DiskSpec, ...]:
    disks: list[DiskSpec] = []
    taken: dict[object, str] = {}
    setting = reading.settings.get("disk")
    for node in reading.settings.nodes("disk"):
        assert setting is not None
        try:
            parsed = parse_disk(node.value, reading.cwd, reading.pools)
        except SpecError as error:
            raise setting.error(error.message, hint=error.hint, at=node, index=error.offset) from None
        disk = parsed.disk
        place = parse_vdev(disk.vdev)
        if place in taken:
            raise setting.error(f"{disk.vdev} is taken by another disk, {taken[place]}", at=node)
        taken[place] = disk.vdev
        if parsed.spec != node.value:
            reading.moved[node] = parsed.spec
        _remark(reading, node, "disk", parsed.remarks)
        _not_yet(reading, node, "disk", {"script": disk.script, "backend": disk.backend != "0"})
        disks.append(disk)
    try:
        in_force((disk.vdev, disk.qos) for disk in disks)
    except BadInput as error:
        assert setting is not None
        raise setting.error(error.message, hint=error.hint) from None
    return tuple(disks)


def vifs(reading: Reading) -> tuple[VifSpec, ...]:
    vifs: list[VifSpec] = []
    taken: dict[str | int, str] = {}
    setting = reading.settings.get("vif")
    for node in reading.settings.nodes("vif"):
        assert setting is not None
        try:
            parsed = parse_vif(node.value)
        except SpecError as error:
            raise setting.error(error.message, hint=error.hint, at=node, index=error.offset) from None
        vif = parsed.vif
        for mark, what in ((vif.mac, f"the MAC address {vif.mac}"), (vif.devid, f"the devid {vif.devid}")):
            if mark is not None and mark in taken:
                raise setting.error(f"two network cards have {what}", at=node)
            if mark is not None:
                taken[mark] = what
        _remark(reading, node, "vif", parsed.remarks)
        _not_yet(reading, node, "vif", {"backend": vif.backend != "0"})
        if reading.type is not GuestType.HVM and (vif.model or vif.type is NicType.IOEMU):
            message = f"{reading.type} guests have no emulated cards: model= and type=ioemu mean nothing"
            reading.notice(node.source, node.start, message, "vif")
        vifs.append(vif)
    return tuple(vifs)


def _remark(reading: Reading, node: Text, key: str, remarks: tuple[Remark, ...]) -> None:
    for remark in remarks:
        reading.notice(node.source, node.offset(remark.offset), remark.message, key)


def _not_yet(reading: Reading, node: Text, key: str, given: Mapping[str, object]) -> None:
    """Name the parts that are understood and kept, and that no driver acts on so far."""
    for name, value in given.items():
        if value:
            reading.notice(node.source, node.start, f"{name}= is not honoured yet", key)


def smbios(reading: Reading) -> tuple[tuple[str, str], ...]:
    entries: list[tuple[str, str]] = []
    setting = reading.settings.get("smbios")
    for node in reading.settings.nodes("smbios"):
        assert setting is not None
        name, equals, value = node.value.partition("=")
        if not equals or not value:
            raise setting.error(f"expected name=value, not {shown(node.value)}", at=node)
        if name not in SMBIOS_NAMES:
            hint = f"known are {', '.join(sorted(SMBIOS_NAMES))}"
            raise setting.error(f"{shown(name)} is no SMBIOS entry", hint=hint, at=node)
        if name != "oem":
            _not_yet(reading, node, "smbios", {name: value})
        entries.append((name, value))
        if sum(each == "oem" for each, _ in entries) > MOST_OEM_STRINGS:
            raise setting.error(f"more than {MOST_OEM_STRINGS} oem= entries", at=node)
    return tuple(entries)


def serial(reading: Reading) -> tuple[str, ...]:
    for node in reading.settings.nodes("serial"):
        if node.value not in ("pty", "none"):
            message = f"serial to {shown(node.value)} is not honoured yet; pty, the console, is"
            reading.notice(node.source, node.start, message, "serial")
    return reading.settings.texts("serial")

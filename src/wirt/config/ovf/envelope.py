"""An OVF descriptor to an :class:`Appliance` (DSP0243: envelope, references, disks, networks, one virtual
system)."""

from __future__ import annotations

from urllib.parse import unquote

from wirt.config import markup
from wirt.config.markup import Element
from wirt.config.ovf.hardware import Disks, Hardware, read_hardware
from wirt.config.ovf.lost import Lost
from wirt.config.ovf.units import amount
from wirt.config.tarheader import check_name
from wirt.model.appliance import MOST_DISKS, Appliance, ApplianceDisk, ApplianceKind
from wirt.model.domain import Firmware
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.text import plain

MOST_FILES = 256
MOST_DISK_BYTES = 1 << 56
_FORMATS = (
    ("vmdk", ImageFormat.VMDK),
    ("vhdx", ImageFormat.VHDX),
    ("vhd", ImageFormat.VHD),
    ("vpc", ImageFormat.VHD),
)
_OTHER = "1"
"""Of the operating systems that CIM_OperatingSystem has numbers for."""
_KNOWN = {"References", "DiskSection", "SharedDiskSection", "NetworkSection", "VirtualSystem", "Strings"}
_SECTIONS = {
    "EulaSection": "a licence agreement",
    "AnnotationSection": "an annotation",
    "StartupSection": "the order in which its systems start",
    "InstallSection": "what is to happen at the first boot (InstallSection)",
    "DeploymentOptionSection": "a choice of sizes (DeploymentOptionSection); the first is taken",
    "ResourceAllocationSection": "reservations of resources",
    "SnapshotSection": "snapshots",
}


def read(text: bytes, what: str, kind: ApplianceKind, machine: str = "") -> Appliance:
    """``BadInput`` says what is wrong in ``what``. ``machine``: which of several it is, by its name or its ID."""
    root = markup.parse(text, what)
    if root.name != "Envelope":
        raise BadInput(f"{what} is no OVF descriptor: it begins with {plain(root.name, 60)}")
    lost = Lost()
    system = _system(root, what, lost, machine)
    hardware = read_hardware(system, _disks(root, what), _option(root), what, lost)
    return Appliance(
        kind=kind,
        name=system.words("Name") or system.attribute("id"),
        vcpus=hardware.vcpus,
        memory=hardware.memory,
        firmware=_firmware(system, hardware),
        disks=tuple(hardware.disks),
        cards=tuple(hardware.cards),
        lost=lost.all(),
    )


def _system(root: Element, what: str, lost: Lost, machine: str) -> Element:
    for section in root.children:
        if section.name not in _KNOWN:
            _tell(section, lost)
    systems = list(root.all("VirtualSystem"))
    collection = root.one("VirtualSystemCollection")
    if collection is not None:
        systems += collection.all("VirtualSystem")
        if collection.one("VirtualSystemCollection") is not None:
            raise BadInput(
                f"{what} holds collections in a collection of systems; one system is imported at a time"
            )
        for section in collection.children:
            if section.name not in ("VirtualSystem", "Info", "Name"):
                _tell(section, lost)
    system = _chosen(systems, what, machine)
    for other in systems:
        if other is not system:
            lost.add(f"the system {_called(other)}")
    for section in system.children:
        if section.name not in ("Info", "Name", "VirtualHardwareSection"):
            _tell(section, lost)
    return system


def _chosen(systems: list[Element], what: str, machine: str) -> Element:
    names = ", ".join(plain(_called(each), 40) for each in systems[:5])
    if machine:
        found = [each for each in systems if machine in (each.attribute("id"), each.words("Name"))]
        if len(found) != 1:
            raise BadInput(
                f"{what} describes {len(found) or 'no'} systems called {plain(machine, 40)}",
                hint=f"there are: {names}",
            )
        return found[0]
    if len(systems) != 1:
        raise BadInput(
            f"{what} describes {len(systems)} systems{': ' if names else ''}{names}; wirt imports one at a time",
            hint="--machine NAME says which" if systems else None,
        )
    return systems[0]


def _called(system: Element) -> str:
    return system.words("Name") or system.attribute("id")


def _tell(section: Element, lost: Lost) -> None:
    if section.name == "VirtualSystemCollection":
        return
    if section.name == "ProductSection":
        keys = [each.attribute("key") for each in section.all("Property")]
        product = section.words("Product")
        lost.add(f"product information{f' of {product}' if product else ''}")
        for key in keys[:32]:
            lost.add(f"the property {key}, which the system could have read")
    elif section.name == "OperatingSystemSection":
        number = section.attribute("id")
        words = section.words("Description") or ("" if number == _OTHER else f"number {number}")
        if words:
            lost.add(f"the type of its operating system ({words})")
    elif section.name == "Machine":
        lost.add("VirtualBox's own description of the machine")
    else:
        lost.add(_SECTIONS.get(section.name, f"a section {section.name} ({section.space or 'of no namespace'})"))


def _option(root: Element) -> str:
    """The size that is taken where there is a choice (DSP0243, "DeploymentOptionSection")."""
    section = root.one("DeploymentOptionSection")
    options = [] if section is None else list(section.all("Configuration"))
    chosen = [each for each in options if each.attribute("default") in ("true", "1")] or options
    return chosen[0].attribute("id") if chosen else ""


def _firmware(system: Element, hardware: Hardware) -> Firmware:
    """VMware's word for it, else VirtualBox's; OVF itself has none."""
    machine = system.one("Machine")
    inner = None if machine is None else machine.one("Hardware")
    firmware = None if inner is None else inner.one("Firmware")
    word = hardware.firmware or ("" if firmware is None else firmware.attribute("type"))
    return Firmware.OVMF if word.lower().startswith(("efi", "uefi")) else Firmware.SEABIOS


def _disks(root: Element, what: str) -> Disks:
    """The disks of the disk section by their IDs, and the files by theirs."""
    references = root.one("References")
    files: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for each in [] if references is None else references.all("File"):
        identity = each.attribute("id")
        if identity in files or len(files) >= MOST_FILES:
            raise BadInput(f"{what} refers to too many files, or twice to {plain(identity, 60)!r}")
        if each.attribute("compression") not in ("", "identity"):
            raise BadInput(
                f"{what} has files that are compressed ({plain(each.attribute('compression'), 40)})",
                hint="unpack them, and take the compression out of the descriptor",
            )
        if each.attribute("chunkSize"):
            raise BadInput(f"{what} has files that are cut into pieces", hint="put them together again first")
        files[identity] = check_name(unquote(each.attribute("href")), what)
        if each.attribute("size"):
            sizes[identity] = amount(each.attribute("size"), "", f"the size of a file in {what}", MOST_DISK_BYTES)
    return Disks(files, sizes, _sections(root, files, sizes, what))


def _sections(root: Element, files: dict[str, str], sizes: dict[str, int], what: str) -> dict[str, ApplianceDisk]:
    found: dict[str, ApplianceDisk] = {}
    for section in (*root.all("DiskSection"), *root.all("SharedDiskSection")):
        for disk in section.all("Disk"):
            identity, file = disk.attribute("diskId"), disk.attribute("fileRef")
            name = f"disk {plain(identity, 60)!r} of {what}"
            if identity in found or len(found) >= MOST_DISKS:
                raise BadInput(f"{what} has too many disks, or twice {plain(identity, 60)!r}")
            if disk.attribute("parentRef"):
                raise BadInput(f"{name} stands on another disk", hint="export it as one that is whole")
            if file and file not in files:
                raise BadInput(f"{name} lies in a file that {what} does not list")
            unit = disk.attribute("capacityAllocationUnits")
            size = amount(disk.attribute("capacity"), unit, f"the capacity of {name}", MOST_DISK_BYTES)
            form = _format(disk.attribute("format"), files.get(file, ""))
            label = files.get(file) or identity
            found[identity] = ApplianceDisk(label, form, size, sizes.get(file, 0), file=files.get(file))
    return found


def _format(said: str, file: str) -> ImageFormat:
    """A URI that only its writer has to understand; what the file really is decides in the end."""
    for word, form in _FORMATS:
        if word in said.lower() or file.lower().endswith(f".{word}"):
            return form
    return ImageFormat.QCOW2 if "qcow2" in said.lower() or file.lower().endswith(".qcow2") else ImageFormat.RAW

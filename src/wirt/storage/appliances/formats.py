"""What an image is, by its first bytes, and whether it is whole by itself: one that names other files is
refused, for whoever made it may name any. Sources: qcow2.txt of QEMU, VMware's "Virtual Disk Format 5.0",
Microsoft's VHD and VHDX specifications, the header of VirtualBox's VDI."""

from __future__ import annotations

import re
import struct

from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.plan import qcow2
from wirt.storage.appliances.slices import SECTOR, Readable

HEAD_BYTES = qcow2.HEADER_BYTES
_FOOTER_BYTES = 512
_FIXED, _DYNAMIC = 2, 3
_PARENT = re.compile(rb"^[ \t]*parentCID[ \t]*=[ \t]*([0-9A-Fa-f]+)", re.MULTILINE)
_DESCRIPTOR = b"# Disk DescriptorFile"
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"PK\3\4": "zip",
}


def packed(head: bytes) -> str | None:
    """The program that unpacks it first."""
    return next((name for magic, name in _PACKED.items() if head.startswith(magic)), None)


def find(image: Readable, said: ImageFormat, what: str, *, sure: bool = False) -> ImageFormat:
    """The format of ``image``. ``said`` is what its description says, and stands where nothing is recognised: a
    raw disk has no mark. ``sure``: it is that, whatever it looks like."""
    head = image.read(0, min(HEAD_BYTES, image.size))
    found = said if sure else _find(image, head)
    if found is None:
        if said is not ImageFormat.RAW:
            raise BadInput(f"{what} is said to be {said}, and is not")
        program = packed(head)
        if program is not None:
            raise BadInput(f"{what} is packed with {program}", hint="unpack it first")
        found = ImageFormat.RAW
    if found is ImageFormat.VMDK:
        _check_vmdk(image, head, what)
    elif found is ImageFormat.VHD:
        _check_vhd(image, what)
    elif found is ImageFormat.QCOW2:
        header = qcow2.parse(head, what)
        if header.backing is not None:
            raise BadInput(
                f"{what} stands on another file, which is not looked for",
                hint="make it one file first: qemu-img convert -O qcow2 IMAGE NEW",
            )
    elif found in (ImageFormat.QED, ImageFormat.QCOW):
        raise BadInput(f"{what} is {found}", hint="qemu-img convert -O qcow2 IMAGE NEW, then import that")
    return found


def _find(image: Readable, head: bytes) -> ImageFormat | None:
    if head.startswith(b"QFI\xfb"):
        return ImageFormat.QCOW2 if head[4:8] in (b"\0\0\0\2", b"\0\0\0\3") else ImageFormat.QCOW
    if head.startswith((b"KDMV", b"COWD", _DESCRIPTOR)):
        return ImageFormat.VMDK
    if head.startswith(b"QED\0"):
        return ImageFormat.QED
    if head.startswith(b"vhdxfile"):
        return ImageFormat.VHDX
    if head[64:68] == b"\x7f\x10\xda\xbe":
        return ImageFormat.VDI
    if head.startswith(b"conectix"):
        return ImageFormat.VHD
    if image.size >= _FOOTER_BYTES and image.read(image.size - _FOOTER_BYTES, 8) == b"conectix":
        return ImageFormat.VHD
    return None


def _check_vhd(image: Readable, what: str) -> None:
    """One that holds only what differs from another would be read with holes."""
    footer = image.read(max(0, image.size - _FOOTER_BYTES), _FOOTER_BYTES)
    if footer[:8] != b"conectix" or struct.unpack_from(">I", footer, 60)[0] not in (_FIXED, _DYNAMIC):
        raise BadInput(f"{what} is a VHD that stands on another file, or is cut off", hint="merge it first")


def _check_vmdk(image: Readable, head: bytes, what: str) -> None:
    """Its data in itself, neither in files that a text names nor in what it stands on."""
    if head.startswith(b"COWD"):
        return
    if not head.startswith(b"KDMV") or len(head) < 512 or struct.unpack_from("<Q", head, 12)[0] == 0:
        raise BadInput(
            f"{what} is a VMDK whose data lie in other files, which are not looked for",
            hint="make it one file first: qemu-img convert -O vmdk IMAGE NEW",
        )
    offset, size = struct.unpack_from("<QQ", head, 28)
    text = (
        image.read(offset * SECTOR, min(size * SECTOR, HEAD_BYTES)) if 0 < offset < image.size // SECTOR else b""
    )
    parent = _PARENT.search(text)
    if parent is not None and parent[1].lower() != b"ffffffff":
        raise BadInput(
            f"{what} is a VMDK that stands on another file, which is not looked for",
            hint="export the machine without snapshots",
        )

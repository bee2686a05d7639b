"""A disk that boots a kernel and its initramfs through BIOS and UEFI alike.

GRUB's first stage lies in the MBR, its core in a BIOS boot partition, and once more as `EFI/BOOT/BOOTX64.EFI`
in the FAT partition that also holds kernel and initramfs. Everything is written as bytes: no mount, no root,
no clock. Source: GRUB manual 2.06, "BIOS installation" and "Invoking grub-mkimage"; `grub-core/boot/i386/pc/`
for the offsets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wirt.images import fat, gpt
from wirt.images._process import run

_MKIMAGE_S = 60.0
_CONVERT_S = 120.0
_DISK_SECTORS = 64 * 2048
_CORE_LBA = gpt.FIRST_USABLE_LBA
_FAT_LBA = 2048
_CORE_SECTORS = _FAT_LBA - _CORE_LBA
_FAT_SECTORS = _DISK_SECTORS - _FAT_LBA - 2048
_VOLUME_ID = 0x57495254  # "WIRT"
_DISK_ID = UUID("a3c1f0d2-6f0e-4f5e-9d0c-57495254d15c")
_CORE_ID = UUID("a3c1f0d2-6f0e-4f5e-9d0c-57495254b105")
_FAT_ID = UUID("a3c1f0d2-6f0e-4f5e-9d0c-57495254efa7")

# In boot.img: where the sector number of core.img stands. In core.img: the first block list entry, in its first
# sector, which says where the second and following sectors are.
_BOOT_CORE_SECTOR_AT = 0x5C
_CORE_BLOCKLIST_AT = 500
_BOOT_CODE_BYTES = 440

COMMAND_LINE = "console=ttyS0 quiet"
"""What the kernel is told; whatever differs between guests comes by SMBIOS."""

_CONFIG = f"""\
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
set gfxpayload=text
search --no-floppy --fs-uuid --set=root {_VOLUME_ID >> 16:04X}-{_VOLUME_ID & 0xFFFF:04X}
"""


@dataclass(frozen=True, slots=True)
class _Target:
    """One of GRUB's platforms: the modules that go in, and how it starts the kernel."""

    modules: tuple[str, ...]
    start: str


_COMMON_MODULES = ("part_gpt", "fat", "normal", "search", "search_fs_uuid", "serial", "boot")
_TARGETS = {
    "i386-pc": _Target(
        ("biosdisk", "linux", *_COMMON_MODULES),
        f"linux /VMLINUZ {COMMAND_LINE}\ninitrd /INITRD\nboot\n",
    ),
    # Under UEFI the kernel starts itself: GRUB's own loader finds no room for it with 256 MB ("out of memory").
    "x86_64-efi": _Target(
        ("chain", *_COMMON_MODULES),
        f"chainloader /VMLINUZ initrd=\\\\INITRD {COMMAND_LINE}\nboot\n",
    ),
}


async def make_grub(modules: Path, scratch: Path, *, target: str) -> bytes:
    """A GRUB with its configuration inside; `modules` is the directory that has `target` (such as `i386-pc`)."""
    config, output = scratch / f"{target}.cfg", scratch / f"{target}.img"
    config.write_text(_CONFIG + _TARGETS[target].start)
    command: list[str | Path] = ["grub-mkimage", "-O", target, "-d", modules / target, "-p", "/", "-c", config]
    await run([*command, "-o", output, *_TARGETS[target].modules], cwd=scratch, timeout_s=_MKIMAGE_S)
    return output.read_bytes()


def boot_disk(kernel: bytes, initramfs: bytes, *, boot: bytes, core: bytes, efi: bytes) -> bytes:
    """The raw disk. `boot` is GRUB's boot.img, `core` and `efi` what `make_grub` gives for BIOS and UEFI."""
    if len(core) > _CORE_SECTORS * gpt.SECTOR_BYTES:
        raise ValueError(f"GRUB's core has {len(core)} bytes and does not fit")
    partitions = (
        gpt.Partition(gpt.BIOS_BOOT, _CORE_ID, _CORE_LBA, _CORE_SECTORS, "grub"),
        gpt.Partition(gpt.EFI_SYSTEM, _FAT_ID, _FAT_LBA, _FAT_SECTORS, "wirt-tiny"),
    )
    table = gpt.table(_DISK_SECTORS, _DISK_ID, partitions)
    files = {"VMLINUZ": kernel, "INITRD": initramfs, "EFI/BOOT/BOOTX64.EFI": efi}
    system = fat.file_system(files, sectors=_FAT_SECTORS, hidden_sectors=_FAT_LBA, volume_id=_VOLUME_ID)
    disk = bytearray(_DISK_SECTORS * gpt.SECTOR_BYTES)
    disk[: len(table.head)] = table.head
    disk[-len(table.tail) :] = table.tail
    disk[:_BOOT_CODE_BYTES] = _linked_boot(boot)
    _put(disk, _CORE_LBA, _linked_core(core))
    _put(disk, _FAT_LBA, system)
    return bytes(disk)


def _put(disk: bytearray, lba: int, content: bytes) -> None:
    start = lba * gpt.SECTOR_BYTES
    disk[start : start + len(content)] = content


def _linked_boot(boot: bytes) -> bytes:
    linked = bytearray(boot[:_BOOT_CODE_BYTES])
    struct.pack_into("<Q", linked, _BOOT_CORE_SECTOR_AT, _CORE_LBA)
    return bytes(linked)


def _linked_core(core: bytes) -> bytes:
    linked = bytearray(core)
    struct.pack_into("<Q", linked, _CORE_BLOCKLIST_AT, _CORE_LBA + 1)
    return bytes(linked)


async def write_qcow2(raw: Path, output: Path) -> None:
    """Turn a raw disk into a qcow2 file."""
    command: list[str | Path] = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, output]
    await run(command, cwd=raw.parent, timeout_s=_CONVERT_S)

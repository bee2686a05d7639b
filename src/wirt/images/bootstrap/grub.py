"""GRUB for BIOS and UEFI, put on a raw disk as bytes: what it starts is read from the disk's own file system.

Offsets as in :mod:`wirt.images.bootdisk`, whose disk has everything in GRUB itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wirt.images import fat, gpt, packages
from wirt.images._process import run
from wirt.plan.bootstrap import SECTOR, BootstrapPlan
from wirt.plan.bootstrap_files import grub_start

LINUX_ROOT = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
"""The type of an x86-64 root partition (Discoverable Partitions Specification)."""
_INSTALLED = Path("/usr/lib/grub")
_PACKAGES = ("grub-pc-bin", "grub-efi-amd64-bin")
_MKIMAGE_S = 60.0
_BOOT_CODE_BYTES = 440
_BOOT_CORE_SECTOR_AT = 0x5C
_CORE_BLOCKLIST_AT = 500
_COMMON = (
    *("part_gpt", "part_msdos", "ext2", "normal", "search", "search_fs_uuid", "configfile", "linux", "boot"),
    *("serial", "terminal", "echo", "test", "ls", "gzio"),
)
_MODULES: Mapping[str, tuple[str, ...]] = {
    "i386-pc": ("biosdisk", *_COMMON),
    "x86_64-efi": ("fat", "efi_gop", *_COMMON),
}


@dataclass(frozen=True, slots=True)
class Grub:
    boot: bytes
    core: bytes
    efi: bytes


async def make(plan: BootstrapPlan, scratch: Path, cache: Path) -> Grub:
    """``ImageBuildFailed`` with what to install."""
    modules = await _modules(scratch, cache)
    config = scratch / "grub.cfg"
    config.write_text(grub_start(plan.root_uuid))
    images = {}
    for target, names in _MODULES.items():
        output = scratch / f"{target}.img"
        command: list[str | Path] = ["grub-mkimage", "-O", target, "-d", modules / target, "-p", "/boot/grub"]
        await run([*command, "-c", config, "-o", output, *names], cwd=scratch, timeout_s=_MKIMAGE_S)
        images[target] = output.read_bytes()
    return Grub((modules / "i386-pc/boot.img").read_bytes(), images["i386-pc"], images["x86_64-efi"])


async def _modules(scratch: Path, cache: Path) -> Path:
    """Installed here, or out of Debian's packages."""
    if all((_INSTALLED / target / "moddep.lst").is_file() for target in _MODULES):
        return _INSTALLED
    packages.require_apt()
    cache.mkdir(parents=True, exist_ok=True)
    folder = scratch / "grub"
    for package in await packages.newest(_PACKAGES):
        archive = scratch / f"{package.name}.tar"
        await packages.unpack(await packages.download(package, cache), archive)
        for path, content in packages.read_members(archive, lambda path: path.startswith("usr/lib/grub/")).items():
            target = folder / path.removeprefix("usr/lib/grub/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return folder


def install(plan: BootstrapPlan, grub: Grub, disk: Path) -> None:
    """Partition table, boot code and the EFI system partition, around the file system that is there already."""
    core, esp, root = plan.slices
    if len(grub.core) > core.sectors * SECTOR:
        raise ValueError(f"GRUB's core has {len(grub.core)} bytes and does not fit")
    table = gpt.table(
        plan.wish.size // SECTOR,
        plan.disk_id,
        (
            gpt.Partition(gpt.BIOS_BOOT, plan.part_id("grub"), core.first_lba, core.sectors, "grub"),
            gpt.Partition(gpt.EFI_SYSTEM, plan.part_id("efi"), esp.first_lba, esp.sectors, "efi"),
            gpt.Partition(UUID(LINUX_ROOT), plan.part_id("part"), root.first_lba, root.sectors, "root"),
        ),
    )
    system = fat.file_system(
        {"EFI/BOOT/BOOTX64.EFI": grub.efi},
        sectors=esp.sectors,
        hidden_sectors=esp.first_lba,
        volume_id=plan.esp_volume_id,
    )
    boot, linked = bytearray(grub.boot[:_BOOT_CODE_BYTES]), bytearray(grub.core)
    struct.pack_into("<Q", boot, _BOOT_CORE_SECTOR_AT, core.first_lba)
    struct.pack_into("<Q", linked, _CORE_BLOCKLIST_AT, core.first_lba + 1)
    with disk.open("r+b") as file:
        for at, content in (
            (0, table.head),
            (0, bytes(boot)),
            (core.first_lba * SECTOR, bytes(linked)),
            (esp.first_lba * SECTOR, system),
            (plan.wish.size - len(table.tail), table.tail),
        ):
            file.seek(at)
            file.write(content)

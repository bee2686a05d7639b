"""The tiny guest: a Linux that is ready in seconds, says what it sees and makes load on command.

It is what tests, demos and benchmarks run. Kernels, busybox and GRUB are Debian's packages, the rest is
`wirt/images/guest`: `params.c` has the parameters, `commands.c` the commands, `agent.c` the lines on the
console. A build needs no root and mounts nothing, and the same inputs give the same bytes.

Two kernels: for direct boot the small one made for clouds, which is ready soonest and content with 80 MB; on
the disk the ordinary one, because what boots through firmware is shown emulated hardware (e1000, AHCI, the
i6300esb watchdog) and the cloud kernel has no driver for it. The disk needs 96 MB through BIOS and
192 MB through UEFI.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wirt.images import bootdisk, packages
from wirt.images._process import require
from wirt.images.initramfs import (
    GUEST_SOURCE,
    Modules,
    UserSpace,
    choose_modules,
    compile_agent,
    initramfs,
    list_applets,
)
from wirt.images.packages import Package
from wirt.model.errors import ImageBuildFailed

Progress = Callable[[str, float], None]
"""Told what is being done and the share done, 0 to 1."""

_RECIPE = 1
"""Raised when this module or `packages` changes so that old results must not be used."""

# What shapes the bytes of an image. A change anywhere else in wirt must not make everyone build again.
_OWN_MODULES = ("bootdisk.py", "cpio.py", "fat.py", "gpt.py", "initramfs.py", "kmodules.py")

_DIRECT_KERNEL = "linux-image-cloud-amd64"
_DISK_KERNEL = "linux-image-amd64"
_TOOLS = {
    "musl-gcc": "musl-tools gcc",
    "gcc": "gcc",
    "grub-mkimage": "grub-common",
    "qemu-img": "qemu-utils",
}
_KERNEL_NAME, _INITRAMFS_NAME, _DISK_NAME = "vmlinuz", "initramfs", "disk.qcow2"
_MANIFEST_NAME = "manifest.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TinyImage:
    """A finished image. `kernel` and `initramfs` boot directly; `disk` boots by itself, through BIOS or UEFI.

    `disk` is to be copied, not written to and not used as a backing file: a later build replaces it.
    """

    kernel: Path
    initramfs: Path
    disk: Path
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Everything that an image follows from."""

    kernel: Package
    disk_kernel: Package
    busybox: Package
    grub_pc: Package
    grub_efi: Package
    source: str

    @property
    def packages(self) -> tuple[Package, ...]:
        return (self.kernel, self.disk_kernel, self.busybox, self.grub_pc, self.grub_efi)

    def describe(self) -> dict[str, object]:
        versions = {package.name: package.version for package in self.packages}
        return {"recipe": _RECIPE, "packages": versions, "source": self.source}

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()[:16]


def find_tiny(directory: Path) -> TinyImage | None:
    """The finished image in `directory`, or None when there is none or a part of it is missing or cut short."""
    try:
        manifest = json.loads((directory / _MANIFEST_NAME).read_text())
        fingerprint, files = str(manifest["fingerprint"]), manifest["files"]
        for name in (_KERNEL_NAME, _INITRAMFS_NAME, _DISK_NAME):
            if (directory / name).stat().st_size != files[name]["bytes"]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    kernel, initial, disk = (directory / name for name in (_KERNEL_NAME, _INITRAMFS_NAME, _DISK_NAME))
    return TinyImage(kernel, initial, disk, fingerprint)


def is_current(directory: Path) -> bool:
    """Whether the image in `directory` was made from the sources that are here now."""
    try:
        source = json.loads((directory / _MANIFEST_NAME).read_text())["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(source == _source_hash())


async def build_tiny(directory: Path, cache: Path, progress: Progress) -> TinyImage:
    """Build the image into `directory`, unless the very same is there already, and return it.

    `cache` keeps downloaded packages. Results appear all at once or not at all; cancelling ends what was
    started and leaves nothing behind. Raises `ImageBuildFailed`, with a hint at what to do, when a tool or
    package is missing or something fails.
    """
    packages.require_apt()
    require(_TOOLS)
    directory, cache = directory.absolute(), cache.absolute()
    progress("asking apt for versions", 0.0)
    inputs = await _choose_inputs()
    found = find_tiny(directory)
    if found is not None and found.fingerprint == inputs.fingerprint:
        progress("the image is there already", 1.0)
        return found
    cache.mkdir(parents=True, exist_ok=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as name:
        scratch, result = Path(name), Path(name) / "result"
        result.mkdir()
        try:
            await _build(inputs, cache, scratch, result, progress)
            _publish(result, directory)
        except (OSError, ValueError, KeyError) as error:
            raise ImageBuildFailed(f"the tiny guest can't be built: {error}") from error
    progress("done", 1.0)
    image = find_tiny(directory)
    if image is None:
        raise ImageBuildFailed(f"{directory} changed while the tiny guest was built in it", hint="build it again")
    return image


async def _choose_inputs() -> _Inputs:
    kernels = await packages.kernel_names((_DIRECT_KERNEL, _DISK_KERNEL))
    chosen = await packages.newest([*kernels, "busybox-static", "grub-pc-bin", "grub-efi-amd64-bin"])
    kernel, disk_kernel, busybox, grub_pc, grub_efi = chosen
    return _Inputs(kernel, disk_kernel, busybox, grub_pc, grub_efi, _source_hash())


def _source_hash() -> str:
    """Of all that wirt itself adds to an image: the guest's sources and the modules that shape it."""
    own = Path(__file__).parent
    digest = hashlib.sha256()
    for file in [*(own / name for name in _OWN_MODULES), *sorted(GUEST_SOURCE.glob("*.[ch]"))]:
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


async def _build(inputs: _Inputs, cache: Path, scratch: Path, result: Path, progress: Progress) -> None:
    files: dict[str, Mapping[str, bytes]] = {}
    for index, package in enumerate(inputs.packages):
        progress(f"getting {package.name} {package.version}", 0.05 + 0.1 * index)
        files[package.name] = await _package_files(package, cache, scratch)

    progress("compiling the guest's agent", 0.6)
    await compile_agent(scratch / "agent")
    busybox = files[inputs.busybox.name]["bin/busybox"]
    user_space = UserSpace((scratch / "agent").read_bytes(), busybox, await list_applets(busybox, scratch))
    direct = _bootable(files[inputs.kernel.name], user_space)
    on_disk = _bootable(files[inputs.disk_kernel.name], user_space)
    (result / _KERNEL_NAME).write_bytes(direct.kernel)
    (result / _INITRAMFS_NAME).write_bytes(direct.initramfs)

    progress("making the boot disk", 0.7)
    await _build_disk(on_disk, files[inputs.grub_pc.name], files[inputs.grub_efi.name], scratch, result)
    _write_manifest(result, inputs, {inputs.kernel.name: direct, inputs.disk_kernel.name: on_disk})


@dataclass(frozen=True, slots=True)
class _Bootable:
    kernel: bytes
    initramfs: bytes
    modules: Modules


def _bootable(kernel_files: Mapping[str, bytes], user_space: UserSpace) -> _Bootable:
    kernel = next(content for path, content in kernel_files.items() if path.startswith("boot/vmlinuz-"))
    modules = choose_modules(kernel_files)
    return _Bootable(kernel, initramfs(user_space, modules), modules)


async def _build_disk(
    system: _Bootable,
    grub_pc: Mapping[str, bytes],
    grub_efi: Mapping[str, bytes],
    scratch: Path,
    result: Path,
) -> None:
    grub, raw = scratch / "grub", scratch / "disk.raw"
    _write_grub_modules(grub, grub_pc, grub_efi)
    boot = grub_pc["usr/lib/grub/i386-pc/boot.img"]
    core = await bootdisk.make_grub(grub, scratch, target="i386-pc")
    efi = await bootdisk.make_grub(grub, scratch, target="x86_64-efi")

    def write() -> None:
        raw.write_bytes(bootdisk.boot_disk(system.kernel, system.initramfs, boot=boot, core=core, efi=efi))

    await _in_thread(write)
    await bootdisk.write_qcow2(raw, result / _DISK_NAME)


def _is_needed(path: str) -> bool:
    return (
        path.startswith(("boot/vmlinuz-", "usr/lib/grub/i386-pc/", "usr/lib/grub/x86_64-efi/"))
        or path.endswith("/modules.builtin")
        or path == "bin/busybox"
        or (path.endswith(".ko") and not path.startswith("usr/"))
    )


async def _package_files(package: Package, cache: Path, scratch: Path) -> Mapping[str, bytes]:
    archive = scratch / f"{package.name}.tar"
    await packages.unpack(await packages.download(package, cache), archive)
    members = await _in_thread(lambda: packages.read_members(archive, _is_needed))
    archive.unlink()
    return members


def _write_grub_modules(folder: Path, *sources: Mapping[str, bytes]) -> None:
    for files in sources:
        for path, content in files.items():
            _, _, _, target, name = path.split("/", 4)
            (folder / target).mkdir(parents=True, exist_ok=True)
            if "/" not in name:
                (folder / target / name).write_bytes(content)


def _write_manifest(result: Path, inputs: _Inputs, kernels: Mapping[str, _Bootable]) -> None:
    files = {
        name: {
            "bytes": (result / name).stat().st_size,
            "sha256": hashlib.sha256((result / name).read_bytes()).hexdigest(),
        }
        for name in (_KERNEL_NAME, _INITRAMFS_NAME, _DISK_NAME)
    }
    manifest = {
        "fingerprint": inputs.fingerprint,
        **inputs.describe(),
        "modules": {name: system.modules.order for name, system in kernels.items()},
        "modules_absent": {name: system.modules.absent for name, system in kernels.items()},
        "files": files,
    }
    (result / _MANIFEST_NAME).write_text(json.dumps(manifest, indent=2) + "\n")


def _publish(result: Path, directory: Path) -> None:
    """Put the finished result in place by renaming; what was there before goes with the scratch directory."""
    if directory.exists():
        directory.rename(result.with_name("replaced"))
    result.rename(directory)


async def _in_thread(work: Callable[[], T]) -> T:
    """Like `asyncio.to_thread`, but a cancelled wait still waits: the thread writes where we will clean."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise

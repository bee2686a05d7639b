"""Reading archives for real, into a file that stands for a volume."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from wirt.model.devices import DiskFormat
from wirt.model.storage import Volume
from wirt.ports.appliances import Found
from wirt.storage.appliances.contents import Contents, open_contents
from wirt.storage.appliances.host import HostAppliances
from wirt.storage.appliances.slices import Slice
from wirt.storage.images import QemuImageTool

from .archives import MIB, Disk, image, manifest, ovf

CONTENT = random.Random(1).randbytes(MIB + 4096) + bytes(3 * MIB) + b"end".ljust(MIB - 4096)


@dataclass
class Rig:
    """``poured`` gives back what came of a disk."""

    folder: Path
    reader: HostAppliances
    fds: list[int] = field(default_factory=list)

    def write(self, data: bytes, name: str = "web.ova") -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return str(path)

    async def look(self, data: bytes, name: str = "web.ova") -> Found:
        return await self.reader.look(self.write(data, name))

    async def poured(self, found: Found, disk: int = 0, format_: DiskFormat = DiskFormat.RAW) -> bytes:
        told = found.appliance.disks[disk]
        assert told.size is not None
        out = self.folder / "out"
        out.unlink(missing_ok=True)
        if format_ is DiskFormat.RAW:
            with out.open("xb") as file:
                file.truncate(told.size)
        else:
            await make_qcow2(out, told.size)
        volume = Volume("pool", "out", format_, told.size, 0, str(out))
        await self.reader.pour(found.package, disk, told.format, volume, lambda share: None)
        if format_ is DiskFormat.QCOW2:
            assert await QemuImageTool().check(str(out), format_) == ()
            return await as_raw(volume)
        return out.read_bytes()


async def make_qcow2(path: Path, size: int) -> None:
    from wirt.storage.programs import run

    await run("qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size), what="no image")


async def as_raw(volume: Volume) -> bytes:
    from wirt.storage.programs import run

    raw = f"{volume.path}.raw"
    await run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", volume.path, raw, what="no image")
    return Path(raw).read_bytes()


def an_ova(folder: Path, algorithm: str = "sha256", **more: str) -> dict[str, bytes]:
    """The members of one that is good."""
    disk = image(folder, CONTENT)
    descriptor = ovf([Disk("web-disk1.vmdk", len(CONTENT), len(disk))], **more)
    vouched = {"web.ovf": descriptor, "web-disk1.vmdk": disk}
    return {"web.ovf": descriptor, "web.mf": manifest(vouched, algorithm), "web-disk1.vmdk": disk}


def opened(rig: Rig, data: bytes, name: str = "web.ova") -> Contents:
    """What the worker does, without its jail."""
    file = rig.folder / name
    file.write_bytes(data)
    fd = os.open(file, os.O_RDONLY)
    rig.fds.append(fd)
    return open_contents({name: Slice(fd, 0, len(data))}, name, lambda share: None, sure=None, probing=True)

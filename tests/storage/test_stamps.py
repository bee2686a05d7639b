"""Whether a file was written since."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from wirt.storage.host import HostStorage


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, timeout=60)


async def test_a_stamp_is_another_once_the_file_was_written_and_no_sooner(tmp_path: Path) -> None:
    storage, image, late = HostStorage(tmp_path / "mounts"), tmp_path / "image", 2 * 10**18
    image.write_bytes(bytes(4096))
    os.utime(image, ns=(late, late))
    before = await storage.stamps([str(image)])
    assert image.read_bytes() == bytes(4096)
    image.rename(tmp_path / "renamed")
    shutil.copy2(tmp_path / "renamed", image)
    assert await storage.stamps([str(image)]) == before
    with image.open("r+b") as file:
        file.write(bytes(4096))
    assert await storage.stamps([str(image)]) != before
    os.utime(image, ns=(late, late))
    os.truncate(image, 8192)
    os.utime(image, ns=(late, late))
    assert await storage.stamps([str(image)]) != before


async def test_reading_an_image_as_guests_off_are_backed_up_leaves_its_stamp(tmp_path: Path) -> None:
    storage, image = HostStorage(tmp_path / "mounts"), str(tmp_path / "image.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    before = await storage.stamps([image])
    qemu_img("check", "-q", image)
    qemu_img("convert", "-O", "raw", image, str(tmp_path / "copy"))
    assert await storage.stamps([image]) == before


async def test_of_what_is_no_file_nothing_is_told(tmp_path: Path) -> None:
    paths = ["/dev/null", str(tmp_path), str(tmp_path / "absent"), "nfs://server/export/image"]
    assert await HostStorage(tmp_path / "mounts").stamps(paths) == {}

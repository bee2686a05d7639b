"""What a disk lies on is found out by trying."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wirt.model.storage import PoolConfig, PoolType
from wirt.model.units import MIB
from wirt.plan.engine import Medium
from wirt.storage.directory import DirectoryPool
from wirt.storage.host import HostStorage
from wirt.storage.media import file_system_at, media_of


def test_a_file_says_its_file_system_and_whether_it_has_holes(tmp_path: Path) -> None:
    full, holes = tmp_path / "full", tmp_path / "holes"
    full.write_bytes(b"x" * MIB)
    os.sync()
    holes.touch()
    os.truncate(holes, MIB)
    found = media_of([str(full), str(holes)])
    assert found[str(full)].file_system in Path("/proc/filesystems").read_text().split()
    assert not found[str(full)].sparse
    assert found[str(holes)].sparse


def test_what_is_no_disk_is_left_out_and_nobody_waits(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert media_of([str(fifo), str(tmp_path), str(tmp_path / "nothing"), "nfs://server/export/a"]) == {}


def test_in_memory_nothing_passes_by_the_memory() -> None:
    path = Path(f"/dev/shm/wirt-media-{os.getpid()}")
    path.write_bytes(b"x" * 4096)
    try:
        (medium,) = media_of([str(path)]).values()
    finally:
        path.unlink()
    assert medium.file_system == "tmpfs"
    assert medium.direct is not None


@pytest.mark.root
def test_a_device_is_a_device(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    done = subprocess.run(["losetup", "-f", "--show", str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs a loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        assert media_of([device]) == {device: Medium(None)}
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


async def test_a_pool_says_what_its_file_system_can_do_and_leaves_nothing_there(tmp_path: Path) -> None:
    pool = DirectoryPool(PoolConfig("p", PoolType.DIR, str(tmp_path)), tmp_path)
    said = await pool.file_system()
    assert said is not None
    assert list(tmp_path.iterdir()) == []
    assert await HostStorage(tmp_path).media_of([str(tmp_path / "gone")]) == {}


async def test_a_pool_that_can_not_be_written_says_nothing(tmp_path: Path) -> None:
    assert await DirectoryPool(PoolConfig("p", PoolType.DIR, "/proc"), Path("/proc")).file_system() is None


KINDS = {
    "tmpfs": (None, (False, False, True)),
    "ext4": (("mkfs.ext4", "-q", "-F"), (False, True, True)),
    "xfs": (("mkfs.xfs", "-q", "-f"), (True, True, True)),
    "btrfs": (("mkfs.btrfs", "-q", "-f"), (True, False, True)),
}


@pytest.mark.root
@pytest.mark.parametrize("kind", KINDS)
def test_what_each_file_system_can_do(kind: str, tmp_path: Path) -> None:
    make, (reflink, direct, discard) = KINDS[kind]
    with mounted(kind, make, tmp_path) as place:
        said = file_system_at(place)
    assert (said.kind, said.reflink, said.direct, said.discard) == (kind, reflink, direct, discard)


@contextmanager
def mounted(kind: str, make: tuple[str, ...] | None, directory: Path) -> Iterator[Path]:
    place, image = directory / "mnt", directory / "image"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
    if make is not None:
        image.touch()
        os.truncate(image, 400 * MIB)
        words = ["mount", "-t", kind, "-o", "loop", str(image), str(place)]
        try:
            subprocess.run([*make, str(image)], check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip(f"needs {make[0]} (Debian: apt-get install xfsprogs btrfs-progs)")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs a kernel that mounts {kind}: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)

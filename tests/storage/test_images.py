"""Whole images copied and converted by a process that reaches them and nothing else."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NameInUse, NotFound
from wirt.model.storage import Image, ImageFormat, Volume
from wirt.model.units import MIB
from wirt.storage.image_jail import Layer, jail
from wirt.storage.images import QemuImageTool

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None or shutil.which("bwrap") is None,
    reason="needs qemu-img and bwrap: make setup (Debian: apt-get install qemu-utils bubblewrap)",
)

QCOW2, RAW = DiskFormat.QCOW2, DiskFormat.RAW


def run(*words: object, cwd: Path) -> str:
    done = attempt(*map(str, words), cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def attempt(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def volume(path: Path, format_: DiskFormat, size: int = 8 * MIB) -> Volume:
    return Volume("default", path.stem, format_, size, 0, str(path))


@pytest.fixture
def source(tmp_path: Path) -> Volume:
    """A qcow2 image that stands on another one, with content in both."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "8M", cwd=tmp_path)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", "base.qcow2", cwd=tmp_path)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2", cwd=tmp_path)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 9 4M 1M", "top.qcow2", cwd=tmp_path)
    return volume(tmp_path / "top.qcow2", QCOW2)


def same(a: Volume, path: Path, format_: str) -> None:
    run("qemu-img", "compare", "-f", str(a.format), "-F", format_, a.path, path, cwd=path.parent)


@pytest.mark.parametrize("format_", [RAW, QCOW2])
async def test_a_copy_reads_like_its_source_with_all_that_it_stands_on(
    source: Volume, format_: DiskFormat, tmp_path: Path
) -> None:
    target, told = tmp_path / "copy", list[float]()
    run("qemu-img", "create", "-q", "-f", format_, target, "8M", cwd=tmp_path)
    await QemuImageTool().convert(source, volume(target, format_), told.append)
    same(source, target, format_)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("format_", "word"), [("vmdk", "vmdk"), ("vhd", "vpc"), ("vhdx", "vhdx"), ("vdi", "vdi"), ("raw", "raw")]
)
async def test_what_is_written_in_others_formats_is_read_again(
    source: Volume, format_: str, word: str, tmp_path: Path
) -> None:
    tool, image = QemuImageTool(), Image(str(tmp_path / "out"), ImageFormat(format_))
    await tool.write(source, image, lambda share: None)
    facts = await tool.inspect(image.path)
    assert facts.format is image.format
    assert facts.size >= 8 * MIB
    same(source, Path(image.path), word)


async def test_a_file_that_is_there_is_never_written_over(source: Volume, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(NameInUse):
        await QemuImageTool().write(source, Image(str(tmp_path / "mine"), ImageFormat.RAW), lambda share: None)
    assert (tmp_path / "mine").read_bytes() == b"mine"


async def test_what_an_image_says_it_stands_on_is_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret".ljust(MIB, b"!"))
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", "evil", cwd=tmp_path)
    run("qemu-img", "create", "-q", "-f", "raw", "copy", "1M", cwd=tmp_path)
    tool, image = QemuImageTool(), Image(str(tmp_path / "evil"), ImageFormat.QCOW2)
    with pytest.raises(BadInput, match="not looked for"):
        await tool.convert(image, volume(tmp_path / "copy", RAW), lambda share: None)
    assert (await tool.inspect(image.path)).backing == str(secret)
    assert await tool.chain(volume(tmp_path / "evil", QCOW2)) == (str(secret),)


HEAD = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
FLAT = f'{HEAD}createType="monolithicFlat"\nRW 2048 FLAT "{{}}" 0\n'
VMFS = f'{HEAD}createType="vmfs"\nRW 2048 VMFS "{{}}"\n'


@pytest.mark.parametrize("descriptor", [FLAT, VMFS])
async def test_an_image_in_several_files_reaches_none_of_the_others(descriptor: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret".ljust(MIB, b"!"))
    (tmp_path / "evil.vmdk").write_text(descriptor.format(secret))
    run("qemu-img", "create", "-q", "-f", "raw", "copy", "1M", cwd=tmp_path)
    image = Image(str(tmp_path / "evil.vmdk"), ImageFormat.VMDK)
    with pytest.raises(BadInput):
        await QemuImageTool().convert(image, volume(tmp_path / "copy", RAW, MIB), lambda share: None)
    assert b"secret" not in (tmp_path / "copy").read_bytes()
    outside = attempt("qemu-img", "info", "-f", "vmdk", image.path)
    assert outside.returncode == 0, "outside the jail it is opened, so the test sees something"


async def test_the_jail_holds_the_images_and_nothing_else_of_the_host(tmp_path: Path) -> None:
    inside = tmp_path / "image"
    inside.write_bytes(b"image")
    shell = "cat /in/0; ls /; cat /etc/shadow /proc/1/environ; echo x > /in/0; mknod /n b 7 0; ls /sys; ip -o link"
    words = [*jail([Layer(str(inside), "raw", False, "/in/0")], [], 0), "/usr/bin/bash", "-c", shell]
    done = attempt(*words)
    seen, *_ = done.stdout.split("\n")
    assert seen.startswith("image")
    listed = set(done.stdout.removeprefix("image").split())
    assert not listed & {"etc", "home", "proc", "root", "sys", "tmp", "var", "work"}
    assert "eth0" not in done.stdout
    assert inside.read_bytes() == b"image"


async def test_a_conversion_that_would_write_without_end_is_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.touch()
    words = jail([], [Layer(str(out), "raw", False, "/out")], MIB)
    done = attempt(*words, "/usr/bin/truncate", "-s", "1G", "/out")
    assert done.returncode != 0
    assert out.stat().st_size < 100 * MIB


async def test_a_cancelled_conversion_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    big = tmp_path / "big"
    run("qemu-img", "create", "-q", "-f", "raw", big, "64M", cwd=tmp_path)
    run("qemu-io", "-f", "raw", "-c", "write -P 7 0 64M", big, cwd=tmp_path)
    begun, out = asyncio.Event(), tmp_path / "out"
    image = Image(str(out), ImageFormat.QCOW2)
    work = QemuImageTool().write(volume(big, RAW, 64 * MIB), image, lambda share: begun.set(), options={})
    task = asyncio.create_task(work)
    async with asyncio.timeout(60):
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not out.exists()
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [each for each in commands if str(out).encode() in each]


def damage(path: Path) -> None:
    with path.open("r+b") as image:
        image.seek(128 * 1024)
        image.write(bytes(range(1, 65)))


async def test_a_damaged_image_is_told_apart_from_a_good_one(source: Volume, tmp_path: Path) -> None:
    tool = QemuImageTool()
    assert await tool.check(source.path, QCOW2) == ()
    damage(Path(source.path))
    assert any("corrupt" in fault or "leaked" in fault for fault in await tool.check(source.path, QCOW2))


async def test_what_is_not_there_or_no_image_is_told(tmp_path: Path) -> None:
    tool = QemuImageTool()
    with pytest.raises(NotFound, match="no such file"):
        await tool.inspect(str(tmp_path / "none"))
    (tmp_path / "text").write_text("x" * 1000)
    with pytest.raises(BadInput, match="not in qcow2 format"):
        await tool.inspect(str(tmp_path / "text"), QCOW2)
    with pytest.raises(BadInput, match="neither a file nor a disk"):
        await tool.inspect("/dev/null")


async def test_an_image_is_resized_where_it_has_a_size_of_its_own(source: Volume, tmp_path: Path) -> None:
    tool = QemuImageTool()
    await tool.resize(source, 16 * MIB)
    assert (await tool.inspect(source.path, QCOW2)).size == 16 * MIB
    await tool.resize(volume(Path(source.path), QCOW2, 16 * MIB), 8 * MIB)
    assert (await tool.inspect(source.path, QCOW2)).size == 8 * MIB


async def test_what_an_image_holds_goes_into_the_one_below_and_can_be_repeated(
    source: Volume, tmp_path: Path
) -> None:
    whole, told = tmp_path / "whole.raw", list[float]()
    run("qemu-img", "convert", "-O", "raw", source.path, whole, cwd=tmp_path)
    for _ in range(2):
        await QemuImageTool().commit(source, told.append)
        same(volume(tmp_path / "base.qcow2", QCOW2), whole, "raw")
        same(source, whole, "raw")
    assert await QemuImageTool().check(str(tmp_path / "base.qcow2"), QCOW2) == ()
    with pytest.raises(BadInput, match="stands on nothing"):
        await QemuImageTool().commit(volume(tmp_path / "base.qcow2", QCOW2), told.append)


async def test_what_was_grown_grows_what_it_goes_into(tmp_path: Path) -> None:
    run("qemu-img", "create", "-q", "-f", "raw", "base.raw", "8M", cwd=tmp_path)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2", "80M", cwd=tmp_path)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 9 79M 1M", "top.qcow2", cwd=tmp_path)
    await QemuImageTool().commit(volume(tmp_path / "top.qcow2", QCOW2, 80 * MIB), lambda share: None)
    assert (tmp_path / "base.raw").stat().st_size == 80 * MIB
    run("qemu-io", "-f", "raw", "-c", "read -P 9 79M 1M", "base.raw", cwd=tmp_path)


async def test_an_image_stands_on_another_file_when_it_is_pointed_there(source: Volume, tmp_path: Path) -> None:
    whole = tmp_path / "whole.raw"
    run("qemu-img", "convert", "-O", "raw", source.path, whole, cwd=tmp_path)
    (tmp_path / "base.qcow2").rename(tmp_path / "moved.qcow2")
    await QemuImageTool().point(source, volume(tmp_path / "moved.qcow2", QCOW2))
    same(source, whole, "raw")
    assert await QemuImageTool().chain(source) == (str(tmp_path / "moved.qcow2"),)

"""Building the tiny guest: the same every time, all or nothing, clear about what it lacks."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from wirt.images import packages
from wirt.images.tiny import TinyImage, build_tiny, find_tiny
from wirt.model.errors import ImageBuildFailed

NAMES = ("vmlinuz", "initramfs", "disk.qcow2")


def quiet(_what: str, _share: float) -> None:
    pass


def finished(directory: Path) -> Path:
    """What a finished image looks like from outside."""
    directory.mkdir()
    for name in NAMES:
        (directory / name).write_bytes(name.encode())
    files = {name: {"bytes": len(name)} for name in NAMES}
    (directory / "manifest.json").write_text(json.dumps({"fingerprint": "f00", "files": files}))
    return directory


def children() -> set[str]:
    """Process ids of our children, whichever thread started them."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


def test_a_finished_image_is_found(tmp_path: Path) -> None:
    image = find_tiny(finished(tmp_path / "tiny"))
    assert image is not None
    assert (image.fingerprint, image.disk) == ("f00", tmp_path / "tiny" / "disk.qcow2")


@pytest.mark.parametrize("name", [*NAMES, "manifest.json"])
def test_an_image_with_a_part_missing_is_none(tmp_path: Path, name: str) -> None:
    directory = finished(tmp_path / "tiny")
    (directory / name).unlink()
    assert find_tiny(directory) is None


@pytest.mark.parametrize("name", [*NAMES, "manifest.json"])
def test_an_image_with_a_part_cut_short_is_none(tmp_path: Path, name: str) -> None:
    directory = finished(tmp_path / "tiny")
    (directory / name).write_bytes(b"x")
    assert find_tiny(directory) is None


def test_no_image_is_found_where_there_is_none(tmp_path: Path) -> None:
    assert find_tiny(tmp_path / "nowhere") is None


async def test_missing_tools_are_named_with_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("apt-cache", "apt-get", "dpkg-deb"):
        (tmp_path / tool).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageBuildFailed) as caught:
        await build_tiny(tmp_path / "work" / "tiny", tmp_path / "work" / "cache", quiet)
    assert "musl-gcc" in caught.value.message
    assert {"apt-get", "musl-tools", "gcc", "grub-common"} <= set(str(caught.value.hint).split())
    assert not (tmp_path / "work").exists()


async def test_without_apt_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageBuildFailed, match="apt-get") as caught:
        await build_tiny(tmp_path / "tiny", tmp_path / "cache", quiet)
    assert "Debian" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
async def test_two_builds_in_different_directories_are_identical(
    tmp_path: Path, package_cache: Path, tiny_image: TinyImage
) -> None:
    other = await build_tiny(tmp_path / "some where" / "else", package_cache, quiet)
    assert other.fingerprint == tiny_image.fingerprint
    for name in (*NAMES, "manifest.json"):
        assert (other.disk.parent / name).read_bytes() == (tiny_image.disk.parent / name).read_bytes(), name


@pytest.mark.real
async def test_the_same_is_not_built_again(tiny_image: TinyImage, package_cache: Path) -> None:
    before = tiny_image.disk.stat()
    told: list[str] = []
    again = await build_tiny(tiny_image.disk.parent, package_cache, lambda what, _share: told.append(what))
    assert again == tiny_image
    assert told[-1] == "the image is there already"
    assert (again.disk.stat().st_ino, again.disk.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.real
@pytest.mark.parametrize("stage", ["getting linux-image", "compiling", "making the boot disk"])
async def test_cancelling_leaves_nothing_behind(
    tmp_path: Path, package_cache: Path, tiny_image: TinyImage, stage: str
) -> None:
    reached = asyncio.Event()

    def watch(what: str, _share: float) -> None:
        if what.startswith(stage):
            reached.set()

    task = asyncio.create_task(build_tiny(tmp_path / "tiny", package_cache, watch))
    await asyncio.wait_for(reached.wait(), timeout=120)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
    assert children() == set()


@pytest.mark.real
async def test_a_package_that_can_not_be_had_says_what_to_do(
    tmp_path: Path, package_cache: Path, tiny_image: TinyImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = tmp_path / "apt"
    (lists / "state/lists/partial").mkdir(parents=True)
    (lists / "sources.list").touch()
    config = lists / "apt.conf"
    config.write_text(
        f'Dir::State "{lists}/state";\nDir::Etc::sourcelist "{lists}/sources.list";\n'
        f'Dir::Etc::sourceparts "/dev/null";\nDir::State::status "/dev/null";\nDir::Cache "{lists}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    with pytest.raises(ImageBuildFailed) as caught:
        await build_tiny(tmp_path / "tiny", package_cache, quiet)
    assert "linux-image-cloud-amd64" in caught.value.message
    assert "apt-get update" in str(caught.value.hint)
    shutil.rmtree(lists)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_the_manifest_says_what_each_kernel_lacks(tiny_image: TinyImage) -> None:
    absent = json.loads((tiny_image.disk.parent / "manifest.json").read_text())["modules_absent"]
    cloud = next(name for name in absent if "cloud" in name)
    ordinary = next(name for name in absent if "cloud" not in name)
    assert "e1000" in absent[cloud]
    assert absent[ordinary] == []


async def test_kernels_behind_several_names_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    async def answer(command: list[str], **_: object) -> str:
        asked.append(command)
        return (
            "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-1-cloud-amd64\n"
            "linux-image-amd64\n  Depends: linux-base\n  Depends: linux-image-6.1.0-1-amd64\n"
        )

    monkeypatch.setattr(packages, "run", answer)
    names = ("linux-image-amd64", "linux-image-cloud-amd64")
    assert await packages.kernel_names(names) == ["linux-image-6.1.0-1-amd64", "linux-image-6.1.0-1-cloud-amd64"]
    assert asked == [["apt-cache", "depends", *names]]
    with pytest.raises(ImageBuildFailed, match="no kernel behind linux-image-rt-amd64"):
        await packages.kernel_names(("linux-image-amd64", "linux-image-rt-amd64"))

"""Kernels that came to this host are kept once, under what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirt.ports.boot_files import BootFiles
from wirt.ports.layers import Content
from wirt.storage.boot_files import HostBootFiles
from wirt.storage.fake_boot_files import FakeBootFiles

ONE, OTHER = Content(3, "a" * 64), Content(3, "b" * 64)


@pytest.fixture(params=["fake", "host"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> BootFiles:
    return FakeBootFiles({}) if request.param == "fake" else HostBootFiles(tmp_path / "boot")


async def keep(files: BootFiles, content: Content, origin: str) -> str:
    await files.keep(await files.begin(content, origin), content, origin)
    found = await files.find(content)
    assert found is not None
    return found.path


async def test_what_was_kept_is_found_by_what_it_holds(files: BootFiles) -> None:
    assert await files.find(ONE) is None
    path = await keep(files, ONE, "/boot/vmlinuz-6.1")
    assert path == files.place(ONE, "/boot/vmlinuz-6.1") and path.endswith("/vmlinuz-6.1")
    assert await files.find(OTHER) is None
    assert [each.origin for each in await files.stored()] == ["/boot/vmlinuz-6.1"]


async def test_the_same_under_another_name_is_kept_once(files: BootFiles) -> None:
    first = await keep(files, ONE, "/boot/vmlinuz")
    found = await files.find(ONE)
    assert found is not None and found.path == first
    await keep(files, OTHER, "/boot/vmlinuz")
    assert len(await files.stored()) == 2


async def test_what_was_only_begun_is_not_there_and_is_tidied_away(files: BootFiles) -> None:
    part = await files.begin(ONE, "/boot/vmlinuz")
    assert await files.find(ONE) is None and await files.stored() == ()
    await files.tidy()
    await files.remove(part)
    await files.remove(part)


async def test_what_is_removed_is_gone(files: BootFiles) -> None:
    path = await keep(files, ONE, "/boot/vmlinuz")
    await files.remove(path)
    await files.remove(path)
    assert await files.find(ONE) is None


async def test_two_that_keep_the_same_at_once_keep_one(tmp_path: Path) -> None:
    files = HostBootFiles(tmp_path)
    parts = [await files.begin(ONE, "/boot/vmlinuz") for _ in range(2)]
    for part in parts:
        await files.keep(part, ONE, "/boot/vmlinuz")
    assert len(await files.stored()) == 1
    assert len(list(tmp_path.iterdir())) == 1


async def test_nobody_writes_what_is_kept_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = await keep(HostBootFiles(tmp_path), ONE, "/boot/vmlinuz")
    assert Path(path).stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("origin", ["/boot/origin", "/boot/..", "/", "/boot/a b\n", "/boot/" + "x" * 300])
async def test_no_name_leads_out_of_its_directory(tmp_path: Path, origin: str) -> None:
    files = HostBootFiles(tmp_path)
    path = Path(await keep(files, ONE, origin))
    assert path.parent.parent == tmp_path and path.is_file()
    assert [each.origin for each in await files.stored()] == [origin]


async def test_what_is_elsewhere_is_never_removed(tmp_path: Path) -> None:
    other = tmp_path / "other" / "vmlinuz"
    other.parent.mkdir()
    other.touch()
    await HostBootFiles(tmp_path / "boot").remove(str(other))
    assert other.exists()

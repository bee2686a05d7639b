"""Backups of disks that a guest is writing: what is read is one instant, no change is ever lost, nothing is
left."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from wirt.hypervisors.fake.backup import FakeLiveBackup
from wirt.hypervisors.qemu.backup import QemuLiveBackup
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.errors import IllegalState, NotFound, Unavailable
from wirt.model.lifecycle import State
from wirt.ports.blocks import BLOCK
from wirt.ports.live_backup import Export, LiveBackup
from wirt.ports.memory_blocks import MemoryDisk

from .conftest import FAKE, QEMU
from .rigs import FakeRig, QemuRig, Rig, Started, ready

SIZE = 16 * BLOCK
VDEVS = ("xvda", "xvdb")
LONG = [pytest.param(name, marks=[pytest.mark.real, pytest.mark.long]) for name in ("qemu", "qemu-7.2")]
every_driver = pytest.mark.parametrize("rig", [FAKE, *LONG], indirect=True)
now_and_always = pytest.mark.parametrize("rig", [FAKE, QEMU, LONG[1]], indirect=True)


class Guest:
    """A guest with a qcow2 and a raw disk that writes blocks of one letter, and is sure that they are written."""

    def __init__(self, rig: Rig, tmp_path: Path) -> None:
        self.rig = rig
        self._paths = {vdev: tmp_path / f"{vdev}.img" for vdev in VDEVS}
        self.scratch = tmp_path / "scratch"
        self.contents: dict[str, MemoryDisk] = {}
        self.started: Started
        self._offset = 0

    async def boot(self) -> None:
        formats = {"xvda": DiskFormat.QCOW2, "xvdb": DiskFormat.RAW}
        for vdev, path in self._paths.items():
            words = ["qemu-img", "create", "-q", "-f", str(formats[vdev]), str(path), str(SIZE)]
            subprocess.run(words, check=True, timeout=30)  # noqa: ASYNC221
            self.contents[str(path)] = MemoryDisk(SIZE)
        disks = tuple(DiskSpec(vdev, str(self._paths[vdev]), formats[vdev]) for vdev in VDEVS)
        self.started = await self.rig.start(replace(self.rig.config(), disks=disks))
        await self.rig.hypervisor.resume(self.domain)
        self._offset = await ready(self.rig, self.domain)

    @property
    def domain(self) -> UUID:
        return self.started.domain

    def live(self) -> LiveBackup:
        """That of the driver of the moment."""
        if isinstance(self.rig, FakeRig):
            return FakeLiveBackup(self.rig.world, self.contents)
        assert isinstance(self.rig, QemuRig)
        assert isinstance(self.rig.hypervisor, QemuHypervisor)
        return QemuLiveBackup(self.rig.hypervisor.run, self.rig.sandbox)

    async def write(self, vdev: str, block: int, letter: str) -> None:
        if isinstance(self.rig, FakeRig):
            self.contents[str(self._paths[vdev])].write(block * BLOCK, letter.encode() * BLOCK)
            return
        device = {"xvda": "vda", "xvdb": "vdb"}[vdev]
        console = self.rig.hypervisor.console(self.domain)
        line = (
            f"head -c {BLOCK} /dev/zero | tr '\\0' {letter} |"
            f" dd of=/dev/{device} bs={BLOCK} seek={block} iflag=fullblock conv=fsync,notrunc 2>/dev/null;"
            f" echo wrote-$((1+{block}))-{letter}-it\n"
        )
        await console.write(line.encode())
        said = f"wrote-{1 + block}-{letter}-it".encode()
        text = b""
        async for chunk in console.follow(self._offset):
            text += chunk.data
            self._offset = chunk.offset + len(chunk.data)
            if said in text:
                return

    async def begin(self, checkpoint: str, *, since: str | None = None) -> dict[str, Export]:
        found = await self.live().begin(self.domain, checkpoint, VDEVS, self.scratch, since=since)
        return {export.vdev: export for export in found}


@pytest.fixture
async def guest(rig: Rig, tmp_path: Path) -> Guest:
    made = Guest(rig, tmp_path)
    await made.boot()
    return made


def letters(export: Export) -> str:
    """What each block holds: its first letter, ``.`` for a zero."""
    blocks = export.open(False)
    try:
        content = blocks.read(0, export.size)
    finally:
        blocks.close()
    parts = [content[at : at + BLOCK] for at in range(0, export.size, BLOCK)]
    assert all(len(set(part)) == 1 for part in parts)
    return "".join("." if part[0] == 0 else chr(part[0]) for part in parts)


def changed(export: Export) -> set[int]:
    blocks = export.open(True)
    try:
        return set(numbers((extent.offset, extent.length) for extent in blocks.extents()))
    finally:
        blocks.close()


def allocated(export: Export) -> set[int]:
    blocks = export.open(False)
    try:
        return set(numbers((extent.offset, extent.length) for extent in blocks.extents()))
    finally:
        blocks.close()


def numbers(extents: Iterable[tuple[int, int]]) -> Iterable[int]:
    for offset, length in extents:
        yield from range(offset // BLOCK, -(-(offset + length) // BLOCK))


@now_and_always
async def test_what_is_read_is_the_instant_of_the_beginning_whatever_the_guest_writes(guest: Guest) -> None:
    await guest.write("xvda", 1, "a")
    await guest.write("xvdb", 2, "b")
    exports = await guest.begin("t.one")
    assert not any(export.changes for export in exports.values())
    await guest.write("xvda", 1, "x")
    await guest.write("xvda", 3, "x")
    await guest.write("xvdb", 2, "x")
    assert letters(exports["xvda"]) == ".a" + "." * 14
    assert letters(exports["xvdb"]) == "..b" + "." * 13
    assert 1 in allocated(exports["xvda"])
    assert 2 in allocated(exports["xvdb"])
    await guest.live().end(guest.domain, "t.one")
    assert (await guest.live().checkpoints(guest.domain)) == dict.fromkeys(VDEVS, frozenset({"t.one"}))

    await guest.write("xvda", 5, "c")
    exports = await guest.begin("t.two", since="t.one")
    await guest.write("xvda", 6, "d")
    assert changed(exports["xvda"]) == {1, 3, 5}
    assert changed(exports["xvdb"]) == {2}
    assert letters(exports["xvda"]) == ".x.x.c" + "." * 10
    await guest.live().end(guest.domain, "t.two")
    exports = await guest.begin("t.three", since="t.two")
    assert changed(exports["xvda"]) == {6}
    assert changed(exports["xvdb"]) == set()
    await guest.live().abandon(guest.domain)
    assert guest.rig.hypervisor.usage(guest.domain) is not None


@every_driver
async def test_an_abandoned_backup_loses_no_change(guest: Guest) -> None:
    await guest.begin("t.one")
    await guest.live().end(guest.domain, "t.one")
    await guest.write("xvda", 1, "a")
    await guest.begin("t.two", since="t.one")
    await guest.write("xvda", 2, "b")
    await guest.rig.lose_daemon()
    assert await guest.rig.hypervisor.adopt(guest.started.incarnation, guest.started.directory) is not None
    await guest.live().abandon(guest.domain, "t.two")
    await guest.live().abandon(guest.domain, "t.two")
    await guest.write("xvda", 3, "c")
    assert (await guest.live().checkpoints(guest.domain))["xvda"] == {"t.one"}
    exports = await guest.begin("t.three", since="t.one")
    assert changed(exports["xvda"]) == {1, 2, 3}
    assert letters(exports["xvda"]) == ".abc" + "." * 12
    await guest.live().abandon(guest.domain)


@every_driver
async def test_a_backup_that_was_never_ended_is_taken_back_by_the_next(guest: Guest) -> None:
    await guest.begin("t.one")
    await guest.live().end(guest.domain, "t.one")
    await guest.write("xvdb", 4, "a")
    await guest.begin("t.two", since="t.one")
    await guest.rig.lose_daemon()
    assert await guest.rig.hypervisor.adopt(guest.started.incarnation, guest.started.directory) is not None
    exports = await guest.begin("t.three", since="t.one")
    assert changed(exports["xvdb"]) == {4}
    await guest.live().abandon(guest.domain)


@every_driver
async def test_two_places_have_checkpoints_of_their_own(guest: Guest) -> None:
    for place in ("t", "u"):
        await guest.begin(f"{place}.one")
        await guest.live().end(guest.domain, f"{place}.one")
        await guest.write("xvda", 1, "a")
    exports = await guest.begin("t.two", since="t.one")
    assert changed(exports["xvda"]) == {1}
    await guest.live().abandon(guest.domain, "t.two")
    assert (await guest.live().checkpoints(guest.domain))["xvda"] == {"t.one", "u.one"}


@every_driver
async def test_a_paused_guest_stays_paused_and_a_running_one_runs_on(guest: Guest) -> None:
    await guest.begin("t.one")
    await guest.live().abandon(guest.domain, "t.one")
    assert (await guest.live().checkpoints(guest.domain))["xvda"] == frozenset()
    await guest.write("xvda", 1, "a")  # it runs
    await guest.rig.hypervisor.pause(guest.domain)
    exports = await guest.begin("t.two")
    assert letters(exports["xvda"])[1] == "a"
    await guest.live().end(guest.domain, "t.two")
    await guest.rig.changes.until(guest.domain, State.PAUSED)


@every_driver
async def test_what_is_not_there_is_told(guest: Guest) -> None:
    with pytest.raises(NotFound, match="xvdz"):
        await guest.live().begin(guest.domain, "t.one", ("xvdz",), guest.scratch)
    await guest.rig.hypervisor.destroy(guest.domain)
    with pytest.raises(IllegalState):
        await guest.begin("t.one")


@pytest.fixture
def small_place(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "scratch"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "wirt-test", str(place)], check=True, timeout=10)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, timeout=10)


@pytest.mark.root
@pytest.mark.parametrize("rig", LONG, indirect=True)
async def test_where_nothing_more_can_be_kept_aside_the_backup_breaks_and_not_the_guest(
    small_place: Path, guest: Guest
) -> None:
    for block in range(6):
        await guest.write("xvdb", block, "a")
    exports = await guest.begin("t.one")
    for block in range(6):
        await guest.write("xvdb", block, "b")
    with pytest.raises(Unavailable):
        letters(exports["xvdb"])
    await guest.live().abandon(guest.domain, "t.one")
    await guest.write("xvdb", 7, "c")
    exports = await guest.begin("t.two")
    assert letters(exports["xvdb"])[:8] == "bbbbbb.c"
    await guest.live().abandon(guest.domain, "t.two")

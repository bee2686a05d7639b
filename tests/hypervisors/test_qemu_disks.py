"""What only a real QEMU can show of disks that change while their guest runs: no byte is lost, images are sound,
and QEMU has nothing open that it should not have."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.errors import HypervisorError, IllegalState, Shortage
from wirt.model.lifecycle import State
from wirt.model.storage import Volume
from wirt.model.units import MIB
from wirt.plan.audit_files import descriptors
from wirt.plan.engine import DiskEngine
from wirt.ports.hypervisor import Observed
from wirt.sandbox import record
from wirt.sandbox.observe import ProcObserver

from .conftest import OLD, OLD_LONG, QEMU
from .rigs import QemuRig, Started, eventually, ready
from .test_contract_disks import QCOW2, RAW, chain, filled, nothing, with_disks

pytestmark = pytest.mark.real
every_qemu = pytest.mark.parametrize("rig", [QEMU, OLD], indirect=True)


async def disk(rig: QemuRig, started: Started, verb: str, offset: int, size: int, seed: int) -> None:
    answer = await rig.command(started, f"disk-{verb} vda {offset} {size} {seed}", within_s=60)
    assert "ok=1" in answer, f"{verb} at {offset}: {answer!r}"


def sound(*paths: str) -> None:
    for path in paths:
        if path.endswith(".qcow2"):
            subprocess.run(("qemu-img", "check", "-q", path), check=True)


def open_files(started: Started) -> set[tuple[str, bool]]:
    """Images that QEMU has open: which, and whether for writing."""
    pid, found = started.incarnation.pid, set()
    for place in Path(f"/proc/{pid}/fd").iterdir():
        path = str(place.readlink())
        if path.startswith(str(started.directory.parents[1])) and "/runs/" not in path:
            flags = Path(f"/proc/{pid}/fdinfo/{place.name}").read_text().split("flags:")[1].split()[0]
            found.add((Path(path).name, int(flags, 8) & os.O_ACCMODE != os.O_RDONLY))
    return found


def nothing_strange(rig: QemuRig, started: Started) -> None:
    """As wirt audit sees it, where there is a jail."""
    planned = record.read(started.directory)
    if planned is None:
        return
    pid, ticks = started.incarnation.pid, started.incarnation.started_ticks
    assert pid is not None and ticks is not None
    seen = ProcObserver().observe(pid, ticks, [file.path for file in planned.handed])
    assert seen is not None
    found = next(finding for finding in descriptors(planned, seen, frozenset(), 1) if finding.what == "open files")
    assert "strange" not in found.found, found


@pytest.mark.parametrize("rig", [QEMU, OLD_LONG], indirect=True)
async def test_no_byte_is_lost_while_a_guest_writes_its_disk_and_the_disk_changes(rig: QemuRig) -> None:
    old = filled(rig.image("old.img", 24 * MIB, RAW))
    started = await with_disks(rig, old)
    live, domain = rig.live_disks, started.domain
    await ready(rig, domain)
    await disk(rig, started, "write", 0, 4 * MIB, 1)

    moved = rig.image("moved.qcow2", 24 * MIB, QCOW2)
    writing = asyncio.create_task(disk(rig, started, "write", 2 * MIB, 16 * MIB, 2))
    await live.move(domain, "xvda", moved, nothing, bytes_per_s=32 * MIB)
    await writing
    assert open_files(started) == {("moved.qcow2", True)}

    layers = [moved.path]
    for seed in (3, 4):
        below = replace(moved, path=layers[0])
        over = rig.image(f"{seed}.qcow2", 24 * MIB, QCOW2, below)
        writing = asyncio.create_task(disk(rig, started, "write", seed * MIB, MIB, seed))
        await live.snapshot(domain, {"xvda": over})
        await writing
        layers.insert(0, over.path)
        await disk(rig, started, "write", (seed + 8) * MIB, MIB, seed)
    assert open_files(started) == {("4.qcow2", True), ("3.qcow2", False), ("moved.qcow2", False)}
    nothing_strange(rig, started)

    writing = asyncio.create_task(disk(rig, started, "write", 20 * MIB, 2 * MIB, 5))
    await live.merge(domain, "xvda", layers.pop(1), nothing)
    await writing
    assert open_files(started) == {("4.qcow2", True), ("moved.qcow2", False)}
    sound(layers[1])
    writing = asyncio.create_task(disk(rig, started, "write", 22 * MIB, MIB, 6))
    await live.merge(domain, "xvda", layers.pop(0), nothing)
    await writing
    assert open_files(started) == {("moved.qcow2", True)}
    assert await chain(rig, started) == (moved.path,)
    nothing_strange(rig, started)

    await live.resize(domain, "xvda", 32 * MIB)
    await disk(rig, started, "write", 30 * MIB, 2 * MIB, 7)
    for offset, size, seed in (
        (0, 2, 1),
        (2, 1, 2),
        (3, 1, 3),
        (4, 1, 4),
        (5, 6, 2),
        (11, 1, 3),
        (12, 1, 4),
        (13, 5, 2),
        (20, 2, 5),
        (22, 1, 6),
        (30, 2, 7),
    ):
        await disk(rig, started, "verify", offset * MIB, size * MIB, seed)
    await rig.hypervisor.destroy(domain)
    sound(moved.path)
    assert random.Random(1).randbytes(24 * MIB)[23 * MIB :] == read(moved, 23 * MIB, MIB), "what it never wrote"


def read(volume: Volume, offset: int, size: int) -> bytes:
    raw = Path(f"{volume.path}.raw")
    subprocess.run(("qemu-img", "convert", "-O", "raw", volume.path, str(raw)), check=True)
    return raw.read_bytes()[offset : offset + size]


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    backing = tmp_path / "device"
    with backing.open("wb") as file:
        file.truncate(4 * MIB)
    done = subprocess.run(("losetup", "-f", "--show", backing), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs a loop device: modprobe loop ({done.stderr.strip()})")
    yield Path(done.stdout.strip())
    subprocess.run(("losetup", "-d", done.stdout.strip()), check=True)


@every_qemu
async def test_a_disk_moves_to_a_device_and_grows_with_it(rig: QemuRig, loop_device: Path) -> None:
    old = filled(rig.image("old.img", 4 * MIB, RAW))
    content = Path(old.path).read_bytes()
    started = await with_disks(rig, old)
    target = Volume("tests", "device", RAW, 4 * MIB, 0, str(loop_device))
    await rig.live_disks.move(started.domain, "xvda", target, nothing)
    assert await chain(rig, started) == (str(loop_device),)
    assert loop_device.read_bytes() == content
    os.truncate(Path(old.path).parent / "device", 6 * MIB)
    await asyncio.to_thread(subprocess.run, ("losetup", "-c", str(loop_device)), check=True)
    await rig.live_disks.resize(started.domain, "xvda", 6 * MIB)
    assert (await rig.live_disks.disks(started.domain))[0].size == 6 * MIB
    nothing_strange(rig, started)
    await rig.live_disks.move(started.domain, "xvda", rig.image("back.img", 6 * MIB, RAW), nothing)
    assert open_files(started) == {("back.img", True)}
    await rig.hypervisor.destroy(started.domain)


@every_qemu
async def test_a_guest_that_was_paused_all_along_keeps_its_disk_too(rig: QemuRig) -> None:
    """QEMU 7.2 closes nothing meanwhile, and says so where that is in the way."""
    old = filled(rig.image("old.img", 4 * MIB, RAW))
    specs = (DiskSpec(vdev="xvda", target=old.path),)
    started = await rig.start(replace(rig.config(), disks=specs))
    over = rig.image("over.qcow2", 4 * MIB, QCOW2, old)
    await rig.live_disks.snapshot(started.domain, {"xvda": over})
    try:
        await rig.live_disks.merge(started.domain, "xvda", over.path, nothing)
    except IllegalState as error:
        assert "lets go of a file only while it runs" in error.message
        assert await chain(rig, started) == (over.path, old.path)
        await rig.hypervisor.resume(started.domain)
        await rig.live_disks.merge(started.domain, "xvda", over.path, nothing)
    assert await chain(rig, started) == (old.path,)
    assert open_files(started) == {("old.img", True)}


async def test_whether_room_is_given_back_is_what_its_engine_says_and_a_shared_disk_stays_where_it_is(
    qemu_rig: QemuRig,
) -> None:
    rig = qemu_rig
    old, shared = rig.image("old.img", 4 * MIB, RAW), rig.image("shared.img", 4 * MIB, RAW)
    specs = (
        DiskSpec(vdev="xvda", target=old.path, discard=False),
        DiskSpec(vdev="xvdb", target=shared.path, specification="shared"),
    )
    started = await rig.start(replace(rig.config(), disks=specs))
    await rig.hypervisor.resume(started.domain)
    new = [rig.image(f"{number}.img", 4 * MIB, RAW) for number in range(3)]
    with pytest.raises(IllegalState, match="shared"):
        await rig.live_disks.move(started.domain, "xvdb", new[0], nothing)
    for volume in new:
        await rig.live_disks.move(started.domain, "xvda", volume, nothing, engine=DiskEngine(discard=False))
    run = rig.hypervisor.run(started.domain)  # type: ignore[attr-defined]
    nodes = await run.monitor.execute("query-named-block-nodes", {"flat": True})
    assert any(node["node-name"].startswith("fk") for node in nodes), "it is remembered that room is kept"
    assert len([node for node in nodes if node["node-name"].startswith("disk-xvda")]) == 1


async def test_a_chain_is_known_to_the_next_daemon_whatever_its_files_are_called_now(qemu_rig: QemuRig) -> None:
    rig = qemu_rig
    base = rig.image("base.qcow2", 4 * MIB, DiskFormat.QCOW2)
    started = await with_disks(rig, base)
    over = rig.image("over.qcow2", 4 * MIB, QCOW2, base)
    await rig.live_disks.snapshot(started.domain, {"xvda": over})
    names = [str(Path(base.path).parent / name) for name in ("x", "base.qcow2", "frozen.qcow2")]
    rig.rename(over.path, names[0])
    rig.rename(base.path, names[2])
    rig.rename(names[0], names[1])
    await rig.lose_daemon()
    assert await rig.hypervisor.adopt(started.incarnation, started.directory) == Observed(State.RUNNING)
    assert await chain(rig, started) == (names[1], names[2])
    await rig.live_disks.merge(started.domain, "xvda", names[1], nothing)
    assert await chain(rig, started) == (names[2],)
    nothing_strange(rig, started)
    await eventually(lambda: open_files(started) == {("frozen.qcow2", True)})


@every_qemu
async def test_a_save_without_room_leaves_no_file_and_the_guest_as_it_was(rig: QemuRig) -> None:
    started = await with_disks(rig, rig.image("old.img", 4 * MIB, RAW))
    await rig.hypervisor.pause(started.domain)
    place = Path(rig.full_image("nothing", 4096, 256 * 1024).path).parent / "saved"
    with pytest.raises((Shortage, HypervisorError)) as caught:
        await rig.live_disks.save_memory(started.domain, place, nothing)
    assert not place.exists(), caught
    nothing_strange(rig, started)
    over = rig.image("over.qcow2", 4 * MIB, QCOW2, rig.image("base.img", 4 * MIB, RAW))
    await rig.live_disks.snapshot(started.domain, {"xvda": over})
    await rig.hypervisor.resume(started.domain)
    await rig.hypervisor.pause(started.domain)
    saving = asyncio.create_task(
        rig.live_disks.save_memory(started.domain, Path(over.path).parent / "cancelled", nothing)
    )
    await asyncio.sleep(0.01)
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)
    await rig.hypervisor.resume(started.domain)

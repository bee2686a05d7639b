"""Disks of guests that run: told of, made larger, moved, snapshot, merged."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from wirt.hypervisors.qemu import nodes
from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.engine import Aio, CacheMode, DetectZeroes
from wirt.model.errors import HypervisorError, IllegalState, LaunchFailed, NotFound, Shortage
from wirt.model.lifecycle import State
from wirt.model.storage import Volume
from wirt.model.units import MIB
from wirt.plan.engine import DiskEngine
from wirt.ports.live_disks import LiveDisk
from wirt.storage.media import media_of

from .conftest import FAKE, OLD, OLD_LONG, QEMU
from .rigs import READY, Rig, Started, ready

every_driver = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)
RAW, QCOW2 = DiskFormat.RAW, DiskFormat.QCOW2


async def with_disks(rig: Rig, *volumes: Volume, writable: bool = True) -> Started:
    specs = tuple(
        DiskSpec(vdev=f"xvd{letter}", target=volume.path, format=volume.format, writable=writable)
        for letter, volume in zip("abc", volumes, strict=False)
    )
    started = await rig.start(replace(rig.config(), disks=specs))
    await rig.hypervisor.resume(started.domain)
    return started


async def chain(rig: Rig, started: Started, vdev: str = "xvda") -> tuple[str, ...]:
    return next(disk.chain for disk in await rig.live_disks.disks(started.domain) if disk.vdev == vdev)


def nothing(share: float) -> None:
    pass


def filled(volume: Volume, seed: int = 1) -> Volume:
    """With bytes that can't be left out of a copy, as zeros are."""
    Path(volume.path).write_bytes(random.Random(seed).randbytes(volume.size))
    return volume


async def begin_move(rig: Rig, started: Started, target: Volume) -> asyncio.Task[None]:
    """One that takes half a minute, in its middle. QEMU holds to a rate only after the first 16 MiB."""
    begun = asyncio.Event()
    move = rig.live_disks.move(started.domain, "xvda", target, lambda share: begun.set(), bytes_per_s=MIB)
    task = asyncio.create_task(move)
    await asyncio.wait_for(begun.wait(), 10)
    return task


@every_driver
async def test_disks_are_told_with_what_they_stand_on(rig: Rig) -> None:
    base = rig.image("base.qcow2", 4 * MIB, QCOW2)
    top, plain = rig.image("top.qcow2", 4 * MIB, QCOW2, base), rig.image("plain.img", 2 * MIB, RAW)
    started = await with_disks(rig, top, plain)
    assert await rig.live_disks.disks(started.domain) == (
        LiveDisk("xvda", 4 * MIB, True, (top.path, base.path)),
        LiveDisk("xvdb", 2 * MIB, True, (plain.path,)),
    )


@every_driver
async def test_a_moved_disk_is_its_copy_and_the_old_one_is_free(rig: Rig) -> None:
    old, new = rig.image("old.img", 4 * MIB, RAW), rig.image("new.qcow2", 4 * MIB, QCOW2)
    started = await with_disks(rig, old)
    told: list[float] = []
    await rig.live_disks.move(started.domain, "xvda", new, told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert await chain(rig, started) == (new.path,)
    other = await with_disks(rig, old)
    assert await chain(rig, other) == (old.path,)


@every_driver
async def test_a_disk_is_as_large_as_the_volume_that_it_moves_into(rig: Rig) -> None:
    """Pools make volumes in steps, such as LVM's extents."""
    old, new = filled(rig.image("old.img", 3 * MIB, RAW)), rig.image("new.img", 4 * MIB, RAW)
    started = await with_disks(rig, old)
    await rig.live_disks.move(started.domain, "xvda", new, nothing)
    [now] = await rig.live_disks.disks(started.domain)
    assert (now.chain, now.size) == ((new.path,), 4 * MIB)
    await rig.live_disks.resize(started.domain, "xvda", 5 * MIB)
    [now] = await rig.live_disks.disks(started.domain)
    assert now.size == 5 * MIB


@every_driver
async def test_a_cancelled_move_leaves_the_old_disk_and_lets_go_of_the_copy(rig: Rig) -> None:
    old, new = filled(rig.image("old.img", 48 * MIB, RAW)), rig.image("new.img", 48 * MIB, RAW)
    started = await with_disks(rig, old)
    move = await begin_move(rig, started, new)
    with pytest.raises(IllegalState, match="being moved"):
        await rig.live_disks.move(started.domain, "xvda", rig.image("third.img", 48 * MIB, RAW), nothing)
    move.cancel()
    with pytest.raises(asyncio.CancelledError):
        await move
    assert await chain(rig, started) == (old.path,)
    other = await with_disks(rig, new)
    assert await chain(rig, other) == (new.path,)


@every_driver
async def test_a_copy_under_way_ends_with_its_daemon_and_the_guest_keeps_its_disk(rig: Rig) -> None:
    old, new = filled(rig.image("old.img", 48 * MIB, RAW)), rig.image("new.img", 48 * MIB, RAW)
    started = await with_disks(rig, old)
    move = await begin_move(rig, started, new)
    await rig.lose_daemon()
    move.cancel()
    await asyncio.gather(move, return_exceptions=True)
    await rig.hypervisor.adopt(started.incarnation, started.directory)
    assert await chain(rig, started) == (old.path,)
    other = await with_disks(rig, new)
    assert await chain(rig, other) == (new.path,)
    await rig.live_disks.move(started.domain, "xvda", rig.image("third.img", 48 * MIB, RAW), nothing)


@every_driver
async def test_a_target_without_room_is_told_and_let_go_of(rig: Rig) -> None:
    old, full = filled(rig.image("old.img", 4 * MIB, RAW)), rig.full_image("full.img", 4 * MIB, MIB)
    started = await with_disks(rig, old)
    with pytest.raises(Shortage, match="full"):
        await rig.live_disks.move(started.domain, "xvda", full, nothing)
    assert await chain(rig, started) == (old.path,)
    other = await with_disks(rig, full)
    assert await chain(rig, other) == (full.path,)


@every_driver
async def test_several_disks_go_on_in_overlays_or_none_does(rig: Rig, tmp_path: Path) -> None:
    first, second = rig.image("first.qcow2", 4 * MIB, QCOW2), rig.image("second.img", 2 * MIB, RAW)
    started = await with_disks(rig, first, second)
    frozen = replace(first, name="frozen.qcow2", path=str(tmp_path / "frozen.qcow2"))
    rig.rename(first.path, frozen.path)
    overlays = {
        "xvda": rig.image("first.qcow2", 4 * MIB, QCOW2, frozen),
        "xvdb": rig.image("over.qcow2", 2 * MIB, QCOW2, second),
    }
    with pytest.raises(NotFound):
        await rig.live_disks.snapshot(started.domain, {**overlays, "xvdc": overlays["xvdb"]})
    assert await chain(rig, started) == (frozen.path,)
    await rig.live_disks.snapshot(started.domain, overlays)
    assert await chain(rig, started, "xvda") == (first.path, frozen.path)
    assert await chain(rig, started, "xvdb") == (overlays["xvdb"].path, second.path)


@every_driver
async def test_any_layer_but_the_lowest_is_merged_into_the_one_below(rig: Rig) -> None:
    base = rig.image("base.img", 4 * MIB, RAW)
    started = await with_disks(rig, base)
    paths = [base.path]
    for name in ("one", "two", "three"):
        below = replace(base, path=paths[0], format=RAW if len(paths) == 1 else QCOW2)
        over = rig.image(f"{name}.qcow2", 4 * MIB, QCOW2, below)
        await rig.live_disks.snapshot(started.domain, {"xvda": over})
        paths.insert(0, over.path)
    assert await chain(rig, started) == tuple(paths)
    with pytest.raises(NotFound):
        await rig.live_disks.merge(started.domain, "xvda", "/nowhere", nothing)
    with pytest.raises(IllegalState):
        await rig.live_disks.merge(started.domain, "xvda", base.path, nothing)
    for at in (1, 0, 0):
        await rig.live_disks.merge(started.domain, "xvda", paths.pop(at), nothing)
        assert await chain(rig, started) == tuple(paths)


@every_driver
async def test_a_disk_grows_and_never_shrinks_under_its_guest(rig: Rig) -> None:
    old = rig.image("old.qcow2", 4 * MIB, QCOW2)
    started = await with_disks(rig, old)
    await rig.live_disks.resize(started.domain, "xvda", 8 * MIB)
    assert (await rig.live_disks.disks(started.domain))[0].size == 8 * MIB
    with pytest.raises(HypervisorError):
        await rig.live_disks.resize(started.domain, "xvda", 2 * MIB)


@every_driver
async def test_what_is_not_there_is_named(rig: Rig) -> None:
    volume = rig.image("old.img", 4 * MIB, RAW)
    started = await with_disks(rig, volume)
    with pytest.raises(NotFound, match="xvdz"):
        await rig.live_disks.resize(started.domain, "xvdz", 8 * MIB)
    with pytest.raises(IllegalState):
        await rig.live_disks.disks(uuid4())
    await rig.hypervisor.destroy(started.domain)
    with pytest.raises(IllegalState):
        await rig.live_disks.move(started.domain, "xvda", volume, nothing)


@pytest.mark.parametrize("rig", [FAKE, QEMU, OLD_LONG], indirect=True)
async def test_a_saved_guest_goes_on_where_it_was(rig: Rig, tmp_path: Path) -> None:
    volume, saved = rig.image("root.img", 4 * MIB, RAW), tmp_path / "saved"
    started = await with_disks(rig, volume)
    domain, told = started.domain, list[float]()
    await ready(rig, domain)
    await rig.remember(started)
    with pytest.raises(IllegalState, match="runs"):
        await rig.live_disks.save_memory(domain, saved, told.append)
    await rig.hypervisor.pause(domain)
    await rig.live_disks.save_memory(domain, saved, told.append)
    assert told[-1] == 1.0
    await rig.hypervisor.resume(domain)
    assert await rig.remembers(started), "the one that was saved goes on as well"
    await rig.hypervisor.destroy(domain)
    again = await rig.start(started.config, domain, memory=saved)
    assert again.incarnation.state is State.PAUSED
    await rig.hypervisor.resume(domain)
    assert await rig.remembers(again)
    assert READY not in rig.hypervisor.console(domain).read(0).data, "it did not boot anew"
    assert await chain(rig, again) == (volume.path,)
    await rig.hypervisor.pause(domain)
    await rig.live_disks.save_memory(domain, saved, told.append)
    await rig.hypervisor.destroy(domain)


@every_driver
async def test_what_is_no_memory_starts_no_guest(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "saved").write_bytes(b"nothing of the kind")
    for name in ("saved", "absent"):
        with pytest.raises(LaunchFailed):
            await rig.start(rig.config(), memory=tmp_path / name)
    started = await with_disks(rig, rig.image("root.img", 4 * MIB, RAW))
    await rig.hypervisor.pause(started.domain)
    with pytest.raises(HypervisorError):
        await rig.live_disks.save_memory(started.domain, tmp_path / "no" / "where", nothing)
    await rig.hypervisor.resume(started.domain)


DIRECT = DiskEngine(CacheMode.NONE, Aio.NATIVE, discard=True, detect_zeroes=DetectZeroes.UNMAP)
KEEPING = DiskEngine(CacheMode.DIRECTSYNC, Aio.THREADS, discard=False)
BUFFERED = DiskEngine()


def served(rig: Rig, started: Started, path: str) -> tuple[bool, bool]:
    """Whether QEMU has ``path`` open past the host's memory (proc(5), fdinfo), and whether it has set up the
    kernel's AIO, as it does before its first request to any file."""
    pid = started.incarnation.pid
    assert pid is not None
    found = [int(place.name) for place in Path(f"/proc/{pid}/fd").iterdir() if os.path.realpath(place) == path]
    assert found, f"{path} is not open"
    native = "/[aio]" in Path(f"/proc/{pid}/maps").read_text()
    return all(nodes.direct_flag(pid, descriptor) for descriptor in found), native


@pytest.mark.parametrize("rig", [QEMU, OLD], indirect=True)
async def test_a_new_layer_is_served_as_is_asked_and_can_be_left_again(rig: Rig) -> None:
    base = filled(rig.image("base.img", 4 * MIB, RAW))
    if media_of([base.path])[base.path].direct is not None:
        pytest.skip("needs a file system with direct access under pytest's directory: --basetemp=/var/tmp/wirt")
    started = await with_disks(rig, base)
    assert served(rig, started, base.path) == (False, False)
    one = rig.image("one.qcow2", 4 * MIB, QCOW2, base)
    await rig.live_disks.snapshot(started.domain, {"xvda": one}, {"xvda": DIRECT})
    assert served(rig, started, one.path)[0]
    # What is direct goes below another, and is written again once that is merged into it.
    two = rig.image("two.qcow2", 4 * MIB, QCOW2, replace(one, format=QCOW2))
    await rig.live_disks.snapshot(started.domain, {"xvda": two}, {"xvda": KEEPING})
    assert served(rig, started, two.path)[0]
    await rig.live_disks.merge(started.domain, "xvda", two.path, nothing)
    assert await chain(rig, started) == (one.path, base.path)
    assert served(rig, started, one.path)[0]
    for name, engine in (("plain", BUFFERED), ("fast", DIRECT), ("kept", KEEPING)):
        new = rig.image(f"{name}.img", 4 * MIB, RAW)
        await rig.live_disks.move(started.domain, "xvda", new, nothing, engine=engine)
        assert await chain(rig, started) == (new.path,)
        assert served(rig, started, new.path) == (engine.cache.direct, True)
        assert Path(new.path).read_bytes() == Path(base.path).read_bytes()

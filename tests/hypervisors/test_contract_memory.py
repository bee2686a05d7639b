"""A guest's memory through a pipe, into a saved guest's file and out of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from wirt.model.errors import HypervisorError, IllegalState, LaunchFailed
from wirt.model.lifecycle import State
from wirt.storage.save_files import HostSaveFiles

from .conftest import FAKE, OLD, OLD_LONG, QEMU
from .rigs import READY, Rig, Started, ready

every_driver = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)
FILES = HostSaveFiles()


def nothing(share: float) -> None:
    pass


async def save(rig: Rig, started: Started, path: Path) -> None:
    async def fill(descriptor: int) -> bytes:
        await rig.live_disks.stream_memory(started.domain, descriptor, nothing)
        return b"tail"

    await FILES.write(str(path), b"header", fill)


async def load(rig: Rig, started: Started, path: Path) -> Started:
    async with FILES.memory(str(path), nothing) as stream:
        return await rig.start(started.config, started.domain, memory=stream)


async def a_guest(rig: Rig) -> Started:
    """It ran for a moment."""
    started = await rig.start(rig.config())
    await rig.hypervisor.resume(started.domain)
    await rig.hypervisor.pause(started.domain)
    return started


@every_driver
async def test_memory_goes_through_a_pipe_and_comes_out_of_one(rig: Rig, tmp_path: Path) -> None:
    started, saved = await a_guest(rig), tmp_path / "saved"
    await save(rig, started, saved)
    facts = await FILES.facts(str(saved))
    assert facts.file_bytes <= facts.plain_bytes + 1000
    await rig.hypervisor.resume(started.domain)
    with pytest.raises(IllegalState, match="runs"):
        await save(rig, started, tmp_path / "again")
    await rig.hypervisor.destroy(started.domain)
    again = await load(rig, started, saved)
    assert again.incarnation.state is State.PAUSED
    await rig.hypervisor.resume(again.domain)
    await rig.hypervisor.pause(again.domain)
    await save(rig, again, tmp_path / "again")


@pytest.mark.long
@pytest.mark.parametrize("rig", [FAKE, QEMU, OLD_LONG], indirect=True)
async def test_a_guest_has_all_of_its_memory_still(rig: Rig, tmp_path: Path) -> None:
    started = await rig.start(rig.config())
    await rig.hypervisor.resume(started.domain)
    await ready(rig, started.domain)
    await rig.remember(started)
    await rig.hypervisor.pause(started.domain)
    await save(rig, started, tmp_path / "saved")
    await rig.hypervisor.destroy(started.domain)
    again = await load(rig, started, tmp_path / "saved")
    await rig.hypervisor.resume(again.domain)
    assert await rig.remembers(again)
    assert READY not in rig.hypervisor.console(again.domain).read(0).data, "it did not boot anew"


@every_driver
async def test_a_guest_whose_memory_nobody_takes_goes_on_and_can_be_saved_later(rig: Rig, tmp_path: Path) -> None:
    started = await a_guest(rig)
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(HypervisorError):
        await rig.live_disks.stream_memory(started.domain, writing, nothing)
    os.close(writing)
    await rig.hypervisor.resume(started.domain)
    await rig.hypervisor.pause(started.domain)
    await save(rig, started, tmp_path / "saved")


@pytest.mark.parametrize("rig", [QEMU, OLD], indirect=True)
async def test_a_save_that_is_cancelled_in_its_middle_leaves_the_guest_able_to_go_on(
    rig: Rig, tmp_path: Path
) -> None:
    """The pipe is full, and nobody reads."""
    started = await a_guest(rig)
    reading, writing = os.pipe()
    try:
        task = asyncio.create_task(rig.live_disks.stream_memory(started.domain, writing, nothing))
        await asyncio.to_thread(os.read, reading, 1)
        task.cancel()
        drained = asyncio.create_task(asyncio.to_thread(_drain, reading))
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        os.close(writing)
    await drained
    await rig.hypervisor.resume(started.domain)
    await rig.hypervisor.pause(started.domain)
    await save(rig, started, tmp_path / "saved")


@every_driver
async def test_a_stream_that_ends_too_early_starts_no_guest(rig: Rig, tmp_path: Path) -> None:
    async def fill(descriptor: int) -> bytes:
        await asyncio.to_thread(os.write, descriptor, b"QEVM\0\0\0\3 and then nothing")
        return b"tail"

    started = await a_guest(rig)
    await rig.hypervisor.destroy(started.domain)
    await FILES.write(str(tmp_path / "saved"), b"header", fill)
    with pytest.raises(LaunchFailed):
        await load(rig, started, tmp_path / "saved")
    assert not rig.exists(started)


def _drain(descriptor: int) -> None:
    with os.fdopen(descriptor, "rb") as pipe:
        pipe.read()

"""What arrives is what was sent: all memory of a guest that writes it all the time, byte for byte.

QEMU 7.2 under emulation loses a page of a block that is a multiple of 256 KiB if the guest goes on writing it
through an entry of the translation buffer that it had before the page was last looked at (QEMU, 03bfc2188f). So
the guest does what it takes: it writes a region in turn, and one page over and over. The last test takes away what
keeps wirt's guests from that, and finds the pages missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from wirt.hypervisors.qemu import sending
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.run import Run
from wirt.model.memory import GivenMemory
from wirt.ports.migration import Course

from .rigs import QemuRig, Rig, Started, ready
from .test_contract_migration import Journey, Pair, pair

__all__ = ["pair"]

T = TypeVar("T")
REAL, LONG = pytest.mark.real, pytest.mark.long
WAYS = ("qemu qemu", "qemu-7.2 qemu-7.2", "qemu-7.2 qemu")
MEMORY_MIB, DIRTY_MB, DIRTY_MB_PER_S = 96, 16, 20
TRIES = 10
PLUGGED_AT = 4 << 30
"""Where a guest of less memory than that has what is plugged in (QEMU, hw/i386/pc.c)."""
MORE_MIB = 128
QUICK = Course()
SLOW = Course(bytes_per_s=40 << 20, max_downtime_ms=30)
"""So that what the guest changes is sent in many rounds."""


def digest(memory: memoryview) -> str:
    return hashlib.blake2b(memory).hexdigest()


async def memory(rig: Rig, started: Started, look: Callable[[memoryview], T], plugged_mib: int = 0) -> T:
    """What ``look`` makes of all memory of a guest that stands still, as its own QEMU reads it; or of so much that
    was plugged in."""
    assert isinstance(rig.hypervisor, QemuHypervisor)
    size = started.config.memory_mib * (1 << 20) + (started.given.padding_kib << 10)
    begin = 0
    if plugged_mib:
        begin, size = PLUGGED_AT, plugged_mib << 20
    run = rig.hypervisor.run(started.domain)
    descriptor = os.memfd_create("memory")
    try:
        await run.monitor.hand_over("core", descriptor)
        arguments = {"paging": False, "protocol": "fd:core", "begin": begin, "length": size}
        await run.monitor.execute("dump-guest-memory", arguments, deadline_s=60)
        return await asyncio.to_thread(_looked, descriptor, size, look)
    finally:
        os.close(descriptor)


def _looked(descriptor: int, size: int, look: Callable[[memoryview], T]) -> T:
    """Without the notes before it, which tell of the processor and QEMU's own version."""
    whole = os.fstat(descriptor).st_size
    assert whole > size
    with (
        mmap.mmap(descriptor, whole, prot=mmap.PROT_READ) as mapped,
        memoryview(mapped) as view,
        view[whole - size :] as memory,
    ):
        return look(memory)


async def both(
    pair: Pair, here: Started, there: Started, look: Callable[[memoryview], T], plugged_mib: int = 0
) -> tuple[T, T]:
    """The same of what was sent, and of what arrived."""
    sent, arrived = await asyncio.gather(
        memory(pair.here, here, look, plugged_mib), memory(pair.there, there, look, plugged_mib)
    )
    return sent, arrived


async def busy_guest(pair: Pair, padding_kib: int | None = None, more_mib: int = 0) -> Started:
    """A page that was given back would read as zeros here, and over there as what it held before: its guest minds
    neither, and this one gives none back."""
    assert isinstance(pair.here, QemuRig)
    config = replace(pair.here.config(), memory_mib=MEMORY_MIB, free_page_reporting=False, hotplug_mib=more_mib)
    given = None if padding_kib is None else GivenMemory(MEMORY_MIB, padding_kib, hotplug_mib=more_mib)
    started = await pair.here.start(config, given=given)
    await pair.here.hypervisor.resume(started.domain)
    await ready(pair.here, started.domain)
    if more_mib:
        await plug(pair.here, started, MEMORY_MIB + more_mib)
    for command in (f"dirty {DIRTY_MB} {DIRTY_MB_PER_S}", "spin-yield 1 10000 500"):
        assert "ok=1" in await pair.here.command(started, command, within_s=60)
    return started


async def to_and_fro(pair: Pair, times: int, course: Course) -> None:
    started = await busy_guest(pair)
    for number in range(times):
        journey = await Journey.begin(pair, started, course)
        await journey.send()
        await journey.finish()
        sent, arrived = await both(pair, started, journey.there, digest)
        assert sent == arrived, f"move {number} of {times}"
        await pair.there.hypervisor.resume(started.domain)
        await pair.here.hypervisor.destroy(started.domain)
        started, pair.here, pair.there = journey.there, pair.there, pair.here
        assert isinstance(pair.here, QemuRig)
        assert "ok=1" in await pair.here.command(started, "mem-verify", within_s=60)


@pytest.mark.parametrize("pair", [pytest.param("qemu-7.2 qemu", marks=REAL)], indirect=True)
async def test_no_byte_differs_after_twenty_moves(pair: Pair) -> None:
    await to_and_fro(pair, 20, QUICK)


@pytest.mark.parametrize("pair", [pytest.param(way, marks=(REAL, LONG)) for way in WAYS], indirect=True)
async def test_no_byte_differs_after_a_hundred_moves_of_many_rounds(pair: Pair) -> None:
    await to_and_fro(pair, 100, SLOW)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lets_it_go(run: Run) -> None:
        """wirt would refuse to move such a guest."""

    monkeypatch.setattr(sending, "check_keeps_pages", lets_it_go)


PADDED = pytest.mark.parametrize("padded", [False, True], ids=["a multiple of 256 KiB", "two pages more"])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("pair", [pytest.param("qemu-7.2 qemu-7.2", marks=(REAL, LONG))], indirect=True)
@PADDED
async def test_bytes_differ_if_memory_is_a_multiple_of_256_kib_and_only_then(pair: Pair, padded: bool) -> None:
    await differ_unless(pair, padded)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("pair", [pytest.param("qemu qemu", marks=(REAL, LONG))], indirect=True)
@PADDED
async def test_with_memory_that_is_plugged_in_bytes_differ_if_the_rest_is_a_multiple_of_256_kib_and_only_then(
    pair: Pair, padded: bool
) -> None:
    """Of any QEMU, for the rest is no longer the first of all memory. What is plugged in is, and never differs,
    though it is what the guest writes."""
    assert len(await differ_unless(pair, padded, MORE_MIB)) == TRIES


async def differ_unless(pair: Pair, padded: bool, more_mib: int = 0) -> set[str]:
    """The guest goes on where it was, each time. What was plugged in, as it was sent."""
    started = await busy_guest(pair, None if padded else 0, more_mib)
    assert (started.given.padding_kib != 0) == padded
    differed, plugged = [], set()
    for _ in range(TRIES):
        journey = await Journey.begin(pair, started, SLOW)
        await journey.send()
        await journey.finish()
        sent, arrived = await both(pair, started, journey.there, digest)
        differed.append(sent != arrived)
        if more_mib:
            sent, arrived = await both(pair, started, journey.there, digest, more_mib)
            assert sent == arrived
            plugged.add(sent)
        await journey.back()
    print(f"{sum(differed)} of {TRIES} moves differed")
    assert any(differed) != padded
    return plugged


async def plug(rig: QemuRig, started: Started, mib: int) -> None:
    balloons = rig.hypervisor.balloons
    async with asyncio.timeout(60):
        while not (await balloons.look(started.domain)).plugs:
            await asyncio.sleep(0.1)
        await balloons.ask(started.domain, mib)
        while "ok=1" not in await rig.command(started, f"dirty {DIRTY_MB} {DIRTY_MB_PER_S}", within_s=60):
            await asyncio.sleep(0.1)  # the guest has it, and takes it into use a moment later

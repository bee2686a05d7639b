"""What a real guest's memory is made of: freed pages are the host's again, and huge pages are the guest's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.machine import LinuxMemory
from wirt.model.memory import HugePages, HugePool
from wirt.model.units import MIB

from . import rigs
from .conftest import make_rig
from .rigs import QemuRig, Started, ready

RESERVED = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
PAGES = 64
AFTER_S = 90.0
pytestmark = [pytest.mark.real, pytest.mark.long]


@pytest.fixture
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QemuRig]:
    made = make_rig(request, "qemu", tmp_path)
    assert isinstance(made, QemuRig)
    yield made
    made.counters.close()
    await made.close()


async def resident_mib(rig: QemuRig, started: Started) -> int:
    await rig.counters.ask([started.domain])
    return rig.counters.read()[started.domain].resident_bytes // MIB


async def running(rig: QemuRig, mib: int, **more: object) -> Started:
    started = await rig.start(replace(rig.config(), memory_mib=mib, **more))  # type: ignore[arg-type]
    await rig.hypervisor.resume(started.domain)
    await ready(rig, started.domain)
    return started


async def test_memory_that_a_guest_has_freed_is_the_hosts_again(rig: QemuRig) -> None:
    started = await running(rig, 320, free_page_reporting=True)
    await rig.command(started, "dirty 160 0")
    async with asyncio.timeout(AFTER_S):
        while "dirtied=40960" not in await rig.command(started, "stat"):
            await asyncio.sleep(0.5)
    full = await resident_mib(rig, started)
    await rig.command(started, "dirty 1 0")
    async with asyncio.timeout(AFTER_S):
        while await resident_mib(rig, started) > full - 100:
            await asyncio.sleep(0.5)
    assert "ok=1" in await rig.command(started, "mem-verify", within_s=60)


@pytest.fixture
def pool() -> Iterator[HugePool]:
    """Some huge pages, which are given back afterwards."""
    before = LinuxMemory().huge().pool(2048)
    if before is None:
        pytest.skip("needs a kernel with huge pages of 2 MiB")
    try:
        RESERVED.write_text(str(before.total + PAGES))
    except OSError as error:
        pytest.skip(f"needs the right to set huge pages aside: {error.strerror}")
    try:
        now = LinuxMemory().huge().pool(2048)
        if now is None or now.left < PAGES:
            pytest.skip(f"needs {PAGES} huge pages, and the host's memory is too much in pieces")
        yield now
    finally:
        RESERVED.write_text(str(before.total))


async def test_huge_pages_are_the_guests_and_it_can_go_on_in_ordinary_ones(
    rig: QemuRig, pool: HugePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rigs, "HOST", replace(rigs.HOST, huge=LinuxMemory().huge()))
    started = await running(rig, 96, huge_pages=HugePages.TWO_MIB)
    now = LinuxMemory().huge().pool(2048)
    assert now is not None and pool.left - now.left == 48
    await rig.remember(started)
    await rig.hypervisor.pause(started.domain)
    await rig.live_disks.save_memory(started.domain, tmp_path / "memory", lambda share: None)
    await rig.hypervisor.destroy(started.domain)
    now = LinuxMemory().huge().pool(2048)
    assert now is not None and now.left == pool.left, "its end gives them back"
    ordinary = replace(started.config, huge_pages=None)
    again = await rig.start(ordinary, started.domain, tmp_path / "memory", given=started.given)
    await rig.hypervisor.resume(again.domain)
    assert await rig.remembers(again)

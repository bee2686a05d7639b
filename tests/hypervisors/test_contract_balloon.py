"""What a guest holds of its memory: looked at and asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from wirt.ports.balloons import Balloon

from .conftest import FAKE, OLD, QEMU
from .rigs import Rig, ready

every_driver = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)
GIVES_S = 60.0


async def until(rig: Rig, domain: object, wanted: Callable[[Balloon], bool]) -> Balloon:
    async with asyncio.timeout(GIVES_S):
        while True:
            seen = await rig.hypervisor.balloons.look(domain)  # type: ignore[arg-type]
            if wanted(seen):
                return seen
            await asyncio.sleep(0.1)


@every_driver
async def test_a_guest_gives_memory_and_takes_it_again(rig: Rig) -> None:
    most = rig.config().memory_mib + 64
    low = rig.config().memory_mib
    started = await rig.start(replace(rig.config(), maxmem_mib=most))
    await rig.hypervisor.resume(started.domain)
    await ready(rig, started.domain)
    balloons = rig.hypervisor.balloons
    seen = await until(rig, started.domain, lambda seen: seen.driver and seen.actual == low)
    assert seen.most == most
    await balloons.ask(started.domain, most)
    await until(rig, started.domain, lambda seen: seen.actual == most)
    await balloons.ask(started.domain, low + 10)
    seen = await until(rig, started.domain, lambda seen: seen.actual == low + 10 and seen.available is not None)
    assert seen.used is not None
    assert 0 <= seen.used <= seen.actual

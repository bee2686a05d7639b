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


@every_driver
async def test_memory_is_plugged_into_a_guest_and_out_again(rig: Rig) -> None:
    """What is no whole step is made up by the balloon. A Linux can't always give all that it was given, so what
    comes back is only seen to be most of it."""
    size = rig.config().memory_mib
    started = await rig.start(replace(rig.config(), hotplug_mib=256))
    await rig.hypervisor.resume(started.domain)
    await ready(rig, started.domain)
    balloons = rig.hypervisor.balloons
    seen = await until(rig, started.domain, lambda seen: seen.driver and seen.plugs)
    assert (seen.actual, seen.most, seen.top) == (size, size, size + 256)
    await balloons.ask(started.domain, size + 129)
    seen = await until(rig, started.domain, lambda seen: seen.actual == size + 129)
    assert size + 129 <= seen.most <= size + 130
    assert seen.top == size + 256
    await balloons.ask(started.domain, size)
    await until(rig, started.domain, lambda seen: seen.actual <= size + 64)
    await balloons.ask(started.domain, size + 1000)
    await until(rig, started.domain, lambda seen: seen.actual == size + 256)

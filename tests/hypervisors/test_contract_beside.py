"""Two runs of one domain on one host: told apart, exchanged, and either ended without the other noticing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from wirt.hypervisors.qemu.driver import QemuSettings
from wirt.images.tiny import TinyImage
from wirt.model.errors import IllegalState
from wirt.model.lifecycle import State
from wirt.ports.migration import Channel, Course, Phase

from .conftest import FAKE, qemu_binary
from .rigs import FakeRig, QemuRig, Rig, Started, ready

QEMU_LONG = pytest.param("qemu", marks=(pytest.mark.real, pytest.mark.long))


@pytest.fixture(params=[FAKE, QEMU_LONG])
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, tiny: TinyImage, probe_cache: Path
) -> AsyncIterator[Rig]:
    made: Rig = FakeRig(tmp_path)
    if request.param != "fake":
        made = QemuRig(tmp_path, tiny, QemuSettings(qemu_binary(request.param), probe_cache / "qemu.json"))
    yield made
    await made.close()


async def waits(rig: Rig, work: Awaitable[object]) -> object:
    """``work``'s result. Time goes by for those who only pretend."""
    task = asyncio.ensure_future(work)
    while not task.done():
        if isinstance(rig, FakeRig):
            await rig.clock.advance(0.01)
        await asyncio.wait({task}, timeout=0.05)
    return task.result()


async def two(rig: Rig) -> tuple[Started, Started, UUID]:
    """A guest that remembers something, and a run beside it that waits."""
    old = await rig.start(rig.config())
    await rig.hypervisor.resume(old.domain)
    await ready(rig, old.domain)
    await rig.remember(old)
    beside = uuid4()
    return old, await rig.start(old.config, old.domain, incoming=True, beside=beside), beside


async def copied(rig: Rig, old: Started, beside: UUID) -> None:
    near, far = socket.socketpair()
    receiving = asyncio.create_task(rig.migrations.receive(beside, Channel(far, None), Course()))
    await waits(rig, rig.migrations.send(old.domain, Channel(near, None), Course(), lambda now: None))
    await waits(rig, rig.migrations.finish(old.domain))
    assert await waits(rig, receiving) is Phase.COMPLETED


async def test_the_one_beside_takes_the_place_and_the_console_goes_on(rig: Rig) -> None:
    old, new, beside = await two(rig)
    printed = rig.hypervisor.console(old.domain).read(-1).offset
    following = asyncio.create_task(follow(rig, old.domain, printed))
    await copied(rig, old, beside)
    await rig.hypervisor.take_place(old.domain, beside)
    assert rig.hypervisor.console(old.domain).read(-1).offset >= printed
    assert rig.hypervisor.console(old.domain).read(0).offset == 0, "what was printed before is kept"
    await rig.hypervisor.resume(old.domain)
    await rig.hypervisor.destroy(beside)
    assert not await rig.hypervisor.connect_cards(old.domain, frozenset())
    assert not rig.exists(old) or rig.exists(new)
    assert await rig.remembers(new)
    await rig.changes.until(old.domain, State.RUNNING)
    assert not following.done(), "who follows the console goes on with the new run"
    await rig.hypervisor.destroy(old.domain)
    await asyncio.wait_for(following, 30)
    assert not rig.hypervisor.outdated(new.incarnation)


async def follow(rig: Rig, domain: UUID, offset: int) -> None:
    async for chunk in rig.hypervisor.console(domain).follow(offset):
        assert chunk.offset == offset
        offset += len(chunk.data)


async def test_the_one_beside_ends_and_the_other_does_not_notice(rig: Rig) -> None:
    old, new, beside = await two(rig)
    await rig.hypervisor.destroy(beside)
    await rig.hypervisor.clear(beside, new.directory)
    with pytest.raises(IllegalState):
        await rig.hypervisor.resume(beside)
    assert await rig.remembers(old)


async def test_another_daemon_finds_the_recorded_one_and_sweeps_the_other_away(rig: Rig) -> None:
    old, new, beside = await two(rig)
    await copied(rig, old, beside)
    await rig.lose_daemon()
    observed = await rig.hypervisor.adopt(new.incarnation, new.directory)
    assert observed is not None and observed.state is State.PAUSED and observed.end is None
    await rig.hypervisor.sweep(old.directory.parent, frozenset({new.directory}))
    await rig.hypervisor.resume(old.domain)
    await rig.changes.until(old.domain, State.RUNNING)

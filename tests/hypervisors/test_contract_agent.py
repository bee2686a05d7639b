"""Agents in guests: found when there is one, asked for little, and never left holding a guest's file systems."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import replace
from uuid import UUID

import pytest

from wirt.hypervisors.qemu import sockets
from wirt.hypervisors.qemu.agents import Agents
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.freezing import Freezer
from wirt.hypervisors.qemu.guest_agent import Agent
from wirt.hypervisors.qemu.monitor import Patience
from wirt.hypervisors.qemu.run import RunFiles
from wirt.model.domain import DomainConfig
from wirt.model.errors import IllegalState, Unavailable
from wirt.model.lifecycle import EndReason, State
from wirt.ports.guest_agent import HELD_S, GuestAgents

from .rigs import BOOT_S, FakeRig, QemuRig, Rig, Started, eventually, ready

LONG_AGO_S = 1_000_000_000.5


async def answering(agents: GuestAgents, domain: UUID) -> None:
    """Wait for the guest's agent: it begins a moment after the guest is ready."""
    for _ in range(100):
        if await agents.available(domain):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("no agent answers")


async def booted(rig: Rig, config: DomainConfig | None = None) -> Started:
    started = await rig.start(config or rig.config())
    await rig.hypervisor.resume(started.domain)
    await ready(rig, started.domain)
    await answering(rig.hypervisor.agents, started.domain)
    return started


async def is_frozen(rig: Rig, started: Started) -> bool:
    """As the guest's own agent says."""
    if isinstance(rig, FakeRig):
        agent = rig.world.guest(started.domain).agent
        return agent is not None and agent.frozen
    agent_alone = Agent("guest", RunFiles(started.directory).agent)
    return bool(await agent_alone.ask("guest-fsfreeze-status") == "frozen")


async def thawed(rig: Rig, started: Started) -> None:
    for _ in range(100):
        if not await is_frozen(rig, started):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("still frozen")


async def clock_of(rig: Rig, started: Started) -> float:
    """The guest's wall clock, in seconds since the epoch."""
    if isinstance(rig, FakeRig):
        agent = rig.world.guest(started.domain).agent
        assert agent is not None
        assert agent.time_s is not None
        return agent.time_s
    port = started.config.vifs[0].forwards[0].host_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"wirt stat\n")
    line = (await asyncio.wait_for(reader.readline(), 30)).decode()
    writer.close()
    return float(dict(word.split("=") for word in line.split() if "=" in word)["wall"])


async def test_an_agent_is_found_freezes_thaws_sets_the_time_and_shuts_down(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain, agents = started.domain, rig.hypervisor.agents
    assert not await agents.available(domain), "a guest that never ran has none that answers"
    with pytest.raises(IllegalState):
        await agents.freeze(domain)
    await rig.hypervisor.resume(domain)
    await ready(rig, domain)
    await answering(agents, domain)
    info = await agents.info(domain)
    assert info.version
    assert info.system
    assert {"guest-ping", "guest-info", "guest-fsfreeze-freeze", "guest-set-time"} <= info.commands
    assert await agents.freeze(domain) == 0, "it has no file system on a disk"
    assert await is_frozen(rig, started)
    assert await agents.available(domain)
    assert await agents.thaw(domain) == 0
    assert not await is_frozen(rig, started)
    assert await agents.thaw(domain) == 0, "which changes nothing"
    await agents.set_time(domain, LONG_AGO_S)
    assert LONG_AGO_S <= await clock_of(rig, started) < LONG_AGO_S + 60
    assert LONG_AGO_S <= await agents.time(domain) < LONG_AGO_S + 60
    await agents.set_time(domain, time.time())
    assert abs(await clock_of(rig, started) - time.time()) < 60
    await rig.hypervisor.pause(domain)
    assert not await agents.available(domain)
    with pytest.raises(IllegalState):
        await agents.thaw(domain)
    await rig.hypervisor.resume(domain)
    await agents.shutdown(domain)
    await rig.changes.until(domain, State.SHUTDOWN, EndReason.POWEROFF)
    await rig.hypervisor.destroy(domain)
    with pytest.raises(IllegalState):
        await agents.available(domain)


async def test_what_a_daemon_leaves_frozen_is_thawed(rig: Rig) -> None:
    started = await booted(rig)
    assert await rig.hypervisor.agents.freeze(started.domain) is not None
    await rig.lose_daemon()
    await rig.hypervisor.adopt(started.incarnation, started.directory)
    await thawed(rig, started)
    if isinstance(rig, QemuRig):
        # A daemon that was killed had no time to thaw: all that it leaves is its mark.
        files = RunFiles(started.directory)
        await rig.lose_daemon()
        dead = Freezer(Agent("guest", files.agent), files.frozen, HELD_S)
        await dead.freeze()
        dead.end()
        assert await is_frozen(rig, started)
        await rig.hypervisor.adopt(started.incarnation, started.directory)
        await thawed(rig, started)
        await eventually(lambda: not files.frozen.exists())


async def test_a_fake_guest_is_not_held_for_longer_than_ten_seconds(fake_rig: FakeRig) -> None:
    started = await booted(fake_rig)
    agent = fake_rig.world.guest(started.domain).agent
    assert agent is not None
    agent.file_systems = 2
    assert await fake_rig.hypervisor.agents.freeze(started.domain) == 2
    await fake_rig.clock.advance(HELD_S - 1)
    assert await is_frozen(fake_rig, started)
    await fake_rig.clock.advance(1)
    assert not await is_frozen(fake_rig, started)


async def test_a_guest_without_an_agent_is_told_of_and_not_waited_for(rig: Rig) -> None:
    """Neither before its agent begins nor when it was given no port for one."""
    started = await rig.start(replace(rig.config(), guest_agent=False))
    domain, agents = started.domain, rig.hypervisor.agents
    await rig.hypervisor.resume(domain)
    assert not await agents.available(domain)
    assert await agents.freeze(domain) is None
    for call in (agents.info(domain), agents.thaw(domain), agents.set_time(domain, 1), agents.shutdown(domain)):
        with pytest.raises(Unavailable):
            await call


@pytest.mark.real
async def test_a_guest_whose_agent_has_not_begun_has_none(qemu_rig: QemuRig) -> None:
    started = await qemu_rig.start(qemu_rig.config())
    await qemu_rig.hypervisor.resume(started.domain)
    assert isinstance(qemu_rig.hypervisor.agents, Agents)
    assert await qemu_rig.hypervisor.agents.freeze(started.domain) is None, "it has not even booted"
    with pytest.raises(Unavailable, match="no guest agent runs"):
        await qemu_rig.hypervisor.agents.info(started.domain)


@pytest.mark.real
@pytest.mark.long
async def test_a_guest_that_floods_its_port_stalls_nobody(qemu_rig: QemuRig) -> None:
    """With nobody connected, and with somebody who is; its console goes on, and so do we."""
    started = await booted(qemu_rig)
    agents, console = qemu_rig.hypervisor.agents, qemu_rig.hypervisor.console(started.domain)
    # A port is opened by one alone: the agent has to go.
    await console.write(b"kill -9 $(busybox pidof init | busybox sed 's/ *1$//'); echo its end: $?\n")
    await said(qemu_rig, started, b"its end: 0")
    await console.write(b"for p in /dev/vport*; do cat /dev/zero > $p & done; echo it floods: $?\n")
    await said(qemu_rig, started, b"it floods: 0")
    for _ in range(3):
        assert not await agents.available(started.domain)
        await console.write(b"echo alive: $((40+2))\n")
        await said(qemu_rig, started, b"alive: 42")
    # Connected, and never reading.
    with contextlib.closing(sockets.connect(RunFiles(started.directory).agent)) as connected:
        await eventually(lambda: flooding(connected), within_s=60)
        offset = console.read(-1).offset
        await console.write(b"echo alive: $((40+3))\n")
        await said(qemu_rig, started, b"alive: 43", offset)
        assert len(await qemu_rig.hypervisor.vcpus(started.domain)) == 1


def flooding(port: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        return port.recv(1000) == bytes(1000)
    return False


async def said(rig: QemuRig, started: Started, words: bytes, offset: int = 0) -> None:
    async def look() -> None:
        text = b""
        async for chunk in rig.hypervisor.console(started.domain).follow(offset):
            text += chunk.data
            if words in text:
                return

    await asyncio.wait_for(look(), BOOT_S)


@pytest.mark.real
async def test_a_real_guest_is_not_held_for_longer_than_it_may_be(qemu_rig: QemuRig) -> None:
    settings = replace(qemu_rig.settings, patience=Patience(held_s=0.5))
    qemu_rig.hypervisor = QemuHypervisor(settings, qemu_rig.sandbox)
    started = await booted(qemu_rig)
    agents = qemu_rig.hypervisor.agents
    assert await agents.freeze(started.domain) == 0
    await eventually(lambda: not RunFiles(started.directory).frozen.exists())
    assert not await is_frozen(qemu_rig, started)
    # One that is paused while it is frozen is thawed when it goes on.
    assert await agents.freeze(started.domain) == 0
    await qemu_rig.hypervisor.pause(started.domain)
    await asyncio.sleep(1)
    assert RunFiles(started.directory).frozen.exists()
    await qemu_rig.hypervisor.resume(started.domain)
    await eventually(lambda: not RunFiles(started.directory).frozen.exists(), within_s=60)
    assert not await is_frozen(qemu_rig, started)

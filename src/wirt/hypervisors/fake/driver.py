"""The hypervisor port in memory. Behaves as the contract suite demands of it and of QEMU alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.fake.agent import FakeAgents
from wirt.hypervisors.fake.balloon import FakeBalloons
from wirt.hypervisors.fake.faults import DaemonDies, DaemonKilled, Die, Fault, Refuse, Silence, Verb
from wirt.hypervisors.fake.guest import FakeGuest
from wirt.hypervisors.fake.vcpu_plugs import FakeVcpuPlugs
from wirt.hypervisors.fake.world import FakeWorld
from wirt.model.devices import DiskFormat
from wirt.model.domain import Incarnation
from wirt.model.errors import HypervisorError, HypervisorSilent, IllegalState, LaunchFailed, NotFound
from wirt.model.lifecycle import EndReason, State
from wirt.plan.host import HypervisorFacts
from wirt.plan.launch import LaunchPlan
from wirt.ports.balloons import Balloons
from wirt.ports.guest_agent import GuestAgents
from wirt.ports.hypervisor import (
    Console,
    Launch,
    MemoryStream,
    Observed,
    ResetKind,
    RunChanged,
    Usage,
    VcpuInfo,
    cpu_notes,
)
from wirt.ports.network import Plugged
from wirt.ports.vcpu_plugs import VcpuPlugs

ELF_HEADER = b"\x7fELF\x02\x01\x01" + bytes(57)
"""A 64-bit ELF header without content: what a fake guest's memory looks like."""

MEMORY_HEADER = b"the memory of a guest in memory\n"

RUN_NOTE, VERSION = "run", "version"
"""Incarnation.notes: the run's number in its world, which tells it from an earlier run of the same domain."""


class FakeHypervisor:
    """One daemon's driver of ``world``. Making another one on the same world is what a restarted daemon does: it
    starts with no runs, and ``adopt`` finds them."""

    name = "fake"

    def __init__(self, world: FakeWorld) -> None:
        self._world = world
        self._daemon = world.new_daemon()
        self._runs: dict[UUID, FakeGuest] = {}
        # As many as the verbs called: a guest changes by itself once, and then waits for the daemon.
        self._changes: asyncio.Queue[RunChanged] = asyncio.Queue()
        world.listen(self._changed)
        self.agents: GuestAgents = FakeAgents(self.reach)
        self.balloons: Balloons = FakeBalloons(self.reach)
        self.vcpu_plugs: VcpuPlugs = FakeVcpuPlugs(self.reach)

    @property
    def alive(self) -> bool:
        """Whether its daemon is."""
        return self._world.serves(self._daemon)

    @property
    def world(self) -> FakeWorld:
        return self._world

    async def facts(self) -> HypervisorFacts:
        return self._world.facts

    def describe(self, plan: LaunchPlan, directory: Path) -> tuple[str, ...]:
        kernel = () if plan.direct_boot is None else ("--kernel", plan.direct_boot.kernel)
        disks = (word for disk in plan.disks for word in ("--disk", f"{disk.id}={disk.path or ''}"))
        nics = (word for nic in plan.nics for word in ("--nic", f"{nic.id}={nic.mac}"))
        size = ("--vcpus", str(plan.vcpus), "--memory", str(plan.memory_mib))
        return ("fake", "--name", plan.name, "--uuid", str(plan.uuid), *size, *kernel, *disks, *nics)

    async def backing(self, plan: LaunchPlan) -> dict[str, tuple[str, ...]]:
        return {
            disk.path: self._world.backing.get(disk.path, ())
            for disk in plan.disks
            if disk.path is not None and disk.format is DiskFormat.QCOW2
        }

    async def launch(self, launch: Launch) -> Incarnation:
        plan = launch.plan
        # The taps are handed over whatever becomes of the launch.
        for plugged in launch.plugged:
            if plugged.descriptor is not None:
                os.close(plugged.descriptor)
        key = launch.beside or plan.uuid
        if key in self._runs:
            raise IllegalState(f"{plan.name} runs already")
        fault = await self._begin(Verb.LAUNCH, plan.uuid, plan.name)
        if isinstance(fault, Die):
            raise LaunchFailed(f"{plan.name}: the guest ended in start-up: {fault.words}")
        memory = None if launch.memory is None else await _read_memory(plan.name, launch.memory)
        guest = self._world.start(plan, launch.incarnation.domid, launch.directory, incoming=launch.incoming)
        if launch.beside is not None:
            self._world.rekey(guest, launch.beside, plan.name)
        if memory is not None:
            try:
                guest.begin_from(memory)
            except HypervisorError as error:
                self._end(guest, EndReason.DESTROYED)
                raise LaunchFailed(error.message) from error
        if isinstance(fault, Silence):
            # A launch that fails leaves nothing behind, answered or not.
            self._end(guest, EndReason.DESTROYED)
        await self._finish(Verb.LAUNCH, plan.name, fault)
        self._runs[key] = guest
        notes = {RUN_NOTE: str(guest.number), VERSION: _dotted(self._world.facts), **cpu_notes(plan.cpu)}
        return replace(launch.incarnation, state=State.PAUSED, notes=notes)

    async def adopt(self, incarnation: Incarnation, directory: Path) -> Observed | None:
        domain = incarnation.domain
        runs = {str(guest.number): guest for guest in self._world.guests()}
        guest = runs.get(incarnation.notes.get(RUN_NOTE, ""))
        if guest is None:
            return None
        if guest.domain != domain:
            self._world.rekey(guest, domain, guest.name)
        fault = await self._begin(Verb.ADOPT, domain, guest.name)
        if isinstance(fault, Die):
            guest.vanish(fault.words)
        if guest.gone:
            return None
        guest.domid = incarnation.domid
        guest.end_copies()
        if guest.agent is not None:
            guest.agent.thaw()
        self._runs[domain] = guest
        await self._finish(Verb.ADOPT, guest.name, fault)
        return guest.observed

    async def clear(self, domain: UUID, directory: Path) -> None:
        await self._begin(Verb.CLEAR, domain, str(domain))
        self._end_all(lambda guest: guest.directory == directory)
        run = self._runs.get(domain)
        if run is not None and run.gone:
            del self._runs[domain]

    async def sweep(self, runs: Path, known: frozenset[Path]) -> None:
        self.check_alive()
        self._end_all(lambda guest: guest.directory.parent == runs and guest.directory not in known)

    async def resume(self, domain: UUID) -> None:
        async with self.reach(Verb.RESUME, domain) as guest:
            guest.resume()

    async def pause(self, domain: UUID) -> None:
        async with self.reach(Verb.PAUSE, domain) as guest:
            guest.pause()

    async def power_button(self, domain: UUID) -> None:
        async with self.reach(Verb.POWER_BUTTON, domain) as guest:
            guest.press_power_button()

    async def reset(self, domain: UUID, kind: ResetKind) -> None:
        async with self.reach(Verb.RESET, domain) as guest:
            guest.reset(self._world.on_boot)

    async def dump_core(self, domain: UUID, path: Path) -> None:
        async with self.reach(Verb.DUMP_CORE, domain) as guest:
            try:
                path.write_bytes(ELF_HEADER)
            except OSError as error:
                raise HypervisorError(
                    f"{guest.name}: no core can be written to {path}: {error.strerror}"
                ) from error

    async def destroy(self, domain: UUID) -> None:
        self.check_alive()
        guest = self._runs.get(domain)
        if guest is None:
            return
        fault = await self._begin(Verb.DESTROY, domain, guest.name)
        self._end(guest, EndReason.DESTROYED)
        await self._finish(Verb.DESTROY, guest.name, fault)

    async def preserve(self, domain: UUID, kept: UUID, name: str) -> None:
        async with self.reach(Verb.PRESERVE, domain) as guest:
            guest.release_disks()
            self._world.rekey(guest, kept, name)
            self._runs[kept] = self._runs.pop(domain)

    async def take_place(self, domain: UUID, beside: UUID) -> None:
        self.check_alive()
        old, new = self._guest(domain), self._guest(beside)
        new.console.go_on_from(old.console)
        self._world.rekey(old, beside, old.name)
        self._world.rekey(new, domain, old.name)
        self._runs[domain], self._runs[beside] = new, old

    async def connect_cards(self, domain: UUID, devids: frozenset[int]) -> frozenset[int]:
        async with self.reach(Verb.CONNECT_CARDS, domain):
            return frozenset()

    def outdated(self, incarnation: Incarnation) -> bool:
        return incarnation.notes.get(VERSION) not in (None, _dotted(self._world.facts))

    async def rename(self, domain: UUID, name: str) -> None:
        async with self.reach(Verb.RENAME, domain) as guest:
            guest.name = name

    def vifs(self, domain: UUID) -> frozenset[int] | None:
        self.check_alive()
        guest = self._runs.get(domain)
        return None if guest is None or guest.gone else frozenset(guest.links)

    async def attach_vif(self, domain: UUID, plugged: Plugged) -> None:
        if plugged.descriptor is not None:
            os.close(plugged.descriptor)
        async with self.reach(Verb.ATTACH_VIF, domain) as guest:
            guest.attach_card(plugged.nic)

    async def detach_vif(self, domain: UUID, devid: int) -> None:
        async with self.reach(Verb.DETACH_VIF, domain) as guest:
            if devid in guest.links and guest.observed.state is not State.RUNNING:
                raise IllegalState(
                    f"{guest.name} is {guest.observed.state}, and only a guest that runs lets go of a card"
                )
            guest.ask_for_card(devid)

    async def set_link(self, domain: UUID, devid: int, *, up: bool) -> None:
        async with self.reach(Verb.SET_LINK, domain) as guest:
            if devid not in guest.links:
                raise NotFound(f"{guest.name} has no vif {devid}")
            guest.links[devid] = up

    async def vcpus(self, domain: UUID) -> tuple[VcpuInfo, ...]:
        async with self.reach(Verb.VCPUS, domain) as guest:
            running = guest.observed.state is State.RUNNING
            share = guest.cpu_time_s / guest.vcpus
            busy = {index for index in range(guest.vcpus) if guest.load > 0 and index not in guest.unused}
            return tuple(
                VcpuInfo(
                    index=index,
                    cpu=index if running else None,
                    running=running and index in busy,
                    blocked=running and index not in busy,
                    cpu_time_s=share,
                )
                for index in range(guest.vcpus)
            )

    def usage(self, domain: UUID) -> Usage | None:
        self.check_alive()
        guest = self._runs.get(domain)
        if guest is None or guest.gone:
            return None
        return Usage(guest.cpu_time_s, guest.load == 0, guest.memory_mib)

    def console(self, domain: UUID) -> Console:
        return self._guest(domain).console

    @property
    def runs(self) -> Mapping[UUID, FakeGuest]:
        return self._runs

    async def changes(self) -> AsyncIterator[RunChanged]:
        while True:
            yield await self._changes.get()

    async def detach(self) -> None:
        if self.alive:
            self._world.listen(None)
        self._runs.clear()

    def _changed(self, guest: FakeGuest, change: RunChanged) -> None:
        # A run that nobody adopted yet tells its story when it is adopted.
        if self._runs.get(guest.domain) is guest:
            self._changes.put_nowait(change)

    def _end_all(self, wanted: Callable[[FakeGuest], bool]) -> None:
        for guest in self._world.guests():
            if wanted(guest):
                self._end(guest, EndReason.DESTROYED)

    def _end(self, guest: FakeGuest, end: EndReason) -> None:
        guest.remove(end)
        if self._runs.get(guest.domain) is guest:
            del self._runs[guest.domain]

    def _guest(self, domain: UUID) -> FakeGuest:
        self.check_alive()
        try:
            return self._runs[domain]
        except KeyError:
            raise IllegalState(f"domain {domain} does not run here") from None

    @asynccontextmanager
    async def reach(self, verb: Verb, domain: UUID) -> AsyncIterator[FakeGuest]:
        """The way of every verb to its guest, with whatever was put in it."""
        guest = self._guest(domain)
        fault = await self._begin(verb, domain, guest.name)
        if isinstance(fault, Die):
            guest.vanish(fault.words)
            raise HypervisorError(f"{guest.name}: the hypervisor went away during {verb}")
        if guest.gone:
            raise IllegalState(f"{guest.name} does not run any more")
        yield guest
        await self._finish(verb, guest.name, fault)

    async def _begin(self, verb: Verb, domain: UUID, name: str) -> Fault | None:
        """The time that the verb takes, and the faults that keep it from having its effect."""
        self.check_alive()
        fault = self._world.take_fault(verb, domain)
        latency = self._world.latency_s.get(verb, 0.0)
        if latency > 0:
            await self._world.clock.sleep(latency)
            self.check_alive()
        if isinstance(fault, Refuse):
            raise HypervisorError(f"{name}: the hypervisor refused {verb}: {fault.words}")
        if isinstance(fault, Silence) and not fault.done:
            await self._stay_silent(verb, name, fault)
        if isinstance(fault, DaemonDies) and not fault.done:
            self._world.kill_daemon()
            raise DaemonKilled
        return fault

    async def _finish(self, verb: Verb, name: str, fault: Fault | None) -> None:
        """The faults that hide the effect which the verb has had."""
        if isinstance(fault, Silence):
            await self._stay_silent(verb, name, fault)
        if isinstance(fault, DaemonDies):
            self._world.kill_daemon()
            raise DaemonKilled

    async def _stay_silent(self, verb: Verb, name: str, fault: Silence) -> None:
        if fault.after_s > 0:
            await self._world.clock.sleep(fault.after_s)
            self.check_alive()
        raise HypervisorSilent(
            f"{name}: the hypervisor did not answer {verb} within {fault.after_s:g} s",
            hint="the guest may still run; wirt destroy ends it",
        )

    def check_alive(self) -> None:
        if not self.alive:
            raise DaemonKilled


def _dotted(facts: HypervisorFacts) -> str:
    return ".".join(map(str, facts.version))


async def _read_memory(name: str, source: Path | MemoryStream) -> bytes:
    """``LaunchFailed`` if it is no guest's memory."""
    try:
        if isinstance(source, MemoryStream):
            with source.file:
                data = await asyncio.to_thread(source.file.readall)
        else:
            data = await asyncio.to_thread(source.read_bytes)
    except OSError as error:
        raise LaunchFailed(f"{name}: {source} can't be opened: {error.strerror}") from error
    if not data.startswith(MEMORY_HEADER):
        raise LaunchFailed(f"{name}: {source} holds no guest's memory")
    return data.removeprefix(MEMORY_HEADER)

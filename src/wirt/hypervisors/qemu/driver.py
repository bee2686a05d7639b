"""The hypervisor port on QEMU: KVM where it works, software emulation elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.qemu import (
    cmdline,
    cpus,
    disks,
    events,
    facts,
    launching,
    layers,
    memory,
    process,
    sending,
    throttles,
)
from wirt.hypervisors.qemu.agents import Agents
from wirt.hypervisors.qemu.balloons import QemuBalloons, at_start
from wirt.hypervisors.qemu.monitor import Patience, negotiate_and_leave
from wirt.hypervisors.qemu.passt import Passt
from wirt.hypervisors.qemu.plugged import Sizes
from wirt.hypervisors.qemu.process import TICKS_PER_S, Process, ProcessId
from wirt.hypervisors.qemu.run import Run, RunFiles, tell_reboots
from wirt.hypervisors.qemu.user_cards import UserCards
from wirt.hypervisors.qemu.vcpu_plugs import QemuVcpuPlugs
from wirt.model.devices import VifKind
from wirt.model.domain import Firmware, Incarnation
from wirt.model.errors import (
    HypervisorError,
    HypervisorSilent,
    IllegalState,
    LaunchFailed,
    NotFound,
    Shortage,
    WirtError,
)
from wirt.model.lifecycle import State
from wirt.plan.host import Accelerator, HypervisorFacts
from wirt.plan.jail import JailPlan, names_read, plan_jail
from wirt.plan.launch import LaunchPlan
from wirt.ports.balloons import Balloons
from wirt.ports.files import touch
from wirt.ports.hypervisor import Console, Launch, Observed, ResetKind, RunChanged, Usage, VcpuInfo
from wirt.ports.network import Plugged
from wirt.ports.sandbox import Jail, Sandbox
from wirt.ports.vcpu_plugs import VcpuPlugs

DEFAULT_BINARY = "qemu-system-x86_64"
PROGRAM, VERSION = "program", "version"
"""In an incarnation's notes: which QEMU carries it."""
ENDED_BY_ITSELF_S = 0.5
"""A QEMU that is about to end closes its sockets first; by then it is known whether it did."""


@dataclass(frozen=True, slots=True)
class QemuSettings:
    """``binary`` and ``passt`` by name or path (``none``: QEMU's own user-mode network); ``cache`` keeps the
    probe's answer until the next boot."""

    binary: str
    cache: Path
    passt: str = "passt"
    patience: Patience = field(default_factory=Patience)


class QemuHypervisor:
    name = "qemu"

    def __init__(self, settings: QemuSettings, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._user_cards = UserCards(Passt(settings.passt, settings.cache.parent), sandbox)
        self._binary = shutil.which(settings.binary) or settings.binary
        self._cache = settings.cache
        self._patience = settings.patience
        self._facts: HypervisorFacts | None = None
        self._facts_of = ""
        self._runs: dict[UUID, Run] = {}
        self.agents = Agents(self.run)
        self.balloons: Balloons = QemuBalloons(self.run)
        self.vcpu_plugs: VcpuPlugs = QemuVcpuPlugs(self.run)
        self._changes: asyncio.Queue[RunChanged] = asyncio.Queue()

    async def facts(self) -> HypervisorFacts:
        if self._facts is None or self._facts_of != self._program():
            self._facts_of = self._program()
            self._facts = await facts.find(self._binary, self.sandbox, self._cache)
        missing = await self._user_cards.passt.missing()
        note = "user-mode cards go through passt"
        if missing is not None:
            note = f"user-mode cards are QEMU's own, which puts it into the host's network namespace: {missing}"
        return replace(self._facts, notes=(*self._facts.notes, note))

    def describe(self, plan: LaunchPlan, directory: Path) -> tuple[str, ...]:
        handles = cmdline.preview_handles(plan, passt=self._user_cards.passt.expected)
        return cmdline.command_line(plan, self._binary, str(directory), handles)

    async def backing(self, plan: LaunchPlan) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for disk in plan.disks:
            if disk.path is not None:
                found |= await touch(disk.path, layers.backing, (disk,))
        return found

    async def launch(self, launch: Launch) -> Incarnation:
        """Errors of :class:`~wirt.ports.hypervisor.Hypervisor`; on any, no process is left."""
        plan, files = launch.plan, RunFiles(launch.directory)
        started: Process | None = None
        with _handed_over(launch):
            try:
                jailed, jail = await self._prepare(launch, files)
                with contextlib.closing(jail):
                    async with self._user_cards.of(launch, jailed) as sockets:
                        started = await launching.start(launch, files, jailed, jail, sockets)
            except BaseException:
                if started is not None:
                    await started.kill()
                await self._remove(launch.directory)
                raise
        key = launch.beside or plan.uuid
        sizes = Sizes(plan.memory_mib, plan.hotplug_mib)
        run = self._new_run(key, launch.incarnation.domid, plan.name, sizes, files, started)
        try:
            await self._greet(run, started)
            cpu = await cpus.notes(run.monitor, plan.cpu)
            await at_start(run.monitor, plan)
            await throttles.begin(run.name, run.monitor, plan.disks)
            if launch.memory is not None:
                await memory.load(run, launch.memory)
        except BaseException as error:
            self._runs.pop(key, None)
            self._user_cards.drop(launch.directory)
            if isinstance(error, HypervisorError) and not isinstance(error, HypervisorSilent):
                by_itself = await started.wait_until(ENDED_BY_ITSELF_S)
                await started.kill()
                raise launching.explain(plan.name, files, jailed, started, error, by_itself=by_itself) from error
            await started.kill()
            raise
        run.cards.set(nic.index for nic in plan.nics)
        return replace(
            launch.incarnation,
            state=State.PAUSED,
            pid=started.identity.pid,
            started_ticks=started.identity.started_ticks,
            notes={
                "name": plan.name,
                **sizes.notes(),
                PROGRAM: self._program(),
                VERSION: ".".join(map(str, (await self.facts()).version)),
                **({"weaker": "\n".join(jailed.weaker)} if jailed.weaker else {}),
                **cpu,
            },
        )

    async def adopt(self, incarnation: Incarnation, directory: Path) -> Observed | None:
        files = RunFiles(directory)
        missed = events.from_log(files.event_log)
        found = self._find(incarnation)
        if found is None:
            return None
        name = incarnation.notes.get("name", str(incarnation.domain))
        sizes = Sizes.noted(incarnation.notes)
        run = self._new_run(incarnation.domain, incarnation.domid, name, sizes, files, found)
        try:
            await run.connect()
            await tell_reboots(run.monitor)
            await run.cards.look(run.monitor)
            if not await sending.adopt(run):
                await memory.cancel(run)
                await disks.recover(run, self.sandbox)
            status = await run.monitor.execute("query-status")
        except WirtError:
            if await found.wait_until(ENDED_BY_ITSELF_S):
                self._runs.pop(incarnation.domain, None)
                return None
            # Alive and mute: it stays listed, and destroy still works on it.
            run.observed = missed or Observed(State.RUNNING)
            return run.observed
        state = events.of_status(str(status.get("status")))
        ended = missed is not None and missed.end is not None and state is not State.RUNNING
        run.observed = missed if ended and missed is not None else Observed(state)
        return run.observed

    async def clear(self, domain: UUID, directory: Path) -> None:
        run = self._runs.get(domain)
        if run is not None and run.files.directory == directory:
            await run.destroy()
            del self._runs[domain]
        await self._remove(directory)

    async def sweep(self, runs: Path, known: frozenset[Path]) -> None:
        children = list(runs.iterdir()) if runs.is_dir() else []
        for directory in children:
            if directory not in known:
                await self._remove(directory)

    async def _remove(self, directory: Path) -> None:
        for identity in process.find(directory):
            stray = process.adopt(identity)
            if stray is not None:
                await stray.kill()
        await self._remove_directory(directory)

    async def _remove_directory(self, directory: Path) -> None:
        self._user_cards.drop(directory)
        await self.sandbox.clear(directory)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def resume(self, domain: UUID) -> None:
        await self.run(domain).resume()

    async def pause(self, domain: UUID) -> None:
        await self.run(domain).pause()

    async def power_button(self, domain: UUID) -> None:
        await self.run(domain).power_button()

    async def reset(self, domain: UUID, kind: ResetKind) -> None:
        await self.run(domain).reset(kind)

    async def dump_core(self, domain: UUID, path: Path) -> None:
        await self.run(domain).dump_core(path)

    async def destroy(self, domain: UUID) -> None:
        run = self._runs.get(domain)
        if run is not None:
            await run.destroy()
            self._runs.pop(domain, None)
            await self._remove_directory(run.files.directory)

    async def preserve(self, domain: UUID, kept: UUID, name: str) -> None:
        run = self.run(domain)
        await run.release_disks()
        self._runs[kept] = self._runs.pop(domain)
        run.domain, run.name = kept, name

    async def take_place(self, domain: UUID, beside: UUID) -> None:
        old, new = self.run(domain), self.run(beside)
        new.go_on_from(old)
        self._runs[domain], self._runs[beside] = new, old
        new.domain, old.domain, new.name = domain, beside, old.name

    async def connect_cards(self, domain: UUID, devids: frozenset[int]) -> frozenset[int]:
        run = self.run(domain)
        await self._user_cards.connect(run.files.directory)
        return frozenset(self._user_cards.without(run, devids))

    def outdated(self, incarnation: Incarnation) -> bool:
        noted, installed = incarnation.notes.get(PROGRAM), self._program()
        return noted is not None and installed not in ("", noted)

    async def rename(self, domain: UUID, name: str) -> None:
        self.run(domain).name = name

    def vifs(self, domain: UUID) -> frozenset[int] | None:
        run = self._runs.get(domain)
        return None if run is None or run.process.gone else run.cards.present

    async def attach_vif(self, domain: UUID, plugged: Plugged) -> None:
        with contextlib.ExitStack() as closing:
            if plugged.descriptor is not None:
                closing.callback(os.close, plugged.descriptor)
            run = self.run(domain)
            if plugged.kind is VifKind.USER:
                plugged = await self._user_cards.attached(run, plugged, closing)
            await run.cards.attach(run.monitor, plugged)

    async def detach_vif(self, domain: UUID, devid: int) -> None:
        run = self.run(domain)
        if devid in run.cards.present and run.observed.state is not State.RUNNING:
            raise IllegalState(f"{run.name} is {run.observed.state}, and only a guest that runs lets go of a card")
        await run.cards.detach(run.monitor, devid, self._patience.unplug_s)

    async def set_link(self, domain: UUID, devid: int, *, up: bool) -> None:
        run = self.run(domain)
        if devid not in run.cards.present:
            raise NotFound(f"{run.name} has no vif {devid}")
        await run.cards.set_link(run.monitor, devid, up=up)

    async def vcpus(self, domain: UUID) -> tuple[VcpuInfo, ...]:
        return await self.run(domain).vcpus(TICKS_PER_S)

    def usage(self, domain: UUID) -> Usage | None:
        run = self._runs.get(domain)
        if run is None or run.process.gone:
            return None
        return Usage(run.process.cpu_time_s(), run.process.sleeping(), run.memory.mib)

    @property
    def runs(self) -> Mapping[UUID, Run]:
        return self._runs

    def console(self, domain: UUID) -> Console:
        return self.run(domain).console

    async def changes(self) -> AsyncIterator[RunChanged]:
        while True:
            yield await self._changes.get()

    async def detach(self) -> None:
        for run in self._runs.values():
            await run.detach()
        self._runs.clear()

    def run(self, domain: UUID) -> Run:
        try:
            return self._runs[domain]
        except KeyError:
            raise IllegalState(f"domain {domain} does not run here") from None

    def _new_run(self, key: UUID, domid: int, name: str, sizes: Sizes, files: RunFiles, started: Process) -> Run:
        run = Run(key, name, domid, sizes, files, started, self._changes.put_nowait, self._patience)
        self._runs[key] = run
        return run

    def _program(self) -> str:
        """What tells the installed QEMU from one that was there before; empty if there is none."""
        try:
            about = Path(self._binary).stat()
        except OSError:
            return ""
        return f"{about.st_dev}:{about.st_ino}:{about.st_mtime_ns}"

    def _find(self, incarnation: Incarnation) -> Process | None:
        if incarnation.pid is None or incarnation.started_ticks is None:
            return None
        return process.adopt(ProcessId(incarnation.pid, incarnation.started_ticks))

    async def _prepare(self, launch: Launch, files: RunFiles) -> tuple[JailPlan, Jail]:
        """A fresh directory, with the firmware's variables where the firmware keeps some."""
        if (launch.beside or launch.plan.uuid) in self._runs:
            raise IllegalState(f"{launch.plan.name} runs already")
        try:
            await self._remove_directory(files.directory)
            files.directory.mkdir(parents=True, mode=0o700)
            jailed = await self._jail(launch)
            # Before anything is in the directory: it may get a file system of its own.
            jail = await self.sandbox.prepare(jailed)
            try:
                files.credentials.mkdir(mode=0o755, exist_ok=True)
                await self._copy_variables(launch.plan, files.directory)
            except BaseException:
                jail.close()
                raise
            return jailed, jail
        except OSError as error:
            raise Shortage(
                f"no directory for a run of {launch.plan.name} can be made at {files.directory}: {error.strerror}",
                hint="make room on that file system, or set WIRT_HOME to another",
            ) from error

    async def _jail(self, launch: Launch) -> JailPlan:
        plan = launch.plan
        chains = {
            disk.id: await touch(disk.path, layers.chain, disk.path, disk.format)
            for disk in plan.disks
            if disk.path is not None
        }
        host = self.sandbox.host(self._binary, tuple(names_read(plan)))
        if plan.accelerator is Accelerator.KVM:
            host = replace(host, kvm_by_descriptor=(await self.facts()).version >= (8, 2, 0))
        if any(nic.kind is VifKind.USER for nic in plan.nics):
            host = replace(host, no_passt=await self._user_cards.passt.missing())
        return plan_jail(plan, str(launch.directory), host, chains)

    async def _copy_variables(self, plan: LaunchPlan, directory: Path) -> None:
        if plan.direct_boot is None and plan.firmware is Firmware.OVMF:
            variables = (await self.facts()).firmware_file("ovmf-variables")
            if variables is None:
                raise LaunchFailed("there is no UEFI firmware on this host", hint="apt-get install ovmf")
            shutil.copyfile(variables, directory / "OVMF_VARS.fd")

    async def _greet(self, run: Run, started: Process) -> None:
        """Wait for QEMU's answer or its end, whichever is first."""
        ended = asyncio.create_task(started.wait())
        greeted = asyncio.create_task(_open(run, self._patience))
        try:
            await asyncio.wait({ended, greeted}, return_when=asyncio.FIRST_COMPLETED)
            if greeted.done():
                await greeted
            else:
                raise LaunchFailed(f"{run.name}: QEMU ended in start-up")
        finally:
            for task in (ended, greeted):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        run.observed = Observed(State.PAUSED)


async def _open(run: Run, patience: Patience) -> None:
    await asyncio.gather(negotiate_and_leave(run.name, run.files.events, patience), run.connect())


@contextlib.contextmanager
def _handed_over(launch: Launch) -> Iterator[None]:
    """The taps are ours to close, whether QEMU has inherited them by then or never will."""
    try:
        yield
    finally:
        for plugged in launch.plugged:
            if plugged.descriptor is not None:
                os.close(plugged.descriptor)

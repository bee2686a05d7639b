"""One run of one domain: a process, its monitor, its console, and the state that events move."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from wirt.hypervisors.qemu import answers, events
from wirt.hypervisors.qemu.cards import Cards
from wirt.hypervisors.qemu.console import ConsoleLog
from wirt.hypervisors.qemu.freezing import Freezer
from wirt.hypervisors.qemu.guest_agent import Agent
from wirt.hypervisors.qemu.logs import GrowingLog, Keeper
from wirt.hypervisors.qemu.monitor import Monitor, Patience
from wirt.hypervisors.qemu.plugged import Sizes
from wirt.hypervisors.qemu.process import Process, last_words
from wirt.hypervisors.qemu.threads import host_threads
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, IllegalState
from wirt.model.lifecycle import EndReason, State
from wirt.plan.jail import CREDENTIALS
from wirt.ports.hypervisor import Observed, ResetKind, RunChanged, VcpuInfo

log = structlog.get_logger()

FIRMWARE_RESET_S = 30.0
"""How long after a reset of ours the firmware may follow with its own. A guest's reboot within that time is
carried out in place, and not told."""

QEMU_LOG_BYTES = 64 * 1024
"""Of what QEMU says on its standard error; some of it a guest can have said again and again."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """A run's own directory."""

    directory: Path

    @property
    def control(self) -> Path:
        return self.directory / "control.sock"

    @property
    def events(self) -> Path:
        return self.directory / "events.sock"

    @property
    def console(self) -> Path:
        return self.directory / "console.sock"

    @property
    def agent(self) -> Path:
        return self.directory / "agent.sock"

    @property
    def frozen(self) -> Path:
        """There while the guest's file systems may be frozen by us."""
        return self.directory / "frozen"

    @property
    def credentials(self) -> Path:
        """What QEMU sees as well, and can't write."""
        return self.directory / CREDENTIALS

    @property
    def moving(self) -> Path:
        """There while the guest is on its way to another host; it holds what the guest did before."""
        return self.directory / "moving"

    @property
    def event_log(self) -> Path:
        return self.directory / "events.log"

    @property
    def qemu_log(self) -> Path:
        return self.directory / "qemu.log"


class Run:
    """Owned by the driver; at most one for a domain."""

    def __init__(
        self,
        domain: UUID,
        name: str,
        domid: int,
        memory: Sizes,
        files: RunFiles,
        process: Process,
        changed: Callable[[RunChanged], None],
        patience: Patience,
    ) -> None:
        self.domain = domain
        self.name = name
        self.memory = memory
        self.files = files
        self.process = process
        self.console = ConsoleLog(name, files.directory)
        self.observed = Observed(State.STARTING)
        self._keeper = Keeper(
            (
                self.console.log,
                events.bounded(files.event_log),
                GrowingLog(files.qemu_log, QEMU_LOG_BYTES, restart_bytes=4 * QEMU_LOG_BYTES),
            )
        )
        self.cards = Cards(name)
        self.disks_at_work: set[str] = set()
        self.migration = asyncio.Event()
        self.agent = Agent(name, files.agent)
        self.freezer = Freezer(self.agent, files.frozen, patience.held_s)
        self._domid = domid
        self._changed = changed
        self._patience = patience
        self._monitor: Monitor | None = None
        self._watch = asyncio.create_task(self._watch_process())
        self._ending = False
        self._threads: dict[int, int] = {}
        self._vcpu_threads: dict[int, int] = {}
        self._firmware_reset = asyncio.Event()
        self._rearm: asyncio.Task[None] | None = None

    @property
    def monitor(self) -> Monitor:
        if self._monitor is None or self.process.gone:
            raise IllegalState(f"{self.name} does not run any more")
        return self._monitor

    async def connect(self) -> None:
        """Open control connection and console; from then on events come, and logs are kept small."""
        self._monitor = await Monitor.connect(self.name, self.files.control, self.on_event, self._patience)
        try:
            self.console.attach()
        except OSError as error:
            raise HypervisorError(f"{self.name}: its console can't be used: {error.strerror}") from error
        self._keeper.start()
        self.freezer.take_over()

    def on_event(self, event: Mapping[str, Any]) -> None:
        if events.is_guest_reset(event):
            self._firmware_reset.set()
        if event.get("event") in ("MIGRATION", "MIGRATION_PASS", "STOP"):
            self.migration.set()
        self.cards.on_event(event)
        then = events.of_event(event)
        if then is not None and not self._ending:
            self.observe(events.after(self.observed, then))

    def observe(self, then: Observed) -> None:
        if then != self.observed:
            self.observed = then
            self._changed(RunChanged(self.domain, self._domid, then.state, then.end))

    async def resume(self) -> None:
        await self.monitor.execute("cont")
        self.observe(Observed(State.RUNNING))

    async def pause(self) -> None:
        await self.monitor.execute("stop")
        self.observe(events.after(self.observed, Observed(State.PAUSED)))

    async def power_button(self) -> None:
        await self.monitor.execute("system_powerdown")

    async def reset(self, kind: ResetKind) -> None:
        """``set-action`` first, or the reset would count as a shutdown and stop the guest."""
        monitor = self.monitor
        if self._rearm is not None:
            self._rearm.cancel()
        self._firmware_reset.clear()
        await monitor.execute("set-action", {"reboot": "reset"})
        self._rearm = asyncio.create_task(self._tell_reboots_again(monitor))
        await monitor.execute("system_reset")
        await monitor.execute("cont")
        self.observe(Observed(State.RUNNING))

    async def _tell_reboots_again(self, monitor: Monitor) -> None:
        """After a reset of q35 SeaBIOS finds its own traces in memory, restores itself, and resets once more
        (SeaBIOS, src/resume.c, tryReboot). That is no reboot of the guest, and only a later one is told of."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._firmware_reset.wait(), FIRMWARE_RESET_S)
        with contextlib.suppress(HypervisorError):
            await tell_reboots(monitor)

    async def dump_core(self, path: Path) -> None:
        """An ELF core of the guest's memory, as large as that (QMP dump-guest-memory)."""
        monitor = self.monitor
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HypervisorError(f"{self.name}: no core can be written to {path}: {error.strerror}") from error
        try:
            await monitor.hand_over("core", descriptor)
        finally:
            os.close(descriptor)
        await monitor.execute("dump-guest-memory", {"paging": False, "protocol": "fd:core"}, deadline_s=600)

    async def release_disks(self) -> None:
        """Give up the locks on all images of a stopped guest (blockdev-set-active, QEMU 10.0 and newer)."""
        if self.observed.state is State.RUNNING:
            # QEMU would do it, and end at the guest's next write.
            raise HypervisorError(f"{self.name}: a running guest can't let go of its disks")
        nodes = await self.monitor.execute("query-named-block-nodes", {"flat": True})
        if any(not node.get("ro", True) for node in nodes):
            await self.monitor.execute("blockdev-set-active", {"active": False})

    def go_on_from(self, old: Run) -> None:
        """The same guest, which stands still, in another QEMU from here on: its console goes on where it was."""
        try:
            self.console.go_on_from(old.console)
        except OSError as error:
            # Those who follow it see the rest all the same.
            log.warning("a console's past was not kept", domain=self.name, error=str(error))
        self._firmware_reset = old._firmware_reset

    async def destroy(self) -> None:
        """Ask QEMU to quit, which flushes its disks; kill it if it does not."""
        self._ending = True
        if not self.process.gone and self._monitor is not None:
            with contextlib.suppress(HypervisorError):
                await self._monitor.execute("quit", deadline_s=self._patience.quit_s)
                await self.process.wait_until(self._patience.quit_s)
        await self.process.kill()
        await self._watch

    async def vcpus(self, ticks_per_s: int) -> tuple[VcpuInfo, ...]:
        return tuple(self._vcpu(index, number, ticks_per_s) for index, number in await self._ask_vcpus())

    async def vcpu_threads(self) -> dict[int, int]:
        """The host's number of each vCPU's thread. Asked for once, and once more when there are others."""
        if not self._vcpu_threads:
            found = await self._ask_vcpus()
            self._vcpu_threads = {index: self._threads[told] for index, told in found if told in self._threads}
        return self._vcpu_threads

    def expect_vcpus(self, count: int) -> None:
        """So many there are: if more were plugged in, their threads have to be found."""
        if count != len(self._vcpu_threads):
            self._vcpu_threads = {}

    async def _ask_vcpus(self) -> list[tuple[int, int]]:
        """Each one's index, and its thread as QEMU numbers it."""
        try:
            found = answers.vcpus(await self.monitor.execute("query-cpus-fast"))
        except Malformed as error:
            raise HypervisorError(f"{self.name}: QEMU tells of a vCPU with {error}") from error
        if {number for _, number in found} - self._threads.keys():
            self._threads = host_threads(self.process.identity.pid)
        return found

    def _vcpu(self, index: int, number: int, ticks_per_s: int) -> VcpuInfo:
        thread = Path(f"/proc/{self.process.identity.pid}/task/{self._threads.get(number, 0)}")
        text = ""
        with contextlib.suppress(OSError):
            text = (thread / "stat").read_text(errors="replace")
        fields = text[text.rindex(")") + 2 :].split() if text else []
        running = self.observed.state is State.RUNNING
        return VcpuInfo(
            index=index,
            cpu=int(fields[36]) if fields and running else None,
            running=running and bool(fields) and fields[0] == "R",
            blocked=running and bool(fields) and fields[0] != "R",
            cpu_time_s=(int(fields[11]) + int(fields[12])) / ticks_per_s if fields else 0.0,
        )

    async def detach(self) -> None:
        """Let go; the guest goes on."""
        self._watch.cancel()
        if self._rearm is not None:
            self._rearm.cancel()
        await self.freezer.let_go()
        self._keeper.stop()
        self.console.detach()
        self.process.detach()
        if self._monitor is not None:
            await self._monitor.close()

    async def _watch_process(self) -> None:
        await self.process.wait()
        if self._rearm is not None:
            self._rearm.cancel()
        self.freezer.end()
        if self._monitor is not None:
            await self._monitor.close()
        self._keeper.stop()
        self.console.end()
        end = self.observed.end or (EndReason.DESTROYED if self._ending else EndReason.CRASH)
        said = "" if self._ending else f"QEMU ended by itself: {self.process.exit_words()}"
        words = "" if self._ending else last_words(self.files.qemu_log)
        launched = self.observed.state is not State.STARTING
        self.observed = replace(self.observed, state=State.OFF, end=end)
        if not launched:
            return  # the launch failed, and says so itself
        message = f"{said}: {words}" if words else said
        self._changed(RunChanged(self.domain, self._domid, State.OFF, end, message))


async def tell_reboots(monitor: Monitor) -> None:
    """Have a reboot by the guest stop it and be told, as the command line asks for; a reset of ours changes that
    for a while."""
    await monitor.execute("set-action", {"reboot": "shutdown"})

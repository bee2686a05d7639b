"""A hypervisor with everything around it that a contract test needs, fake or real, behind one face.

A rig starts guests that it knows how to make act by themselves, and can lose its driver as a killed daemon does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from wirt.hypervisors.fake import FakeCounters, FakeHypervisor, FakeLiveDisks, FakeWorld
from wirt.hypervisors.fake.images import ImageLocks
from wirt.hypervisors.fake.migrations import FakeLiveMigrations
from wirt.hypervisors.qemu.counters import QemuCounters
from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings
from wirt.hypervisors.qemu.live_disks import QemuLiveDisks
from wirt.hypervisors.qemu.migrations import QemuLiveMigrations
from wirt.images.tiny import TinyImage
from wirt.model.devices import DiskFormat, DiskSpec, PortForward, VifKind, VifSpec
from wirt.model.domain import DomainConfig, GuestType, Incarnation
from wirt.model.errors import Unavailable
from wirt.model.lifecycle import EndReason, State
from wirt.model.memory import GivenMemory
from wirt.model.storage import Volume
from wirt.operations.given_memory import of_plan
from wirt.plan.host import Accelerator, HostFacts, HypervisorFacts
from wirt.plan.launch import LaunchPlan, plan_launch
from wirt.ports.clock import SystemClock
from wirt.ports.counters import Counters
from wirt.ports.hypervisor import Hypervisor, Launch, MemoryStream, RunChanged
from wirt.ports.live_disks import LiveDisks
from wirt.ports.migration import LiveMigrations
from wirt.ports.network import Plugged
from wirt.ports.sandbox import Sandbox
from wirt.ports.virtual_clock import VirtualClock
from wirt.sandbox import HostSandbox, NoSandbox

HOST = HostFacts("here", 2, 64 << 30, 64 << 30, can_bridge=False, default_bridge="wirtbr0")
FACTS = HypervisorFacts("any", (10, 0, 0), Accelerator.TCG, "for tests", frozenset(GuestType))
Memory = Path | MemoryStream | None
READY = b"wirt-tiny ready"
BOOT_S = 90.0
"""The tiny guest needs 4 s under software emulation when it is alone; other tests may not leave it alone."""
ECHO_PORT = 7

SHELL_WATCHDOG = r"""
d=/sys/bus/pci/devices/0000:00:04.0; echo 1 > $d/enable; a=$(head -n 1 $d/resource | cut -d ' ' -f 1)
u() { busybox devmem $((a+12)) 16 0x80; busybox devmem $((a+12)) 16 0x86; }
u; busybox devmem $a 32 1; u; busybox devmem $((a+4)) 32 1; u; busybox devmem $((a+12)) 16 0x100
printf '\002' | dd of=$d/config bs=1 seek=104 conv=notrunc
"""
"""Arms the i6300ESB (Intel 6300ESB datasheet, 16: unlock, preload twice, reload, enable), for which Debian's cloud
kernel has no driver. Nobody feeds it, so it bites within milliseconds."""


@dataclass(frozen=True, slots=True)
class Started:
    """A run, with what is needed to adopt it and to start its domain anew."""

    incarnation: Incarnation
    directory: Path
    config: DomainConfig
    given: GivenMemory = field(default_factory=GivenMemory)

    @property
    def domain(self) -> UUID:
        return self.incarnation.domain


class Changes:
    """Everything that a driver has told so far."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self.seen: list[RunChanged] = []
        self._more = asyncio.Condition()
        self._reader = asyncio.create_task(self._read(hypervisor))

    async def until(
        self, domain: UUID, state: State, end: EndReason | None = None, *, within_s: float = BOOT_S
    ) -> None:
        """Return once ``domain``'s newest change is ``state`` for the reason ``end``."""

        def reached() -> bool:
            mine = [change for change in self.seen if change.domain == domain]
            return bool(mine) and (mine[-1].state, mine[-1].end) == (state, end)

        async with self._more:
            try:
                await asyncio.wait_for(self._more.wait_for(reached), within_s)
            except TimeoutError:
                raise AssertionError(f"never {state} for {end}, only {self.seen}") from None

    def of(self, domain: UUID) -> list[tuple[State, EndReason | None]]:
        return [(change.state, change.end) for change in self.seen if change.domain == domain]

    async def close(self) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self, hypervisor: Hypervisor) -> None:
        async for change in hypervisor.changes():
            async with self._more:
                self.seen.append(change)
                self._more.notify_all()


class Rig(Protocol):
    hypervisor: Hypervisor
    live_disks: LiveDisks
    migrations: LiveMigrations
    counters: Counters
    changes: Changes

    def config(self, name: str = "guest", *, disk: Path | None = None, vcpus: int = 1) -> DomainConfig: ...

    async def start(
        self,
        config: DomainConfig,
        domain: UUID | None = None,
        memory: Memory = None,
        *,
        incoming: bool = False,
        beside: UUID | None = None,
        given: GivenMemory | None = None,
    ) -> Started:
        """Launched, and paused: before its first instruction, or where it was when its memory was saved.
        ``incoming``: it waits for its memory from another host. ``given``: the memory of one that began
        elsewhere."""
        ...

    async def remember(self, started: Started) -> None:
        """Have a running guest put something into its memory."""
        ...

    async def remembers(self, started: Started) -> bool:
        """Whether a running guest has all of it still."""
        ...

    async def lose_daemon(self) -> None:
        """The driver is gone without a word, and a new one is there that knows of nothing."""
        ...

    async def let_run(self, started: Started, seconds: float) -> None:
        """Let a running guest use the CPU for ``seconds``."""
        ...

    async def power_off(self, started: Started) -> None: ...
    async def reboot(self, started: Started) -> None: ...
    async def panic(self, started: Started) -> None: ...
    async def watchdog(self, started: Started) -> None: ...
    async def vanish(self, started: Started) -> None: ...
    def exists(self, started: Started) -> bool: ...

    def image(self, name: str, size: int, format_: DiskFormat, backing: Volume | None = None) -> Volume:
        """A new disk image; an overlay if it stands on another."""
        ...

    def full_image(self, name: str, size: int, content: int) -> Volume: ...

    def rename(self, old: str, new: str) -> None:
        """Give an image another name, as one may while it is in use."""
        ...

    async def close(self) -> None: ...


async def ready(rig: Rig, domain: UUID, offset: int = 0) -> int:
    """Wait until a guest has said that it is ready, after ``offset`` of its console; the offset after that."""

    async def look() -> int:
        text = b""
        async for chunk in rig.hypervisor.console(domain).follow(offset):
            text += chunk.data
            if READY in text:
                return chunk.offset + len(chunk.data)
        raise AssertionError(f"it ended before it was ready: {text.decode(errors='replace')[-2000:]}")

    try:
        return await asyncio.wait_for(look(), BOOT_S)
    except TimeoutError:
        text = rig.hypervisor.console(domain).read(offset).data.decode(errors="replace")
        raise AssertionError(f"not ready after {BOOT_S:g} s: {text[-2000:]}") from None


def disks(disk: Path | None) -> tuple[DiskSpec, ...]:
    return () if disk is None else (DiskSpec(vdev="xvda", target=str(disk)),)


def make_disk(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(1 << 20)
    return path


class FakeRig:
    def __init__(
        self, tmp_path: Path, clock: VirtualClock | None = None, images: ImageLocks | None = None
    ) -> None:
        self.clock = clock or VirtualClock()
        self.world = FakeWorld(self.clock, images=images)
        self._tmp_path = tmp_path
        self._launches = 0
        self._connect()

    def _connect(self) -> None:
        fake = FakeHypervisor(self.world)
        self.hypervisor: Hypervisor = fake
        self.live_disks: LiveDisks = FakeLiveDisks(fake)
        self.migrations: LiveMigrations = FakeLiveMigrations(fake)
        self.counters: Counters = FakeCounters(fake)
        self.changes = Changes(self.hypervisor)

    def config(self, name: str = "guest", *, disk: Path | None = None, vcpus: int = 1) -> DomainConfig:
        return DomainConfig(
            name=name, type=GuestType.PVH, memory_mib=96, kernel="/vmlinuz", vcpus=vcpus, disks=disks(disk)
        )

    async def start(
        self,
        config: DomainConfig,
        domain: UUID | None = None,
        memory: Memory = None,
        *,
        incoming: bool = False,
        beside: UUID | None = None,
        given: GivenMemory | None = None,
    ) -> Started:
        self._launches += 1
        return await launch(
            self.hypervisor,
            config,
            domain or uuid4(),
            self._launches,
            self._tmp_path / "runs" / str(self._launches),
            memory,
            incoming=incoming,
            beside=beside,
            given=given,
        )

    async def remember(self, started: Started) -> None:
        self.world.guest(started.domain).memory = b"what was"

    async def remembers(self, started: Started) -> bool:
        return self.world.guest(started.domain).memory == b"what was"

    async def lose_daemon(self) -> None:
        await self.changes.close()
        self.world.kill_daemon()
        self._connect()

    async def let_run(self, started: Started, seconds: float) -> None:
        self.world.guest(started.domain).load = 1.0
        await self.clock.advance(seconds)

    async def power_off(self, started: Started) -> None:
        self.world.guest(started.domain).power_off()

    async def reboot(self, started: Started) -> None:
        self.world.guest(started.domain).reboot()

    async def panic(self, started: Started) -> None:
        self.world.guest(started.domain).panic()

    async def watchdog(self, started: Started) -> None:
        self.world.guest(started.domain).watchdog()

    async def vanish(self, started: Started) -> None:
        self.world.guest(started.domain).vanish()

    def exists(self, started: Started) -> bool:
        return any(guest.domain == started.domain for guest in self.world.guests())

    def image(self, name: str, size: int, format_: DiskFormat, backing: Volume | None = None) -> Volume:
        path = self._tmp_path / name
        with path.open("wb") as file:
            file.truncate(size)
        if backing is not None:
            self.world.backing[str(path)] = (backing.path, *self.world.backing.get(backing.path, ()))
        return Volume("tests", name, format_, size, 0, str(path))

    def full_image(self, name: str, size: int, content: int) -> Volume:
        volume = self.image(name, size, DiskFormat.RAW)
        self.world.full.add(volume.path)
        return volume

    def rename(self, old: str, new: str) -> None:
        Path(old).rename(new)
        self.world.renamed(old, new)

    async def close(self) -> None:
        await self.changes.close()


class QemuRig:
    """Real guests, which obey commands sent to their echo port (and so without any driver)."""

    def __init__(
        self, tmp_path: Path, tiny: TinyImage, settings: QemuSettings, sandbox: Sandbox | None = None
    ) -> None:
        self.binary = settings.binary
        self.accelerator = FACTS.accelerator
        self.sandbox = sandbox or jail_here()
        self._tiny = tiny
        self.settings = settings
        self._tmp_path = tmp_path
        self._started: list[Started] = []
        self._mounts: list[Path] = []
        self._connect()

    def _connect(self) -> None:
        qemu = QemuHypervisor(self.settings, self.sandbox)
        self.hypervisor: Hypervisor = qemu
        self.live_disks: LiveDisks = QemuLiveDisks(qemu)
        self.migrations: LiveMigrations = QemuLiveMigrations(qemu)
        self.counters: Counters = QemuCounters(qemu, SystemClock())
        self.changes = Changes(self.hypervisor)

    def config(self, name: str = "guest", *, disk: Path | None = None, vcpus: int = 1) -> DomainConfig:
        forward = PortForward("tcp", ECHO_PORT, free_port())
        return DomainConfig(
            name=name,
            type=GuestType.PVH,
            memory_mib=96,
            kernel=str(self._tiny.kernel),
            ramdisk=str(self._tiny.initramfs),
            cmdline="console=ttyS0 ip=10.0.2.15/24",
            vcpus=vcpus,
            disks=disks(disk),
            vifs=(VifSpec(kind=VifKind.USER, ip=("10.0.2.15/24",), forwards=(forward,)),),
        )

    async def start(
        self,
        config: DomainConfig,
        domain: UUID | None = None,
        memory: Memory = None,
        *,
        incoming: bool = False,
        beside: UUID | None = None,
        given: GivenMemory | None = None,
    ) -> Started:
        number = len(self._started) + 1
        directory = self._tmp_path / "runs" / str(number)
        started = await launch(
            self.hypervisor,
            config,
            domain or uuid4(),
            number,
            directory,
            memory,
            incoming=incoming,
            beside=beside,
            given=given,
            accelerator=self.accelerator,
        )
        self._started.append(started)
        return started

    async def remember(self, started: Started) -> None:
        await self.command(started, "dirty 8 4")

    async def remembers(self, started: Started) -> bool:
        answer = await self.command(started, "mem-verify", within_s=60)
        return "ok=1" in answer

    def started_elsewhere(self, started: Started) -> Started:
        """Have a guest that another process has started ended with the rest."""
        self._started.append(started)
        return started

    async def lose_daemon(self) -> None:
        # Its connections must close, as they do when a process dies; a daemon that really dies is another test.
        await self.hypervisor.detach()
        await self.changes.close()
        self._connect()

    async def let_run(self, started: Started, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def power_off(self, started: Started) -> None:
        await self.command(started, "poweroff")

    async def reboot(self, started: Started) -> None:
        await self.command(started, "reboot")

    async def panic(self, started: Started) -> None:
        await self.command(started, "panic")

    async def watchdog(self, started: Started) -> None:
        console = self.hypervisor.console(started.domain)
        for line in SHELL_WATCHDOG.strip().splitlines():
            await console.write(line.encode() + b"\n")

    async def vanish(self, started: Started) -> None:
        assert started.incarnation.pid is not None
        os.kill(started.incarnation.pid, signal.SIGKILL)

    def exists(self, started: Started) -> bool:
        return is_alive(started.incarnation)

    def image(self, name: str, size: int, format_: DiskFormat, backing: Volume | None = None) -> Volume:
        path = self._tmp_path / name
        below = () if backing is None else ("-b", backing.path, "-F", str(backing.format))
        command = ("qemu-img", "create", "-q", "-f", str(format_), *below, str(path), str(size))
        subprocess.run(command, check=True, capture_output=True)
        return Volume("tests", name, format_, size, 0, str(path))

    def rename(self, old: str, new: str) -> None:
        Path(old).rename(new)

    def full_image(self, name: str, size: int, content: int) -> Volume:
        """On a file system of its own, which has no room for more than ``content`` bytes."""
        place = self._tmp_path / f"full-{name}"
        place.mkdir()
        options = ("-t", "tmpfs", "-o", f"size={content},mode=0700", "none", str(place))
        if subprocess.run(("mount", *options), check=False, capture_output=True).returncode != 0:
            pytest.skip("needs to mount a small file system: run as root")
        self._mounts.append(place)
        with (place / name).open("wb") as file:
            file.truncate(size)
        return Volume("tests", name, DiskFormat.RAW, size, 0, str(place / name))

    async def command(self, started: Started, command: str, within_s: float = 5) -> str:
        port = started.config.vifs[0].forwards[0].host_port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"wirt {command}\n".encode())
        await writer.drain()
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            answer = await asyncio.wait_for(reader.readline(), within_s)
        writer.close()
        return answer.decode(errors="replace").strip()

    async def close(self) -> None:
        await self.changes.close()
        await self.hypervisor.detach()
        for started in self._started:
            if is_alive(started.incarnation):
                assert started.incarnation.pid is not None
                os.kill(started.incarnation.pid, signal.SIGKILL)
                await eventually(lambda started=started: not is_alive(started.incarnation))  # type: ignore[misc]
            await self.sandbox.clear(started.directory)
        for left in (self._tmp_path / "runs").glob("*"):  # of starts that failed, which an operation would undo
            await self.sandbox.clear(left)
        for place in self._mounts:
            await asyncio.to_thread(subprocess.run, ("umount", str(place)), check=True)


def jail_here() -> Sandbox:
    """The jail that this machine allows."""
    try:
        return HostSandbox.here()
    except Unavailable as error:
        return NoSandbox(error.message)


async def launch(
    hypervisor: Hypervisor,
    config: DomainConfig,
    domain: UUID,
    domid: int,
    directory: Path,
    memory: Memory = None,
    *,
    incoming: bool = False,
    beside: UUID | None = None,
    given: GivenMemory | None = None,
    accelerator: Accelerator = FACTS.accelerator,
) -> Started:
    facts = replace(FACTS, version=(await hypervisor.facts()).version, accelerator=accelerator)
    plan = plan_launch(config, domain, domid, HOST, facts, memory=given)
    begun = Incarnation(domain, domid, HOST.name, 1, hypervisor.name, 0.0)
    incarnation = await hypervisor.launch(Launch(plan, begun, directory, plugged(plan), memory, incoming, beside))
    return Started(incarnation, directory, config, of_plan(plan))


def plugged(plan: LaunchPlan) -> tuple[Plugged, ...]:
    return tuple(Plugged(nic, nic.kind, forwards=nic.forwards) for nic in plan.nics)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_alive(incarnation: Incarnation) -> bool:
    """Whether the very process of ``incarnation`` lives: not a zombie, and no other with its number."""
    try:
        text = Path(f"/proc/{incarnation.pid}/stat").read_text()
    except OSError:
        return False
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0] != "Z" and int(fields[19]) == incarnation.started_ticks


async def eventually(what: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for something that nothing tells of, such as a process that vanishes."""
    for _ in range(int(within_s / 0.02)):
        if what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not so after {within_s:g} s")

"""One run in a fake world: what it is, what it does when told, and what its script makes it do by itself."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.fake.agent import FakeAgent
from wirt.hypervisors.fake.balloon import FakeBalloon
from wirt.hypervisors.fake.console import FakeConsole
from wirt.hypervisors.fake.counters import FakeCounts
from wirt.hypervisors.fake.disks import FakeDisks
from wirt.hypervisors.fake.images import Claim, ImageLocks
from wirt.model.errors import DeadlinePassed, HypervisorError, IllegalState, ResourceBusy, Shortage
from wirt.model.lifecycle import EndReason, State
from wirt.plan.launch import LaunchPlan
from wirt.plan.nics import NicPlan
from wirt.ports.clock import Clock
from wirt.ports.hypervisor import Observed, RunChanged

Tell = Callable[["FakeGuest", RunChanged], None]
Script = Callable[["FakeGuest"], None]

THREADS = 1000
"""More than any guest has vCPUs."""
GUEST_STATES = (State.RUNNING, State.PAUSED)
"""Those in which there is still a guest, and not only what is left of one."""
_STATE = re.compile(rb"(\d+) vCPUs, unused:([ \d]*)\n")


class FakeGuest:
    """Tests and simulations drive the public methods of the second half; the driver those of the first.

    ``obeys_power_button``, ``lets_cards_go``, ``agent``, ``balloon``, ``load`` and ``counted`` may be set at any
    time.
    ``links``: of each card, by its devid, whether the cable is in. ``thrown_out``: cards that it did away with
    unasked. ``memory``: anything that a script keeps in it. ``vcpus``: as many as it has, of which it does not use
    ``unused``; ``uses_new_vcpus``: it brings those up by itself that are plugged in.
    """

    __slots__ = (
        "_clock",
        "_cpu_time_s",
        "_holds_disks",
        "_images",
        "_leaving",
        "_load",
        "_on_boot",
        "_running_since",
        "_tell",
        "agent",
        "balloon",
        "console",
        "counted",
        "directory",
        "disks",
        "domain",
        "domid",
        "lets_cards_go",
        "links",
        "memory",
        "memory_mib",
        "mirrors",
        "name",
        "number",
        "obeys_power_button",
        "observed",
        "plan",
        "thrown_out",
        "travel",
        "unused",
        "uses_new_vcpus",
        "vcpus",
    )

    def __init__(
        self,
        number: int,
        plan: LaunchPlan,
        domid: int,
        directory: Path,
        clock: Clock,
        images: ImageLocks,
        disks: FakeDisks,
        on_boot: Script,
        ring_bytes: int,
        tell: Tell,
        incoming: bool = False,
    ) -> None:
        """``ResourceBusy`` if a disk is in use. ``incoming``: it takes its disks when it is resumed."""
        self.number = number
        self.plan = plan
        self.domain: UUID = plan.uuid
        self.domid = domid
        self.directory = directory
        """Only a name here, which tells this run from others as the real one's directory does."""
        self.name = plan.name
        self.memory_mib = plan.memory_mib
        self.vcpus = plan.vcpus
        self.unused: set[int] = set()
        self.uses_new_vcpus = False
        self.balloon = FakeBalloon.of(plan)
        self.disks = disks
        self.memory = b""
        self.console = FakeConsole(plan.name, ring_bytes)
        self.observed = Observed(State.PAUSED)
        self.obeys_power_button = True
        self.lets_cards_go = True
        self.agent = None if plan.agent_slot is None else FakeAgent(clock)
        self.links = {nic.index: True for nic in plan.nics}
        self.thrown_out: set[int] = set()
        self._leaving: set[int] = set()
        self._clock = clock
        self._images = images
        self._on_boot: Script | None = on_boot
        self._tell = tell
        self._running_since: float | None = None
        self._cpu_time_s = 0.0
        self._load = 0.0
        self.counted = FakeCounts()
        self.mirrors: set[str] = set()
        self.travel: tuple[State, socket.socket] | None = None
        """What it did before it stood still to be moved, and where the rest of it is to go."""
        self._holds_disks = not incoming
        if not incoming:
            images.take(self, plan.name, self.claims)

    @property
    def gone(self) -> bool:
        return self.observed.state is State.OFF

    @property
    def cpu_time_s(self) -> float:
        """What all vCPUs together have used, by the clock."""
        since = self._running_since
        ran = 0.0 if since is None else self._clock.monotonic() - since
        return self._cpu_time_s + ran * self._load * (self.vcpus - len(self.unused))

    def thread(self, vcpu: int) -> int:
        """The number of the thread that would be its vCPU."""
        return self.number * THREADS + vcpu

    @property
    def load(self) -> float:
        """The share of each vCPU (0 to 1) that it keeps busy while it runs."""
        return self._load

    @load.setter
    def load(self, load: float) -> None:
        self._count_cpu_time()
        self._load = load

    @property
    def claims(self) -> tuple[Claim, ...]:
        return self.disks.claims

    # What the driver does with it.

    def resume(self) -> None:
        if self.observed.end is not None:
            raise HypervisorError(f"{self.name}: the guest has ended; it can only be reset or destroyed")
        self._hold_disks()
        self._become(Observed(State.RUNNING))
        boot, self._on_boot = self._on_boot, None
        if boot is not None:
            boot(self)

    @property
    def state(self) -> bytes:
        """What of it another run needs to go on."""
        return (
            b"%d vCPUs, unused:%s\n" % (self.vcpus, b"".join(b" %d" % each for each in self.unused)) + self.memory
        )

    def begin_from(self, state: bytes) -> None:
        """Instead of booting, go on with what another run had. ``HypervisorError`` if that had other vCPUs."""
        head = _STATE.match(state)
        if head is None or int(head[1]) != self.vcpus:
            raise HypervisorError(f"{self.name}: it has {self.vcpus} vCPUs, and is to go on from another machine")
        self.unused = {int(each) for each in head[2].split()}
        self.memory = state[head.end() :]
        self._on_boot = None

    def plug_vcpus(self, count: int) -> None:
        self._count_cpu_time()
        if not self.uses_new_vcpus:
            self.unused |= set(range(self.vcpus, count))
        self.vcpus = count

    def switch_vcpus(self, online: Mapping[int, bool]) -> None:
        self._count_cpu_time()
        self.unused -= {number for number, on in online.items() if on}
        self.unused |= {number for number, on in online.items() if not on}

    def pause(self) -> None:
        if self.observed.end is None:
            self._become(Observed(State.PAUSED))

    def press_power_button(self) -> None:
        if self.obeys_power_button and self.observed.state is State.RUNNING:
            self.power_off()

    def reset(self, on_boot: Script) -> None:
        self._hold_disks()
        self._on_boot = None
        self.unused.clear()
        self.let_cards_go()
        self._become(Observed(State.RUNNING))
        on_boot(self)

    def release_disks(self) -> None:
        if self.observed.state is State.RUNNING:
            raise HypervisorError(f"{self.name}: a running guest can't let go of its disks")
        self._images.release(self, self.claims)
        self._holds_disks = False

    def attach_card(self, nic: NicPlan) -> None:
        if nic.index in self.links:
            raise IllegalState(f"{self.name} has a vif {nic.index} already")
        if nic.port is None:
            raise Shortage(f"{self.name} has no place for vif {nic.index}")
        self.links[nic.index] = True
        self.thrown_out.discard(nic.index)

    def ask_for_card(self, devid: int) -> None:
        """``DeadlinePassed`` if the guest keeps it."""
        if devid not in self.links:
            return
        self._leaving.add(devid)
        if not self.lets_cards_go:
            raise DeadlinePassed(f"the guest {self.name} did not let go of vif {devid}")
        self.let_cards_go()

    def end_copies(self) -> None:
        """Of disks, which a daemon began that is gone."""
        for vdev in tuple(self.disks.copies):
            self.disks.end_copy(self, vdev, pivot=False)

    def remove(self, end: EndReason) -> None:
        """The run is over for good; a reason that the guest gave before stays."""
        self._leave(end, "")

    # What the guest does by itself: call these from a script.

    def print(self, data: bytes) -> None:
        self._act("print")
        self.console.print(data)

    def power_off(self) -> None:
        self._act("power off")
        self._become(Observed(State.SHUTDOWN, EndReason.POWEROFF))

    def reboot(self) -> None:
        self._act("reboot")
        self._become(Observed(State.SHUTDOWN, EndReason.REBOOT))

    def panic(self) -> None:
        self._act("panic")
        self._become(Observed(State.CRASHED, EndReason.CRASH))

    def watchdog(self) -> None:
        self._act("trigger its watchdog")
        self._become(Observed(State.CRASHED, EndReason.WATCHDOG))

    def let_cards_go(self) -> None:
        """Those that it was asked for, late as it may be."""
        for devid in self._leaving:
            self.links.pop(devid, None)
        self._leaving.clear()

    def throw_out_card(self, devid: int) -> None:
        """As root in a guest can (/sys/bus/pci/slots/N/power)."""
        self._act("throw out a card")
        if self.links.pop(devid, None) is not None:
            self.thrown_out.add(devid)

    def vanish(self, message: str = "it was killed") -> None:
        """Its process ends without a word, in whatever state it was."""
        self._leave(EndReason.CRASH, message)

    def _leave(self, end: EndReason, message: str) -> None:
        if not self.gone:
            self._images.release(self, self.claims)
            self._holds_disks = False
            self.console.end()
            self._become(Observed(State.OFF, self.observed.end or end), message)

    def _act(self, what: str) -> None:
        if self.observed.state is not State.RUNNING:
            raise IllegalState(f"{self.name} is {self.observed.state} and can't {what}")

    def _hold_disks(self) -> None:
        if self._holds_disks:
            return
        try:
            self._images.take(self, self.name, self.claims)
        except ResourceBusy as error:
            raise HypervisorError(f"{self.name}: its disks are someone else's now") from error
        self._holds_disks = True

    def _become(self, then: Observed, message: str = "") -> None:
        if then == self.observed:
            return
        self._count_cpu_time()
        self.observed = then
        self._running_since = self._clock.monotonic() if then.state is State.RUNNING else None
        self._tell(self, RunChanged(self.domain, self.domid, then.state, then.end, message))

    def _count_cpu_time(self) -> None:
        self._cpu_time_s = self.cpu_time_s
        if self._running_since is not None:
            self._running_since = self._clock.monotonic()

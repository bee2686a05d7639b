"""The hardware under a fake hypervisor. It outlives the daemon: kill the driver, make another, and it adopts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.fake.console import RING_BYTES
from wirt.hypervisors.fake.disks import FakeDisks, file_size
from wirt.hypervisors.fake.faults import Fault, Verb
from wirt.hypervisors.fake.guest import FakeGuest, Script
from wirt.hypervisors.fake.images import ImageLocks
from wirt.model.cpu import CpuModel, CpuOffer
from wirt.model.domain import GuestType
from wirt.model.errors import NotFound
from wirt.plan.host import Accelerator, HypervisorFacts
from wirt.plan.launch import LaunchPlan
from wirt.ports.clock import Clock
from wirt.ports.hypervisor import RunChanged
from wirt.ports.shares import RunShares

_SMALL_NAMES = "cmov cx16 cx8 fpu fxsr lm mmx nx pae sse sse2 syscall tsc"
_SMALL = frozenset(_SMALL_NAMES.split())
CPU = CpuOffer(
    "Pretended",
    "Pretended family 1 model 1",
    _SMALL | {"aes", "avx", "popcnt", "svm", "xsave"},
    (
        CpuModel("Huge", frozenset(), ("avx2",)),
        CpuModel("Larger", _SMALL | {"popcnt"}),
        CpuModel("qemu64", _SMALL),
    ),
)
FACTS = HypervisorFacts(
    name="fake",
    version=(1, 0, 0),
    accelerator=Accelerator.NONE,
    accelerator_reason="guests are only pretended: nothing is executed",
    guest_types=frozenset(GuestType),
    notes=("this hypervisor keeps its guests in memory: they end with the daemon",),
    cpu=CPU,
)

Listener = Callable[[FakeGuest, RunChanged], None]


def say_ready(guest: FakeGuest) -> None:
    """What a guest does when it boots, unless told otherwise: it says so, in the tiny guest's words."""
    guest.print(b"wirt-tiny ready\r\n")


@dataclass(slots=True)
class _Injected:
    fault: Fault
    domain: UUID | None
    left: int


class FakeWorld:
    """One host's hardware and everything that runs on it.

    ``images`` is shared between hosts that share storage. ``on_boot`` is run when a guest starts, and after each
    reset. No guest costs a task or a timer: a thousand are a thousand small values.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        images: ImageLocks | None = None,
        on_boot: Script = say_ready,
        ring_bytes: int = RING_BYTES,
        facts: HypervisorFacts = FACTS,
    ) -> None:
        self.clock = clock
        self.images = images or ImageLocks()
        self.on_boot = on_boot
        self.facts = facts
        self.latency_s: dict[Verb, float] = {}
        """Seconds that a verb takes before it has its effect; none where it is absent."""
        self.backing: dict[str, tuple[str, ...]] = {}
        self.on_merge: Callable[[str, str], None] = lambda path, below: None
        """Told of each image that a guest's disk had put into the one below it."""
        """What qcow2 images say that they stand on; nothing where they are absent."""
        self.affinity: dict[int, frozenset[int]] = {}
        """Of the threads of vCPUs, where somebody has said it (vcpu_threads.py)."""
        self.disk_weights: dict[Path, int] = {}
        """By the run's directory (shares.py)."""
        self.shares: dict[Path, RunShares] = {}
        """Of the CPUs, by the run's directory (shares.py)."""
        self.size_of: Callable[[str], int] = file_size
        """How large an image is to its guest, in bytes, by its path."""
        self.full: set[str] = set()
        """Images into which nothing more can be written."""
        self.backups: dict[int, object] = {}
        """What is begun and not ended, by the run's number (backup.py)."""
        self._ring_bytes = ring_bytes
        # More than one run of a domain is what must never be, so the world can hold it and a simulation see it.
        self._guests: dict[UUID, list[FakeGuest]] = {}
        self._faults: dict[Verb, deque[_Injected]] = {}
        self._started = 0
        self._daemon = 0
        self._listener: Listener | None = None

    # For tests and simulations.

    def guest(self, domain: UUID) -> FakeGuest:
        """The newest run of ``domain``, to be scripted. ``NotFound`` if there is none."""
        try:
            return self._guests[domain][-1]
        except KeyError:
            raise NotFound(f"domain {domain} does not run in this world") from None

    def guests(self) -> tuple[FakeGuest, ...]:
        """All runs that hold a process, those that have ended and wait for the daemon included."""
        return tuple(guest for runs in self._guests.values() for guest in runs)

    def fail(self, verb: Verb, fault: Fault, *, domain: UUID | None = None, times: int = 1) -> None:
        """Let ``verb`` meet ``fault`` the next ``times`` times, for ``domain`` only if one is given."""
        self._faults.setdefault(verb, deque()).append(_Injected(fault, domain, times))

    def renamed(self, old: str, new: str) -> None:
        """An image has another name now. Whoever has it open has it open still."""
        self.images.renamed(old, new)
        for guest in self.guests():
            guest.disks.renamed(old, new)

    def kill_daemon(self) -> None:
        """As kill -9 does: the present driver reaches nothing any more, and no guest notices."""
        self._daemon += 1
        self._listener = None

    def lose_power(self) -> None:
        """The host goes dark: daemon and guests end at once, and nobody is told."""
        self.kill_daemon()
        for guest in self.guests():
            guest.vanish("the host lost power")

    # For the driver.

    def new_daemon(self) -> int:
        """A driver's number. There is one daemon on a host: a new one replaces whatever was there."""
        self.kill_daemon()
        return self._daemon

    def serves(self, daemon: int) -> bool:
        return daemon == self._daemon

    def listen(self, listener: Listener | None) -> None:
        self._listener = listener

    def take_fault(self, verb: Verb, domain: UUID) -> Fault | None:
        waiting = self._faults.get(verb, ())
        for injected in waiting:
            if injected.domain in (None, domain):
                injected.left -= 1
                if injected.left <= 0:
                    self._faults[verb].remove(injected)
                return injected.fault
        return None

    def start(self, plan: LaunchPlan, domid: int, directory: Path, *, incoming: bool = False) -> FakeGuest:
        """A new run, paused. ``ResourceBusy`` if a disk is in use."""
        self._started += 1
        guest = FakeGuest(
            self._started,
            plan,
            domid,
            directory,
            self.clock,
            self.images,
            FakeDisks(plan, self.backing, self.size_of, self.images),
            self.on_boot,
            self._ring_bytes,
            self._tell,
            incoming,
        )
        self._guests.setdefault(plan.uuid, []).append(guest)
        return guest

    def runs_of(self, domain: UUID) -> tuple[FakeGuest, ...]:
        return tuple(self._guests.get(domain, ()))

    def rekey(self, guest: FakeGuest, domain: UUID, name: str) -> None:
        """Give ``guest`` another identity."""
        self._drop(guest)
        guest.domain, guest.name = domain, name
        self._guests.setdefault(domain, []).append(guest)

    def _tell(self, guest: FakeGuest, change: RunChanged) -> None:
        if guest.gone:
            self._drop(guest)
            self.backups.pop(guest.number, None)
        if self._listener is not None:
            self._listener(guest, change)

    def _drop(self, guest: FakeGuest) -> None:
        runs = self._guests[guest.domain]
        runs.remove(guest)
        if not runs:
            del self._guests[guest.domain]

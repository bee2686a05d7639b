"""What wirt asks of a hypervisor: small verbs over incarnations, events, and a console.

A driver starts, watches and ends runs; it never decides what should run (operations do) nor how (plans do).
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from uuid import UUID

from wirt.model.cpu import GivenCpu
from wirt.model.domain import Incarnation
from wirt.model.lifecycle import EndReason, State
from wirt.plan.cpu import ChosenCpu
from wirt.plan.host import HypervisorFacts
from wirt.plan.launch import LaunchPlan
from wirt.ports.balloons import Balloons
from wirt.ports.guest_agent import GuestAgents
from wirt.ports.network import Plugged
from wirt.ports.vcpu_plugs import VcpuPlugs


@dataclass(frozen=True, slots=True)
class Observed:
    """A run as it is now. ``end`` is known once the guest has stopped by itself."""

    state: State
    end: EndReason | None = None


@dataclass(frozen=True, slots=True)
class RunChanged:
    """A run's state changed, by the guest's doing or ours. ``OFF`` means that the run is gone for good.
    ``domid`` tells one run of a domain from the next."""

    domain: UUID
    domid: int
    state: State
    end: EndReason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class VcpuInfo:
    """``cpu`` is the host CPU it last ran on, ``None`` when unknown; ``cpu_time_s`` what it has used."""

    index: int
    cpu: int | None
    running: bool
    blocked: bool
    cpu_time_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """``cpu_time_s`` over all vCPUs; ``blocked``: every vCPU waits."""

    cpu_time_s: float
    blocked: bool
    memory_mib: int


class ResetKind(StrEnum):
    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class ConsoleChunk:
    """``data`` as it stood at ``offset`` of all that the guest ever printed since it was started."""

    offset: int
    data: bytes


class Console(Protocol):
    """A guest's console. Output is kept from the first byte in a bounded ring that outlives the daemon, and
    is always drained: a reader that stops reading never stalls the guest."""

    def read(self, offset: int) -> ConsoleChunk:
        """What is kept from ``offset`` on; if that is gone, from the oldest byte kept (its offset says so)."""
        ...

    def follow(self, offset: int) -> AsyncIterator[ConsoleChunk]:
        """``read`` and then everything that comes, until the run has ended and all of it was read."""
        ...

    async def write(self, data: bytes) -> None:
        """Type ``data``. ``IllegalState`` when the run has ended."""
        ...

    def begin_from(self, offset: int, data: bytes) -> None:
        """What the guest printed elsewhere before it came here, as in :class:`ConsoleChunk`: offsets go on behind
        it, for another daemon too. Of a guest that has printed nothing here yet; ``IllegalState`` of another.
        ``Shortage``: it can't be kept, and offsets begin anew."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryStream:
    """A guest's memory as it comes out of a pipe. ``file`` is unbuffered, and the driver's to close; ``size`` is
    about what will come, in bytes."""

    file: io.FileIO
    size: int


@dataclass(frozen=True, slots=True)
class Launch:
    """All that belongs to one start. ``directory`` is the run's own, made by the driver, removed by
    ``forget``. ``memory``: what :meth:`~wirt.ports.live_disks.LiveDisks.save_memory` or ``stream_memory`` wrote,
    from which the guest goes on where it was then; it has the same devices. ``incoming``: it waits for memory and
    devices from another host, or another run (:mod:`wirt.ports.migration`). ``beside``: another run of the domain
    is there; until :meth:`Hypervisor.take_place` this one is known by ``beside``, in place of its domain's UUID,
    and its user-mode cards have no network."""

    plan: LaunchPlan
    incarnation: Incarnation
    directory: Path
    plugged: tuple[Plugged, ...] = field(default=())
    memory: Path | MemoryStream | None = None
    incoming: bool = False
    beside: UUID | None = None


CPU, CPU_FEATURES, CPU_IDENTITY = "cpu", "cpu-features", "cpu-identity"
"""In an incarnation's notes: the CPU that its guest was really given (:func:`given_cpu`)."""


def cpu_notes(cpu: ChosenCpu | None, missing: frozenset[str] = frozenset()) -> dict[str, str]:
    """``missing``: what the hypervisor could not give it after all. Nothing where that is not known."""
    if cpu is None or not cpu.features:
        return {}
    notes = {CPU: cpu.model, CPU_FEATURES: " ".join(sorted(cpu.features - missing))}
    return {**notes, CPU_IDENTITY: cpu.identity} if cpu.identity else notes


def given_cpu(incarnation: Incarnation, model: str) -> GivenCpu:
    """What the notes of a run say of its CPU. ``model``: what its plan says, for a run of which they say
    nothing."""
    notes = incarnation.notes
    features = frozenset(notes.get(CPU_FEATURES, "").split())
    return GivenCpu(notes.get(CPU, model), features, notes.get(CPU_IDENTITY, ""))


class Hypervisor(Protocol):
    """Errors: ``LaunchFailed`` (with the hypervisor's own last words), ``HypervisorSilent`` (a deadline
    passed), ``HypervisorError`` (it refused), ``IllegalState`` (the run is gone). Every wait is bounded."""

    @property
    def name(self) -> str: ...

    @property
    def agents(self) -> GuestAgents:
        """The way to agents inside the guests."""
        ...

    @property
    def balloons(self) -> Balloons:
        """The way to the memory of guests that run."""
        ...

    @property
    def vcpu_plugs(self) -> VcpuPlugs:
        """The way to more vCPUs for guests that run."""
        ...

    async def facts(self) -> HypervisorFacts: ...

    def describe(self, plan: LaunchPlan, directory: Path) -> tuple[str, ...]:
        """The command line (or its like) that ``launch`` would use: for people, and for tests."""
        ...

    async def backing(self, plan: LaunchPlan) -> Mapping[str, tuple[str, ...]]:
        """What each image of ``plan`` that can stand on others does stand on, by real paths: the file right below
        it first. As the images say it themselves, now."""
        ...

    async def launch(self, launch: Launch) -> Incarnation:
        """Start it, paused before its first instruction; the incarnation with pid and notes filled in."""
        ...

    async def adopt(self, incarnation: Incarnation, directory: Path) -> Observed | None:
        """Take over a run that an earlier daemon started; ``None`` if it is gone. What happened to it in
        between is told as it would have been in time."""
        ...

    async def clear(self, domain: UUID, directory: Path) -> None:
        """End and remove whatever is left of a start of ``domain`` that was never recorded."""
        ...

    async def sweep(self, runs: Path, known: frozenset[Path]) -> None:
        """End and remove every run that has its directory in ``runs`` and is not ``known``: nothing records it."""
        ...

    async def resume(self, domain: UUID) -> None: ...

    async def pause(self, domain: UUID) -> None: ...

    async def power_button(self, domain: UUID) -> None:
        """Ask the guest to shut down (ACPI); it may take its time, or ignore it."""
        ...

    async def reset(self, domain: UUID, kind: ResetKind) -> None:
        """Start the guest anew within the same run; it goes on running."""
        ...

    async def dump_core(self, domain: UUID, path: Path) -> None: ...

    async def destroy(self, domain: UUID) -> None:
        """End the run now, flushing what its disks have been given; returns when it is gone. A run that is
        gone already is no error."""
        ...

    async def preserve(self, domain: UUID, kept: UUID, name: str) -> None:
        """Keep an ended run under the new identity ``kept``, called ``name``, and make it let go of its disks,
        so that ``domain`` can be started anew beside it. ``HypervisorError`` if it can't: nothing is changed."""
        ...

    async def take_place(self, domain: UUID, beside: UUID) -> None:
        """Exchange two runs: from now on ``domain`` is the one that was launched as ``beside``, and the other way
        round. Both stand still. Whoever follows the console goes on with the new run's, where they were."""
        ...

    async def connect_cards(self, domain: UUID, devids: frozenset[int]) -> frozenset[int]:
        """Give the user-mode cards of a run that was launched beside another their network, now that the other is
        gone and its ports are free. Those of ``devids`` that are without one all the same, and will be: the daemon
        that could have given it is gone."""
        ...

    def outdated(self, incarnation: Incarnation) -> bool:
        """Whether its run is carried by another program than the one that is installed now. Cheap."""
        ...

    async def rename(self, domain: UUID, name: str) -> None: ...

    def vifs(self, domain: UUID) -> frozenset[int] | None:
        """The devids of the cards that the guest has now. Cheap: no round trip. ``None`` if the run is gone."""
        ...

    async def attach_vif(self, domain: UUID, plugged: Plugged) -> None:
        """Give a guest that runs or is paused another card, and take ``plugged``'s descriptor whatever becomes of
        it. ``IllegalState`` if it has that card, ``Shortage`` if there is no place for it; on any error nothing of
        it is left."""
        ...

    async def detach_vif(self, domain: UUID, devid: int) -> None:
        """Have a running guest let go of a card, and close its network's end. Of one that is gone already, or
        never came wholly, what is left is cleared away. ``IllegalState`` if the guest has it and does not run;
        ``DeadlinePassed`` if it keeps the card: it may let go of it later, which :meth:`vifs` then tells, and this
        is to be called again."""
        ...

    async def set_link(self, domain: UUID, devid: int, *, up: bool) -> None:
        """Pull or plug in a card's cable. It stays so until the end of the run. ``NotFound``: no such card."""
        ...

    async def vcpus(self, domain: UUID) -> tuple[VcpuInfo, ...]: ...

    def usage(self, domain: UUID) -> Usage | None:
        """Cheap: no round trip to the guest. ``None`` if the run is gone."""
        ...

    def console(self, domain: UUID) -> Console: ...

    def changes(self) -> AsyncIterator[RunChanged]:
        """Every change of every run, in order, for one reader."""
        ...

    async def detach(self) -> None:
        """Let go of everything without touching any guest: the daemon is about to end."""
        ...

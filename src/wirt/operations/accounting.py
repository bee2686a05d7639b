"""What domains use: a sample of all of them every second, and the last minute of it in memory.

A pass reads what the kernel counts of every run, and of all cards, at once. Of disks and balloons only the
hypervisors know: a few of them are asked after each pass, in turn, so that many guests cost no more than some.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from wirt.model.accounting import CardCount, HostSample, Sample
from wirt.model.domain import Domain
from wirt.ports.machine import MachineNow

if TYPE_CHECKING:
    from wirt.operations.environment import Environment
    from wirt.ports.network import VifStatistics

log = structlog.get_logger()

EVERY_S = 1.0
KEPT = 60
"""Samples of each domain."""
ASKED_EACH_PASS = 6
"""Hypervisors: of up to so many domains disks are known as they were a second ago."""
_TAP = "tap."


class Accounting:
    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._samples: dict[UUID, deque[Sample]] = {}
        self._host: deque[HostSample] = deque(maxlen=KEPT)
        self._waiting: deque[UUID] = deque()
        self._asking: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._passed = asyncio.Event()
        self.machine: MachineNow | None = None
        """As the last pass found it."""

    def start(self) -> None:
        """Take samples until :meth:`stop`. Does nothing where nothing counts."""
        if self._environment.counters is not None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        tasks = [*self._asking, *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._environment.counters is not None:
            self._environment.counters.close()

    def of(self, domain: UUID) -> Sequence[Sample]:
        """What is kept, the newest last; nothing of a domain that is off."""
        return tuple(self._samples.get(domain, ()))

    def last(self, domain: UUID) -> Sample | None:
        kept = self._samples.get(domain)
        return kept[-1] if kept else None

    async def passed(self) -> None:
        """Wait for the next pass, for as long as that takes."""
        await self._passed.wait()

    @property
    def host(self) -> Sequence[HostSample]:
        return tuple(self._host)

    def take(self) -> None:
        """One pass: never waits, and no run can keep it from the others."""
        environment = self._environment
        assert environment.counters is not None, "start() sees to that"
        now, counts = environment.clock.monotonic(), environment.counters.read()
        traffic = environment.network.all_statistics()
        running = {domain.uuid: domain for domain in environment.domains if domain.uuid in counts}
        for gone in self._samples.keys() - running.keys():
            del self._samples[gone]
        for uuid, domain in running.items():
            kept = self._samples.setdefault(uuid, deque(maxlen=KEPT))
            kept.append(Sample(now, counts[uuid], _cards(domain, traffic)))
        self.machine = environment.machine.now()
        self._host.append(HostSample(now, self.machine.cpu_time_s, self.machine.each_cpu_time_s))
        self._take_turns(running)
        passed, self._passed = self._passed, asyncio.Event()
        passed.set()

    async def ask(self, most: int = ASKED_EACH_PASS) -> None:
        """Those hypervisors whose turn it is. Their answers are in the next pass."""
        assert self._environment.counters is not None
        turn = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._waiting.extend(turn)
        await self._environment.counters.ask(turn)

    async def _run(self) -> None:
        clock = self._environment.clock
        due = clock.monotonic()
        while True:
            try:
                self.take()
                self._begin_to_ask()
                self._failing = False
            except Exception:
                if not self._failing:
                    log.exception("no sample was taken of what domains use; it is tried again each second")
                self._failing = True
            # What a pass takes does not make the next one later; passes that were missed are not made up for.
            due = max(due + EVERY_S, clock.monotonic())
            await clock.sleep(due - clock.monotonic())

    def _begin_to_ask(self) -> None:
        """Beside the passes: a hypervisor that does not answer holds up nobody."""
        task = asyncio.create_task(self.ask())
        self._asking.add(task)
        task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            if (error := task.exception()) is not None:
                log.error("hypervisors could not be asked what their domains use", error=str(error))

    def _take_turns(self, running: Mapping[UUID, Domain]) -> None:
        """Who is new comes first."""
        known = set(self._waiting)
        self._waiting = deque(uuid for uuid in self._waiting if uuid in running)
        self._waiting.extendleft(uuid for uuid in running if uuid not in known)


def _cards(domain: Domain, traffic: Mapping[str, VifStatistics]) -> tuple[CardCount, ...]:
    """Those that have a tap: what goes through a user-mode card nobody counts."""
    notes = domain.incarnation.notes if domain.incarnation is not None else {}
    return tuple(
        _card(int(name.removeprefix(_TAP)), traffic[tap])
        for name, tap in notes.items()
        if name.startswith(_TAP) and tap in traffic
    )


def _card(index: int, of: VifStatistics) -> CardCount:
    return CardCount(index, of.rx_bytes, of.rx_packets, of.rx_dropped, of.tx_bytes, of.tx_packets, of.tx_dropped)

"""The port for counters, on QEMU: /proc tells of its threads, QEMU itself which they are and of its disks."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from wirt.hypervisors.qemu import answers
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.meter import OpenFiles, ProcessMeter
from wirt.hypervisors.qemu.nodes import vdev_of
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.threads import host_threads
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.accounting import DiskCount, RunCount, Told
from wirt.model.errors import HypervisorSilent, WirtError
from wirt.ports.clock import Clock

log = structlog.get_logger()

PART_OF_FILES = 4
"""One of so many files that the daemon may open stays open for this."""
SILENT_S = 30.0
"""How long one that did not answer is left alone."""
THREADS_EVERY_S = 10.0
"""How long a vCPU that was plugged in may go uncounted, where its guest is asked so often."""


@dataclass(slots=True)
class _Metered:
    run: Run
    meter: ProcessMeter
    told: Told | None = None
    threads: list[tuple[int, int]] = field(default_factory=list)
    threads_at_s: float | None = None
    resident_bytes: int = 0
    asked: bool = False
    not_before_s: float = 0.0


class QemuCounters:
    """Of the guests of one driver."""

    def __init__(self, hypervisor: QemuHypervisor, clock: Clock) -> None:
        self._hypervisor = hypervisor
        self._clock = clock
        self._files = OpenFiles(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // PART_OF_FILES)
        self._metered: dict[int, _Metered] = {}

    def read(self) -> Mapping[UUID, RunCount]:
        runs = {key: run for key, run in self._hypervisor.runs.items() if not run.process.gone}
        pids = {run.process.identity.pid for run in runs.values()}
        for pid in self._metered.keys() - pids:
            self._metered.pop(pid).meter.close()
        counts = {key: self._count(self._of(run)) for key, run in runs.items()}
        return {key: count for key, count in counts.items() if count is not None}

    async def ask(self, domains: Collection[UUID]) -> None:
        runs = self._hypervisor.runs
        await asyncio.gather(*(self._ask(self._of(runs[key])) for key in domains if key in runs))

    def close(self) -> None:
        for metered in self._metered.values():
            metered.meter.close()
        self._metered.clear()

    def _of(self, run: Run) -> _Metered:
        pid = run.process.identity.pid
        metered = self._metered.get(pid)
        if metered is None or metered.run is not run:
            if metered is not None:
                metered.meter.close()
            metered = self._metered[pid] = _Metered(run, ProcessMeter(pid, self._files))
        return metered

    def _count(self, metered: _Metered) -> RunCount | None:
        meter, identity = metered.meter, metered.run.process.identity
        vcpus = meter.vcpus()
        total_ns = meter.total_ns()
        if total_ns is None:
            return None
        return RunCount(
            run=f"{identity.pid}.{identity.started_ticks}",
            vcpus=vcpus,
            total_ns=total_ns,
            emulator_ns=meter.emulator_ns(total_ns, vcpus) if vcpus else None,
            emulator_waited_ns=meter.main_waited_ns(),
            resident_bytes=metered.resident_bytes,
            told=metered.told,
        )

    async def _ask(self, metered: _Metered) -> None:
        if metered.asked or metered.run.process.gone or self._clock.monotonic() < metered.not_before_s:
            return
        metered.asked = True
        metered.resident_bytes = metered.meter.resident_bytes()
        try:
            await self._threads(metered)
            metered.told = await self._told(metered.run)
        except Malformed as error:
            log.warning("a guest's counters make no sense", domain=metered.run.name, error=str(error))
        except HypervisorSilent:
            # What it is asked stays in its socket, and it will answer all of it one day.
            metered.not_before_s = self._clock.monotonic() + SILENT_S
        except WirtError:
            return  # It keeps what it told before, and whoever has to do with it will hear of it.
        finally:
            metered.asked = False

    async def _threads(self, metered: _Metered) -> None:
        now, run = self._clock.monotonic(), metered.run
        if metered.threads_at_s is not None and now - metered.threads_at_s < THREADS_EVERY_S:
            return
        found = answers.vcpus(await run.monitor.execute("query-cpus-fast"))
        metered.threads_at_s = now
        if found != metered.threads:
            numbers = host_threads(run.process.identity.pid)
            metered.meter.set_vcpus({index: numbers[told] for index, told in found if told in numbers})
            # One that is not there yet is looked for again.
            metered.threads = found if all(told in numbers for _, told in found) else []

    async def _told(self, run: Run) -> Told:
        stats = await run.monitor.execute("query-blockstats")
        balloon: Mapping[str, Any] | None
        try:
            balloon = await run.monitor.execute("query-balloon")
        except HypervisorSilent:
            raise
        except WirtError:
            balloon = None  # it has none (QEMU QMP reference, "query-balloon")
        left = answers.balloon_bytes(balloon) if balloon is not None else None
        if left is not None and run.memory.hotplug:
            left += answers.plugged_bytes(await run.monitor.execute("query-memory-size-summary"))
        return Told(self._clock.monotonic(), _disks(stats), left)


def _disks(stats: Sequence[Mapping[str, Any]]) -> tuple[DiskCount, ...]:
    found = []
    for entry in stats:
        vdev = vdev_of(str(entry.get("qdev")))
        if vdev is not None:
            found.append(DiskCount(vdev, *answers.disk_counters(entry)))
    return tuple(found)

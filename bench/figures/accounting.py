"""A sample of what all domains use, once a second, is next to nothing of a CPU."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.crowd import crowd
from bench.rigs.workshop import Workshop
from wirt.hypervisors.qemu.counters import QemuCounters
from wirt.hypervisors.qemu.monitor import Monitor, Patience
from wirt.machine import LinuxMachine
from wirt.network.statistics import parse_all
from wirt.operations.accounting import EVERY_S, Accounting
from wirt.ports.clock import SystemClock
from wirt.ports.network import VifStatistics

DOMAINS, VCPUS = 200, 2
PASSES = 10
BETWEEN_S = 0.5
KERNEL, ALL = "what the kernel counts", "and hypervisors asked"


class Rig:
    """The daemon's own parts on ``pids``, in this process, which does nothing else."""

    def __init__(self, monitors: Mapping[int, Path]) -> None:
        self._loop = asyncio.new_event_loop()
        self._runs = {UUID(int=pid): self._run(pid, path) for pid, path in monitors.items()}
        clock = SystemClock()
        counters = QemuCounters(cast(Any, SimpleNamespace(runs=self._runs)), clock)
        notes = {uuid: {"tap.0": f"vif{uuid.int}.0"} for uuid in self._runs}
        domains = [SimpleNamespace(uuid=uuid, incarnation=SimpleNamespace(notes=notes[uuid])) for uuid in notes]
        environment = SimpleNamespace(
            counters=counters,
            clock=clock,
            domains=domains,
            machine=LinuxMachine(),
            network=SimpleNamespace(all_statistics=self._traffic),
        )
        self._table = "".join(f"vif{uuid.int}.0: " + " ".join(["1234567"] * 16) + "\n" for uuid in self._runs)
        self._accounting = Accounting(cast(Any, environment))
        self._counters = counters
        self._loop.run_until_complete(counters.ask(list(self._runs)))
        counted = counters.read().values()
        if len(counted) != len(monitors) or any(len(count.vcpus) != VCPUS for count in counted):
            raise RuntimeError("not all of the crowd is counted")

    def close(self) -> None:
        self._counters.close()
        for run in self._runs.values():
            self._loop.run_until_complete(run.monitor.close())
        self._loop.close()

    def percent(self, *, ask: bool) -> float:
        """Of one CPU, in the mean of some passes that are as far apart as the crowd's beat makes them costly."""
        spent = 0.0
        for _ in range(PASSES):
            time.sleep(BETWEEN_S)
            begin = time.process_time()
            self._accounting.take()
            if ask:
                self._loop.run_until_complete(self._accounting.ask())
            spent += time.process_time() - begin
        return 100 * spent / PASSES / EVERY_S

    def _run(self, pid: int, path: Path) -> Any:
        monitor = self._loop.run_until_complete(Monitor.connect(str(pid), path, lambda event: None, Patience()))
        identity = SimpleNamespace(pid=pid, started_ticks=0)
        process = SimpleNamespace(identity=identity, gone=False)
        return SimpleNamespace(name=str(pid), process=process, monitor=monitor)

    def _traffic(self) -> Mapping[str, VifStatistics]:
        return parse_all(self._table)


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    with (
        TemporaryDirectory() as directory,
        crowd(Path(directory), DOMAINS, VCPUS) as monitors,
        contextlib.closing(Rig(monitors)) as made,
    ):
        yield made


FIGURE = Figure(
    name="accounting",
    measures=f"What counting takes of one CPU, once a second: {DOMAINS} processes like QEMU with {VCPUS} vCPUs "
    "that have all run, 2 disks and a card each",
    unit="%",
    rig=rig,
    contenders=(
        Contender(KERNEL, "threads, memory, cards, the host", lambda rig: rig.percent(ask=False)),
        Contender(ALL, "some of them, in turn", lambda rig: rig.percent(ask=True), KERNEL),
    ),
    promises=(
        Promise(
            f"{DOMAINS} domains are counted with less than 1% of one CPU",
            ALL,
            Basis.VALUE,
            Direction.BELOW,
            1.0,
            "%",
        ),
    ),
    runs=5,
    quick_runs=2,
    timeout_s=60.0,
)

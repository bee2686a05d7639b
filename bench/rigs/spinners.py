"""Two guests of one manager that spin on one CPU: what each gets is a matter of weights and caps alone.

wirt's daemon is in a control group of its own, so that other work of the machine takes from both alike; libvirt's
guests are in theirs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.rigs.absence import NotHere
from bench.rigs.groups import common_group
from bench.rigs.guests import Guest
from bench.rigs.managed import LIBVIRT, WIRT, ByWirt, Manager, by_libvirt
from bench.rigs.processes import CPU, hold_to
from bench.rigs.shells import type_line, wait_ready
from bench.rigs.wirtd import serving
from bench.rigs.workshop import Workshop

NAMES = ("one", "other")
SETTLE_S, WINDOW_S = 0.5, 4.0
_NS = 1e-9
HONEST, THIEF = "wirt spin 1", "wirt spin-yield 1 10000 9500"
"""The thief works for 9.5 ms of every 10 ms, and sleeps where a scheduler would look at it."""


@dataclass(frozen=True, slots=True)
class Spinners:
    """``pids`` and ``logs`` by name: QEMU's, and of the console."""

    manager: Manager
    pids: Mapping[str, int]
    logs: Mapping[str, Path]

    def set(self, name: str, *, weight: int = 256, cap: int = 0) -> float:
        """Seconds until the manager has answered, which it does when it holds."""
        return self.manager.credit(name, weight, cap)

    @contextlib.contextmanager
    def spinning(self, *names: str, thief: str = "") -> Iterator[None]:
        """They do nothing else until the end of the block."""
        for name in names:
            self._type(name, THIEF if name == thief else HONEST)
        try:
            yield
        finally:
            for name in names:
                self.set(name)
                self._type(name, "wirt spin 0")

    def _type(self, name: str, line: str) -> None:
        with self.manager.console(name) as send:
            type_line(send, self.logs[name], line)

    def used(self) -> Mapping[str, float]:
        """What the vCPUs of each get of one CPU."""
        time.sleep(SETTLE_S)
        before, begin = {name: _vcpus_s(pid) for name, pid in self.pids.items()}, time.monotonic()
        time.sleep(WINDOW_S)
        passed_s = time.monotonic() - begin
        return {name: (_vcpus_s(pid) - before[name]) / passed_s for name, pid in self.pids.items()}


def _vcpus_s(pid: int) -> float:
    """CPU time of QEMU's threads that are vCPUs, which it names so (Linux, sched-stats.rst)."""
    threads = [task for task in Path(f"/proc/{pid}/task").iterdir() if _name(task).startswith("CPU ")]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) * _NS


def _name(task: Path) -> str:
    return (task / "comm").read_text()


@dataclass(frozen=True, slots=True)
class Managers:
    """The guests of each; or why there are none."""

    spinners: Mapping[str, Spinners | NotHere]

    def of(self, manager: str) -> Spinners:
        found = self.spinners[manager]
        if isinstance(found, NotHere):
            raise found
        return found


@contextlib.contextmanager
def spinners(workshop: Workshop) -> Iterator[Managers]:
    """``NotHere`` where no control groups can be had."""
    with (
        common_group(f"wirt-spinners-{os.getpid()}") as group,
        serving(workshop, settings={"WIRT_JAIL": "on"}, prefix=group.prefix) as wirtd,
        ExitStack() as stack,
    ):
        yield Managers({WIRT: _running(workshop, ByWirt(wirtd), stack), LIBVIRT: _libvirt(workshop, stack)})


def _libvirt(workshop: Workshop, stack: ExitStack) -> Spinners | NotHere:
    try:
        return _running(workshop, stack.enter_context(by_libvirt(workshop)), stack)
    except NotHere as missing:
        return missing


def _running(workshop: Workshop, manager: Manager, stack: ExitStack) -> Spinners:
    guest = Guest(workshop.tiny, words="tick=0")
    logs = {name: stack.enter_context(manager.start(guest, name)) for name in NAMES}
    pids = {name: manager.pid(name) for name in NAMES}
    for name in NAMES:
        wait_ready(logs[name])
        hold_to(pids[name], [CPU])
    return Spinners(manager, pids, logs)

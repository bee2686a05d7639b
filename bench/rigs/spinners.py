"""Two guests of one wirtd that spin on one CPU: what each gets is a matter of weights and caps alone.

Their daemon is in a control group of its own, so that other work of the machine takes from both alike.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.rigs.groups import common_group
from bench.rigs.guests import Guest
from bench.rigs.processes import CPU, hold_to
from bench.rigs.shells import managed_console, type_line, wait_ready
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAMES = ("one", "other")
SETTLE_S, WINDOW_S = 0.5, 4.0
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Spinners:
    """``pids`` and ``logs`` by name: QEMU's, and of the console."""

    wirtd: Wirtd
    pids: Mapping[str, int]
    logs: Mapping[str, Path]

    def set(self, name: str, *, weight: int = 256, cap: int = 0) -> float:
        """Seconds until wirtd has answered, which it does when it holds."""
        begin = time.monotonic()
        self.wirtd.request("POST", f"/v1/domains/{name}/credit", {"weight": weight, "cap": cap}).answer()
        return time.monotonic() - begin

    @contextlib.contextmanager
    def spinning(self, *names: str) -> Iterator[None]:
        """They do nothing else until the end of the block."""
        for name in names:
            self._type(name, "while :; do :; done & spins=$!")
        try:
            yield
        finally:
            for name in names:
                self.set(name)
                self._type(name, "kill -9 $spins")

    def _type(self, name: str, line: str) -> None:
        with managed_console(self.wirtd, name) as send:
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


@contextlib.contextmanager
def spinners(workshop: Workshop) -> Iterator[Spinners]:
    """``NotHere`` where no control groups can be had."""
    guest = Guest(workshop.tiny, words="tick=0")
    with (
        common_group(f"wirt-spinners-{os.getpid()}") as group,
        serving(workshop, settings={"WIRT_JAIL": "on"}, prefix=group.prefix) as wirtd,
        contextlib.ExitStack() as stack,
    ):
        logs = {}
        for name in NAMES:
            stack.enter_context(wirtd.cleared(name))
            logs[name] = wirtd.console_log(wirtd.create(guest.xl_config(name), paused=False))
        pids = {name: wirtd.qemu_pid(name) for name in NAMES}
        for name in NAMES:
            wait_ready(logs[name])
            hold_to(pids[name], [CPU])
        yield Spinners(wirtd, pids, logs)

"""Running guests of a manager, whichever: made, typed to, and held to what somebody sets while they run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.rigs.guests import Guest
from bench.rigs.libvirt import EMULATOR, Libvirt, found
from bench.rigs.libvirt_system import group_of_guests, pid_of, started
from bench.rigs.shells import Send, bare_console, managed_console
from bench.rigs.wirtd import Wirtd
from bench.rigs.workshop import Workshop

WIRT, LIBVIRT = "wirt", "libvirt"
_PERIOD_US = 100_000
_SHARES = 8192
"""Of libvirt's guests together, beside the machine's other work: see bench.rigs.groups."""


class Manager(Protocol):
    """``credit`` and its like return seconds: until a manager has answered, which it does when it holds."""

    def start(self, guest: Guest, name: str) -> AbstractContextManager[Path]:
        """The log of its console; it is gone when the block ends."""
        ...

    def pid(self, name: str) -> int: ...

    def console(self, name: str) -> AbstractContextManager[Send]: ...

    def credit(self, name: str, weight: int, cap: int) -> float:
        """``cap`` in percent of a CPU, 0 for none."""
        ...


@dataclass(frozen=True, slots=True)
class ByWirt:
    """Asked over its socket."""

    wirtd: Wirtd

    @contextlib.contextmanager
    def start(self, guest: Guest, name: str) -> Iterator[Path]:
        with self.wirtd.cleared(name):
            yield self.wirtd.console_log(self.wirtd.create(guest.xl_config(name), paused=False))

    def pid(self, name: str) -> int:
        return self.wirtd.qemu_pid(name)

    def console(self, name: str) -> AbstractContextManager[Send]:
        return managed_console(self.wirtd, name)

    def credit(self, name: str, weight: int, cap: int) -> float:
        target, body = f"/v1/domains/{name}/credit", {"weight": weight, "cap": cap}
        return timed(lambda: self.wirtd.request("POST", target, body).answer())


@dataclass(frozen=True, slots=True)
class ByLibvirt:
    """Asked by the command virsh: its own start, some 15 ms, is part of the seconds. ``devices``: more of each
    guest's, as XML."""

    libvirt: Libvirt
    devices: str = ""

    @contextlib.contextmanager
    def start(self, guest: Guest, name: str) -> Iterator[Path]:
        log, file = self._console(name).with_suffix(".log"), self.libvirt.home / f"{name}.xml"
        file.write_text(guest.domain_xml(name, found(EMULATOR), "tcg", log, self._console(name), self.devices))
        with self.libvirt.cleared(name):
            self.libvirt.run("create", str(file))
            (group_of_guests() / "cpu.shares").write_text(str(_SHARES))
            yield log

    def _console(self, name: str) -> Path:
        return self.libvirt.home / f"{name}.sock"

    def pid(self, name: str) -> int:
        return pid_of(self.libvirt, name)

    def console(self, name: str) -> AbstractContextManager[Send]:
        return bare_console(self._console(name))

    def credit(self, name: str, weight: int, cap: int) -> float:
        quota = cap * _PERIOD_US // 100 if cap else -1
        limits = (f"cpu_shares={weight}", f"vcpu_period={_PERIOD_US}", f"vcpu_quota={quota}")
        return self.libvirt.run("schedinfo", name, "--live", *limits)


@contextlib.contextmanager
def by_libvirt(workshop: Workshop, devices: str = "") -> Iterator[ByLibvirt]:
    """``NotHere`` where there is none that holds its guests to anything."""
    group_of_guests()
    with started(workshop) as libvirt:
        yield ByLibvirt(libvirt, devices)


def timed(what: Callable[[], object]) -> float:
    begin = time.monotonic()
    what()
    return time.monotonic() - begin

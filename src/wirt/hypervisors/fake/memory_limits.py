"""Limits of memory, in memory: a run that holds more than it may is killed for it, as by the kernel."""

from __future__ import annotations

from pathlib import Path

from wirt.hypervisors.fake.world import FakeWorld
from wirt.model.errors import Unavailable
from wirt.model.units import MIB
from wirt.ports.memory_limits import MemoryUse


class FakeMemoryLimits:
    """``qemu_mib`` is what each run holds beside its guest's memory. ``held_mib``: of a run, by its directory,
    where it is not what the balloon leaves its guest. ``refuses``: more is not taken but refused, as by version
    1."""

    def __init__(self, world: FakeWorld, qemu_mib: int = 100) -> None:
        self._world = world
        self.qemu_mib = qemu_mib
        self.limits: dict[Path, int] = {}
        self.held_mib: dict[Path, int] = {}
        self._ended: dict[Path, int] = {}
        self.refuses = False

    def look(self, directory: Path) -> MemoryUse | None:
        held = self._held(directory)
        return None if held is None else MemoryUse(self.limits.get(directory), held)

    def bound(self, directory: Path, limit_bytes: int) -> None:
        held = self._held(directory)
        if held is None:
            return
        if held > limit_bytes and self.refuses:
            raise Unavailable(f"the memory of run {directory.name} can't be bounded: it holds more")
        self.limits[directory] = limit_bytes
        self.settle(directory)

    def settle(self, directory: Path) -> None:
        """What the kernel does to one that holds more than it may."""
        held = self._held(directory)
        if held is not None and held > self.limits.get(directory, held):
            for guest in self._world.guests():
                if guest.directory == directory and not guest.gone:
                    self._ended[directory] = self.limits[directory]
                    guest.vanish("signal SIGKILL")

    def ended(self, directory: Path) -> int | None:
        return self._ended.get(directory)

    def _held(self, directory: Path) -> int | None:
        for guest in self._world.guests():
            if guest.directory == directory and not guest.gone:
                return (self.held_mib.get(directory, guest.balloon.actual) + self.qemu_mib) * MIB
        return None

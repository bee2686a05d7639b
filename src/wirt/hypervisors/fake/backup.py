"""The live backup port in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.fake.driver import FakeHypervisor
from wirt.hypervisors.fake.guest import FakeGuest
from wirt.hypervisors.fake.world import FakeWorld
from wirt.model.devices import DiskFormat
from wirt.model.errors import IllegalState, NotFound, WirtError
from wirt.ports.blocks import Blocks
from wirt.ports.hypervisor import Hypervisor
from wirt.ports.live_backup import Export
from wirt.ports.memory_blocks import MemoryBlocks, MemoryDisk, forget_others

DISK_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Begun:
    checkpoint: str
    since: str | None
    disks: dict[str, MemoryDisk]
    frozen: dict[str, set[int]] = field(default_factory=dict)
    """Of each disk, what had changed before: the older checkpoint stands still meanwhile."""


class FakeLiveBackup:
    """``contents`` by path outlive the daemon, as disks do; what is begun belongs to a run. ``failures`` are
    raised by the next calls of :meth:`begin`, one each. ``at_instant`` is called when disks are frozen."""

    def __init__(self, world: FakeWorld, contents: dict[str, MemoryDisk]) -> None:
        self._world = world
        self._contents = contents
        self.failures: list[WirtError] = []
        self.at_instant: Callable[[], object] = lambda: None

    async def checkpoints(self, domain: UUID) -> Mapping[str, frozenset[str]]:
        return {vdev: frozenset(disk.checkpoints) for vdev, disk in self._disks(domain).items()}

    async def begin(
        self, domain: UUID, checkpoint: str, vdevs: Collection[str], scratch: Path, *, since: str | None = None
    ) -> tuple[Export, ...]:
        guest = self._guest(domain)
        await self.abandon(domain)
        disks = self._disks(domain)
        if self.failures:
            raise self.failures.pop(0)
        missing = set(vdevs) - set(disks)
        if missing:
            raise NotFound(f"{guest.name} has no disk {min(missing)}")
        self.at_instant()
        begun = _Begun(checkpoint, since, {vdev: disks[vdev] for vdev in vdevs})
        exports = []
        for vdev, disk in sorted(begun.disks.items()):
            changed = disk.checkpoints.pop(since, None) if since is not None else None
            if changed is not None:
                begun.frozen[vdev] = changed
            disk.checkpoints[checkpoint] = set()
            exports.append(Export(vdev, len(disk.content), changed is not None, _opener(disk, changed)))
        self._world.backups[guest.number] = begun
        return tuple(exports)

    async def end(self, domain: UUID, checkpoint: str) -> None:
        self._world.backups.pop(self._guest(domain).number, None)
        for disk in self._disks(domain).values():
            forget_others(disk, checkpoint)

    async def abandon(self, domain: UUID, checkpoint: str | None = None) -> None:
        begun = self._world.backups.pop(self._guest(domain).number, None)
        if not isinstance(begun, _Begun):
            for disk in self._disks(domain).values():
                disk.checkpoints.pop(checkpoint or "", None)
            return
        for vdev, disk in begun.disks.items():
            changed = disk.checkpoints.pop(begun.checkpoint, set())
            if begun.since is not None and vdev in begun.frozen:
                disk.checkpoints[begun.since] = begun.frozen[vdev] | changed

    def _guest(self, domain: UUID) -> FakeGuest:
        guests = [guest for guest in self._world.runs_of(domain) if not guest.gone]
        if not guests:
            raise IllegalState(f"domain {domain} does not run here")
        return guests[-1]

    def _disks(self, domain: UUID) -> dict[str, MemoryDisk]:
        found = {}
        for disk in self._guest(domain).plan.disks:
            if disk.path is not None and disk.writable and disk.format is not DiskFormat.EMPTY:
                vdev = disk.id.removeprefix("disk-")
                found[vdev] = self._contents.setdefault(disk.path, MemoryDisk(DISK_BYTES))
        return found


def _opener(disk: MemoryDisk, changed: set[int] | None) -> Callable[[bool], Blocks]:
    frozen = bytes(disk.content)
    since = frozenset(changed or ())

    def connect(changes: bool) -> Blocks:
        return MemoryBlocks(disk, frozen=frozen, changed=since if changes else None)

    return connect


def fake_backup(hypervisor: Hypervisor, contents: dict[str, MemoryDisk]) -> FakeLiveBackup:
    """Of the world that the driver has."""
    assert isinstance(hypervisor, FakeHypervisor)
    return FakeLiveBackup(hypervisor.world, contents)

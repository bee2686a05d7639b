"""The port for disks of running guests, in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.fake.driver import MEMORY_HEADER, FakeHypervisor
from wirt.hypervisors.fake.faults import Verb
from wirt.hypervisors.fake.guest import FakeGuest
from wirt.model.diskqos import DiskQos
from wirt.model.errors import HypervisorError, IllegalState, Shortage
from wirt.model.lifecycle import State
from wirt.model.storage import Volume
from wirt.plan.engine import DiskEngine
from wirt.ports.live_disks import BUFFERED, NO_ENGINES, LiveDisk, Settle
from wirt.ports.storage import Progress

_PARTS = 4


class FakeLiveDisks:
    """Of the guests of one driver, and of its daemon."""

    def __init__(self, hypervisor: FakeHypervisor) -> None:
        self._hypervisor = hypervisor
        self._world = hypervisor.world

    async def disks(self, domain: UUID) -> tuple[LiveDisk, ...]:
        async with self._hypervisor.reach(Verb.DISKS, domain) as guest:
            return tuple(
                LiveDisk(vdev, disk.size, disk.writable, disk.chain) for vdev, disk in guest.disks.all().items()
            )

    async def resize(self, domain: UUID, vdev: str, size: int) -> None:
        async with self._hypervisor.reach(Verb.RESIZE_DISK, domain) as guest:
            guest.disks.resize(vdev, size)

    async def throttle(self, domain: UUID, limits: Mapping[str, DiskQos]) -> None:
        async with self._hypervisor.reach(Verb.THROTTLE_DISK, domain) as guest:
            guest.disks.throttle(limits)

    async def throttles(self, domain: UUID) -> Mapping[str, DiskQos]:
        async with self._hypervisor.reach(Verb.DISKS, domain) as guest:
            return {vdev: disk.qos for vdev, disk in guest.disks.all().items()}

    async def move(
        self,
        domain: UUID,
        vdev: str,
        target: Volume,
        progress: Progress,
        *,
        engine: DiskEngine = BUFFERED,
        bytes_per_s: int | None = None,
        settle: Settle | None = None,
    ) -> None:
        async with self._hypervisor.reach(Verb.MOVE_DISK, domain) as guest:
            size = guest.disks.find(vdev).size
            guest.disks.begin_copy(guest, vdev, target.path)
            try:
                if target.path in self._world.full:
                    raise Shortage(f"{guest.name}: {target.path} is full")
                await self._copy(guest, size / bytes_per_s if bytes_per_s else 0.0, progress)
            except BaseException:
                # A copy under way goes on without the daemon that began it.
                if self._hypervisor.alive:
                    guest.disks.end_copy(guest, vdev, pivot=False)
                raise
            async with self._still(guest, domain, settle):
                guest.disks.end_copy(guest, vdev, pivot=True)
                guest.disks.serve(vdev, engine)
            guest.disks.resize(vdev, max(size, target.size))

    async def _copy(self, guest: FakeGuest, seconds: float, progress: Progress) -> None:
        for part in range(_PARTS):
            progress(part / _PARTS)
            await self._world.clock.sleep(seconds / _PARTS) if seconds else await asyncio.sleep(0)
            self._hypervisor.check_alive()
            if guest.gone:
                raise HypervisorError(f"{guest.name} ended while its disk was copied")
        progress(1.0)

    async def snapshot(
        self, domain: UUID, overlays: Mapping[str, Volume], engines: Mapping[str, DiskEngine] = NO_ENGINES
    ) -> None:
        async with self._hypervisor.reach(Verb.SNAPSHOT_DISKS, domain) as guest:
            guest.disks.snapshot(guest, {vdev: volume.path for vdev, volume in overlays.items()})
            for vdev in overlays:
                guest.disks.serve(vdev, engines.get(vdev, BUFFERED))

    async def merge(
        self, domain: UUID, vdev: str, path: str, progress: Progress, settle: Settle | None = None
    ) -> None:
        async with self._hypervisor.reach(Verb.MERGE_DISK, domain) as guest:
            chain = guest.disks.find(vdev).chain
            top = chain[0] == path
            async with self._still(guest, domain, settle if top else None):
                guest.disks.merge(guest, vdev, path)
                self._world.on_merge(path, chain[chain.index(path) + 1])
            progress(1.0)

    @asynccontextmanager
    async def _still(self, guest: FakeGuest, domain: UUID, settle: Settle | None) -> AsyncIterator[None]:
        """While it goes over to another image, until that is written down. A daemon that dies leaves it so."""
        running = settle is not None and guest.observed.state is State.RUNNING
        try:
            if running:
                await self._hypervisor.pause(domain)
            yield
            if settle is not None:
                await settle()
        finally:
            if running and self._hypervisor.alive:
                await self._hypervisor.resume(domain)

    async def save_memory(self, domain: UUID, path: Path, progress: Progress) -> None:
        async with self._hypervisor.reach(Verb.SAVE_MEMORY, domain) as guest:
            if guest.observed.state is State.RUNNING:
                raise IllegalState(f"{guest.name} runs, and its memory would be no state that it ever had")
            try:
                await asyncio.to_thread(path.write_bytes, MEMORY_HEADER + guest.state)
            except OSError as error:
                raise HypervisorError(f"{guest.name}: {path} can't be written: {error.strerror}") from error
            progress(1.0)

    async def stream_memory(self, domain: UUID, descriptor: int, progress: Progress) -> None:
        async with self._hypervisor.reach(Verb.SAVE_MEMORY, domain) as guest:
            if guest.observed.state is State.RUNNING:
                raise IllegalState(f"{guest.name} runs, and its memory would be no state that it ever had")
            try:
                await asyncio.to_thread(os.write, descriptor, MEMORY_HEADER + guest.state)
            except OSError as error:
                raise HypervisorError(f"{guest.name}: its memory: {error.strerror}") from error
            progress(1.0)

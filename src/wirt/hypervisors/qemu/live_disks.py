"""The port for disks of running guests, on QEMU."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.qemu import blockjobs, memory, nodes, throttles
from wirt.hypervisors.qemu.blockjobs import SLOW_S, BlockJob, to_the_end
from wirt.hypervisors.qemu.disks import Disk, at_work, check_alone, check_overlay
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.nodes import Layer
from wirt.model.devices import DiskFormat
from wirt.model.diskqos import DiskQos
from wirt.model.errors import HypervisorError, IllegalState, NotFound
from wirt.model.lifecycle import State
from wirt.model.storage import Volume
from wirt.plan import jail
from wirt.plan.engine import DiskEngine
from wirt.ports.files import touch
from wirt.ports.live_disks import BUFFERED, NO_ENGINES, LiveDisk, Settle
from wirt.ports.storage import Progress


class QemuLiveDisks:
    """Of the guests of one driver. Keeps nothing: all that it knows QEMU and the kernel tell."""

    def __init__(self, hypervisor: QemuHypervisor) -> None:
        self._hypervisor = hypervisor
        self._sandbox = hypervisor.sandbox

    async def disks(self, domain: UUID) -> tuple[LiveDisk, ...]:
        run = self._hypervisor.run(domain)
        chains = await nodes.chains(run.name, run.monitor)
        return tuple(
            LiveDisk(
                vdev, chain[0].size, chain[0].writable, tuple(map(Disk(run, self._sandbox, vdev).path, chain))
            )
            for vdev, chain in chains.items()
        )

    async def resize(self, domain: UUID, vdev: str, size: int) -> None:
        run = self._hypervisor.run(domain)
        with at_work(run, self._sandbox, (vdev,)) as (disk,):
            top = (await disk.chain())[0]
            if size < top.size:
                raise HypervisorError(f"{run.name}: disk {vdev} would shrink under a guest that runs")
            disk.allow_bytes(_most_bytes(size))
            await run.monitor.execute("block_resize", {"node-name": top.name, "size": size}, deadline_s=SLOW_S)

    async def throttle(self, domain: UUID, limits: Mapping[str, DiskQos]) -> None:
        run = self._hypervisor.run(domain)
        await to_the_end(throttles.change(run.name, run.monitor, limits))

    async def throttles(self, domain: UUID) -> Mapping[str, DiskQos]:
        run = self._hypervisor.run(domain)
        return await throttles.look(run.name, run.monitor)

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
        run = self._hypervisor.run(domain)
        with at_work(run, self._sandbox, (vdev,)) as (disk,):
            chain = await disk.chain()
            check_alone(run, vdev, chain)
            await disk.tidy()
            await disk.check_sets_empty()
            now = chain[0].size
            async with disk.new_layer(target, engine, overlay=False, size=now) as name:
                await disk.empty_sets()
                arguments = {
                    "job-id": f"move-{vdev}",
                    "device": chain[0].name,
                    "target": name,
                    "sync": "full",
                    # A guest that writes faster than it is copied would never be done with otherwise.
                    "copy-mode": "write-blocking",
                    **({"speed": bytes_per_s} if bytes_per_s else {}),
                }
                async with blockjobs.running(run.name, run.monitor, "blockdev-mirror", arguments) as job:
                    await job.until("ready", _Rising(progress))
                    await to_the_end(_pivot(disk, job, settle))
            if now < target.size:
                await to_the_end(_widen(disk, target.size))
            progress(1.0)

    async def snapshot(
        self, domain: UUID, overlays: Mapping[str, Volume], engines: Mapping[str, DiskEngine] = NO_ENGINES
    ) -> None:
        run = self._hypervisor.run(domain)
        with at_work(run, self._sandbox, tuple(overlays)) as disks:
            async with contextlib.AsyncExitStack() as stack:
                actions = []
                for disk in disks:
                    chain = await disk.chain()
                    check_alone(run, disk.vdev, chain)
                    check_overlay(run, disk.vdev, overlays[disk.vdev])
                    engine = engines.get(disk.vdev, BUFFERED)
                    overlay = disk.new_layer(overlays[disk.vdev], engine, overlay=True)
                    name = await stack.enter_async_context(overlay)
                    await disk.empty_sets()
                    # QEMU opens what nobody is to write any more again, for reading.
                    await disk.give(chain[0], writable=False)
                    data = {"node": chain[0].name, "overlay": name}
                    actions.append({"type": "blockdev-snapshot", "data": data})
                await to_the_end(run.monitor.execute("transaction", {"actions": actions}, deadline_s=SLOW_S))

    async def merge(
        self, domain: UUID, vdev: str, path: str, progress: Progress, settle: Settle | None = None
    ) -> None:
        run = self._hypervisor.run(domain)
        with at_work(run, self._sandbox, (vdev,)) as (disk,):
            chain = await disk.chain()
            check_alone(run, vdev, chain)
            place = await _place(disk, chain, path)
            disk.allow_bytes(max(_most_bytes(layer.size) for layer in chain))
            await disk.tidy()
            await disk.check_sets_empty()
            try:
                await self._merge(disk, chain, place, _Rising(progress), settle)
            finally:
                await to_the_end(disk.tidy())
            progress(1.0)

    async def _merge(
        self, disk: Disk, chain: tuple[Layer, ...], place: int, progress: Progress, settle: Settle | None
    ) -> None:
        monitor, below = disk.run.monitor, chain[place + 1]
        frozen = [below, *([chain[place - 1]] if place > 1 else [])]
        if not below.writable:
            await disk.give(below, writable=True)
        arguments: dict[str, object] = {
            "job-id": f"merge-{disk.vdev}",
            "device": chain[0].name,
            "top-node": chain[place].name,
            "base-node": below.name,
        }
        if place > 0:
            arguments |= {"backing-file": _backing_name(disk, chain[place - 1], below), "auto-finalize": False}
        async with blockjobs.running(disk.name, monitor, "block-commit", arguments) as job:
            await disk.empty_sets()
            # What was opened for writing meanwhile is opened for reading at the end, be it a good one or not.
            for layer in frozen:
                await disk.give(layer, writable=False)
            await job.until("ready" if place == 0 else "pending", progress)
            if place > 1:
                await disk.give(chain[place - 1], writable=True)
            await to_the_end(_pivot(disk, job, settle) if place == 0 else job.finish())

    async def save_memory(self, domain: UUID, path: Path, progress: Progress) -> None:
        """Until the guest goes on its QEMU has its disks open, but no hold on them: snapshots come before."""
        await memory.save(self._hypervisor.run(domain), self._sandbox, path, progress)

    async def stream_memory(self, domain: UUID, descriptor: int, progress: Progress) -> None:
        await memory.stream(self._hypervisor.run(domain), descriptor, progress)


async def _widen(disk: Disk, size: int) -> None:
    """Volumes are made in steps (LVM's extents), and QEMU copies only what is of one size. A guest that can't be
    told now finds the rest at its next start."""
    with contextlib.suppress(HypervisorError):
        top = (await disk.chain())[0]
        # For the next change of its size QEMU opens the file again.
        await disk.give(top, writable=True)
        try:
            await disk.unbind(top)
            await disk.run.monitor.execute(
                "block_resize", {"node-name": top.name, "size": size}, deadline_s=SLOW_S
            )
        finally:
            await disk.empty_sets()


async def _pivot(disk: Disk, job: BlockJob, settle: Settle | None) -> None:
    """While the guest stands still both images hold the same, whichever QEMU has: nothing is lost whoever dies
    before it is written down which."""
    if settle is None:
        await job.pivot()
        return
    running = disk.run.observed.state is State.RUNNING
    try:
        if running:
            await disk.run.pause()
        await job.pivot()
        await settle()
    finally:
        if running:
            await disk.run.resume()


class _Rising:
    """The share that is done, which falls when the guest writes meanwhile, and is told only when it rises."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = -1.0

    def __call__(self, share: float) -> None:
        if share > self._told:
            self._told = share
            self._progress(share)


def _most_bytes(size: int) -> int:
    return jail.most_bytes(jail.Layer("", DiskFormat.QCOW2, virtual_bytes=size))


async def _place(disk: Disk, chain: tuple[Layer, ...], path: str) -> int:
    """Of the layer at ``path`` in ``chain``."""
    identity = await touch(path, nodes.identity_of, path)
    place = next((place for place, layer in enumerate(chain) if layer.identity == identity), None)
    if place is None:
        raise NotFound(f"disk {disk.vdev} of {disk.name} does not stand on {path}")
    if place == len(chain) - 1:
        raise IllegalState(f"{path} is the lowest layer of disk {disk.vdev} of {disk.name}")
    return place


def _backing_name(disk: Disk, above: Layer, below: Layer) -> str:
    """What the image ``above`` is to say that it stands on: by name where both are in one directory, so that they
    can be moved together."""
    here, there = Path(disk.path(above)), Path(disk.path(below))
    return there.name if here.parent == there.parent else str(there)

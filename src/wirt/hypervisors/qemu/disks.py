"""What is done to the disks of a run, from what QEMU and the kernel tell of them alone: a daemon that has just
begun can do it, and finds what another has left.

QEMU gets each file as a descriptor in a set, takes the one whose access mode it wants whenever it opens the file,
and keeps it. What stays in the set keeps its locks after QEMU has let go of its own (fcntl(2), open file
description locks), so sets are emptied as soon as QEMU has taken what it wants.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from wirt.hypervisors.qemu import answers, blockjobs, engines, handover, nodes
from wirt.hypervisors.qemu.blockjobs import SLOW_S, to_the_end
from wirt.hypervisors.qemu.nodes import Layer, Traits
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.devices import DiskFormat
from wirt.model.errors import HypervisorError, IllegalState
from wirt.model.storage import Volume
from wirt.plan import jail
from wirt.plan.engine import DiskEngine
from wirt.plan.jail import Access
from wirt.plan.observed import PlannedFile
from wirt.ports import files
from wirt.ports.files import touch
from wirt.ports.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of one run, which nobody else changes while this is in use."""

    run: Run
    sandbox: Sandbox
    vdev: str

    @property
    def id(self) -> str:
        return nodes.disk_id(self.vdev)

    @property
    def name(self) -> str:
        return self.run.name

    async def chain(self) -> tuple[Layer, ...]:
        return await nodes.chain(self.name, self.run.monitor, self.vdev)

    def path(self, layer: Layer) -> str:
        """What its file is called now."""
        return self.opened(layer).path

    def opened(self, layer: Layer) -> nodes.OpenedFile:
        found = nodes.opened(self.run.process.identity.pid).get(layer.identity)
        if found is None:
            raise HypervisorError(f"{self.name}: QEMU has not the file open that it says {self.vdev} stands on")
        return found

    def allow_bytes(self, size_bytes: int) -> None:
        """Have no file of QEMU's end before."""
        pid = self.run.process.identity.pid
        now = self.run.process.file_bytes()
        if now is not None and now < size_bytes:
            self.sandbox.allow_file_bytes(pid, size_bytes)
            self.sandbox.note(self.run.files.directory, pid, file_bytes=size_bytes)

    async def give(self, layer: Layer, *, writable: bool) -> None:
        """Have QEMU find the file of ``layer`` with that access when it opens it again. It is the very file,
        whatever it is called."""
        pid = self.run.process.identity.pid
        file = self.opened(layer)
        if writable:
            self._note(file.path, layer.identity)
        # QEMU takes one for direct access only if it is direct already.
        flags = (os.O_RDWR if writable else os.O_RDONLY) | nodes.direct_flag(pid, file.descriptor)
        async with _opened(file.path, flags, f"/proc/{pid}/fd/{file.descriptor}") as descriptor:
            await self.run.monitor.add_file(descriptor, f"{self.id}/again={file.path}", layer.set)

    @asynccontextmanager
    async def new_layer(
        self, volume: Volume, engine: DiskEngine, *, overlay: bool, size: int | None = None
    ) -> AsyncIterator[str]:
        """The node of ``volume``, for a disk that nobody shares to go on in. If it does not, nothing of it is
        left. ``size``: it looks no larger until :meth:`unbind`."""
        direct = os.O_DIRECT if engine.cache.direct else 0
        async with _opened(volume.path, os.O_RDWR | direct) as descriptor:
            length = await touch(volume.path, os.lseek, descriptor, 0, os.SEEK_END)
            self.allow_bytes(jail.most_bytes(jail.Layer(volume.path, volume.format, False, volume.size, length)))
            path = await touch(volume.path, os.path.realpath, volume.path)
            self._note(path, nodes.identity_of(f"/proc/self/fd/{descriptor}") or "")
            name = nodes.layer_name(self.id, await self._free_number())
            set_ = await self.run.monitor.add_file(descriptor, f"{self.id}/new={volume.path}")
            bound = size if volume.format is DiskFormat.RAW and size != volume.size else None
            traits = Traits(engine.discard)
            node = handover.layer(
                name, set_, descriptor, volume.format, traits, writable=True, engine=engine, size=bound
            )
        try:
            node = {**node, **({"backing": None} if overlay else {})}
            await self.run.monitor.execute("blockdev-add", node, deadline_s=SLOW_S)
            yield name
        finally:
            await to_the_end(self.tidy())

    async def unbind(self, layer: Layer) -> None:
        """A raw layer that looks smaller than its file has it all from now on; its guest is not told."""
        options = {
            "driver": "raw",
            "node-name": layer.name,
            "read-only": False,
            "discard": "unmap" if layer.traits.discard else "ignore",
            "cache": engines.BUFFERED,
            "file": layer.protocol,
        }
        await self.run.monitor.execute("blockdev-reopen", {"options": [options]}, deadline_s=SLOW_S)

    async def tidy(self) -> None:
        """Have QEMU close what this disk does not stand on, and empty its sets."""
        kept = {layer.name for layer in await self.chain()}
        await self.empty_sets()
        surplus = [name for name in await nodes.layers_of(self.run.monitor, self.id) if name not in kept]
        while True:
            before = len(surplus)
            for name in tuple(surplus):
                # One on which another stands goes after it; one that was never added by itself goes with its own.
                with contextlib.suppress(HypervisorError):
                    await self.run.monitor.execute("blockdev-del", {"node-name": name}, deadline_s=SLOW_S)
                    surplus.remove(name)
            if len(surplus) in (0, before):
                break
        self.sandbox.note(self.run.files.directory, self.run.process.identity.pid)

    async def empty_sets(self) -> None:
        for number in await self._full_sets():
            with contextlib.suppress(HypervisorError):  # just gone
                await self.run.monitor.execute("remove-fd", {"fdset-id": number})

    async def check_sets_empty(self) -> None:
        """QEMU before 9.1 closes what is in a set only while its guest runs (monitor/fds.c), and until then the
        locks on it are in the way of QEMU itself."""
        if await self._full_sets():
            raise IllegalState(
                f"{self.name} is {self.run.observed.state}, and its QEMU lets go of a file only while it runs",
                hint=f"wirt unpause {self.name}, or a newer QEMU (make setup)",
            )

    async def _full_sets(self) -> list[int]:
        try:
            sets = answers.file_sets(await self.run.monitor.execute("query-fdsets"))
        except Malformed as error:
            raise HypervisorError(f"{self.name}: QEMU tells of a file with {error}") from error
        return [number for number, opaques in sets if any(what.startswith(f"{self.id}/") for what in opaques)]

    async def _free_number(self) -> int:
        names = await nodes.layers_of(self.run.monitor, self.id)
        return max((nodes.number_of(self.id, name) or 0 for name in names), default=0) + 1

    def _note(self, path: str, identity: str) -> None:
        file = PlannedFile(path, Access.WRITE, True, identity)
        self.sandbox.note(self.run.files.directory, self.run.process.identity.pid, (file,))


@asynccontextmanager
async def _opened(path: str, flags: int, by: str | None = None) -> AsyncIterator[int]:
    """``by``: another name of the very file."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            opening = files.opened(path, flags | os.O_NONBLOCK, by=by)
            descriptor = await stack.enter_async_context(opening)
        except OSError as error:
            raise HypervisorError(f"{path} can't be opened: {error.strerror}") from error
        os.set_blocking(descriptor, True)
        yield descriptor


@contextmanager
def at_work(run: Run, sandbox: Sandbox, vdevs: tuple[str, ...]) -> Iterator[tuple[Disk, ...]]:
    """``IllegalState`` if something is being done to one of them."""
    busy = [vdev for vdev in vdevs if vdev in run.disks_at_work]
    if busy:
        raise IllegalState(f"disk {busy[0]} of {run.name} is being moved or merged", hint="wait for that job")
    run.disks_at_work.update(vdevs)
    try:
        yield tuple(Disk(run, sandbox, vdev) for vdev in vdevs)
    finally:
        run.disks_at_work.difference_update(vdevs)


async def recover(run: Run, sandbox: Sandbox) -> None:
    """End what a daemon began that is gone: each guest keeps the disks that it has."""
    for job in await blockjobs.jobs(run.name, run.monitor):
        await blockjobs.BlockJob(run.name, run.monitor, job).end()
    for vdev in await nodes.chains(run.name, run.monitor, deadline_s=nodes.RECOVER_S):
        await Disk(run, sandbox, vdev).tidy()


def check_overlay(run: Run, vdev: str, volume: Volume) -> None:
    if volume.format is not DiskFormat.QCOW2:
        raise HypervisorError(f"{run.name}: disk {vdev} can't go on in a {volume.format} image, only in a qcow2")


def check_alone(run: Run, vdev: str, chain: tuple[Layer, ...]) -> None:
    if chain[0].traits.shared:
        raise IllegalState(f"disk {vdev} of {run.name} is shared, and other guests would go on with the old one")

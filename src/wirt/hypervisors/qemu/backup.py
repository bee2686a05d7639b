"""The live backup port on QEMU 7.2 and newer.

A checkpoint is a dirty bitmap of its name on each disk; of a qcow2 disk it is kept in the image, and so outlives
the run. While a backup is read, a ``copy-before-write`` filter stands between the guest and the disk and saves
what is about to be overwritten in a file without a name; ``snapshot-access`` shows the disk as it was, and QEMU's
NBD server serves that on a socket in the run's directory. With ``on-cbw-error: break-snapshot`` a full or slow
scratch file ends the backup and not the guest. (QEMU, docs/interop/bitmaps, qapi/block-core.json.)

Bitmaps need no common instant with the filters: the new one begins before it, the old one ends after it, so that
what is written in between is in both. Whatever a dead daemon left is found by the names of nodes and bitmaps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.qemu import sockets
from wirt.hypervisors.qemu.answers import FILTER
from wirt.hypervisors.qemu.backup_disks import (
    OPAQUE,
    PREFIX,
    Disk,
    bitmap_action,
    disks_of,
    merged_back,
    named,
    nodes_of,
    place_of,
)
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.hypervisors.qemu.run import Run
from wirt.model.errors import HypervisorError, HypervisorSilent, NotFound, Shortage
from wirt.model.lifecycle import State
from wirt.ports.blocks import BLOCK, Blocks
from wirt.ports.hypervisor import Hypervisor
from wirt.ports.live_backup import Export
from wirt.ports.nbd import ALLOCATION, CHANGES, NbdBlocks
from wirt.ports.sandbox import Sandbox

_VIEW, _SCRATCH, _EXPORT = "bk-a-", "bk-s-", "bk-e-"
_FIRST_SET = 1 << 20
"""Descriptor sets of the command line are numbered from 1."""
COPY_S = 20
"""What one copy before a write may take; the guest waits for it."""
SLOW_S = 60.0
LOOK_S = 0.02
_CONNECTIONS = 8


class QemuLiveBackup:
    """``run_of`` finds a run, and raises ``IllegalState`` if there is none."""

    def __init__(self, run_of: Callable[[UUID], Run], sandbox: Sandbox) -> None:
        self._run_of = run_of
        self._sandbox = sandbox

    async def checkpoints(self, domain: UUID) -> Mapping[str, frozenset[str]]:
        disks = await disks_of(self._run_of(domain).monitor)
        return {
            disk.vdev: frozenset(name.removeprefix(PREFIX) for name in disk.bitmaps if disk.has(name))
            for disk in disks
        }

    async def begin(
        self, domain: UUID, checkpoint: str, vdevs: Collection[str], scratch: Path, *, since: str | None = None
    ) -> tuple[Export, ...]:
        run = self._run_of(domain)
        await self.abandon(domain)
        disks = [disk for disk in await disks_of(run.monitor) if disk.vdev in vdevs]
        missing = set(vdevs) - {disk.vdev for disk in disks}
        if missing:
            raise NotFound(f"{run.name} has no disk {min(missing)}")
        new, old = PREFIX + checkpoint, PREFIX + since if since is not None else None
        try:
            await _mark(run.monitor, disks, new)
            for number, disk in enumerate(disks):
                await self._stand_by(run, disk, scratch, _FIRST_SET + number)
            await _insert(run, disks)
            known = [disk for disk in disks if disk.has(old)]
            await _transaction(run.monitor, [bitmap_action("disable", disk, str(old)) for disk in known])
            await self._serve(run, disks, {disk.vdev: str(old) for disk in known})
        except BaseException:
            await self.abandon(domain, checkpoint)
            raise
        return tuple(
            Export(disk.vdev, disk.size, disk in known, _opener(run, disk, str(old) if disk in known else None))
            for disk in disks
        )

    async def end(self, domain: UUID, checkpoint: str) -> None:
        run, new = self._run_of(domain), PREFIX + checkpoint
        await _take_down(run)
        others = [
            bitmap_action("remove", disk, name)
            for disk in await disks_of(run.monitor)
            for name in disk.bitmaps
            if name != new and place_of(name) == place_of(new)
        ]
        await _transaction(run.monitor, others)

    async def abandon(self, domain: UUID, checkpoint: str | None = None) -> None:
        run, new = self._run_of(domain), None if checkpoint is None else PREFIX + checkpoint
        await _take_down(run)
        actions = [action for disk in await disks_of(run.monitor) for action in merged_back(disk)]
        await _transaction(run.monitor, actions)
        left = [disk for disk in await disks_of(run.monitor) if new in disk.bitmaps]
        await _transaction(run.monitor, [bitmap_action("remove", disk, str(new)) for disk in left])

    async def _stand_by(self, run: Run, disk: Disk, scratch: Path, number: int) -> None:
        """All nodes that need not be in the guest's way yet."""
        self._allow(run, disk.size)
        descriptor = _nameless(scratch, disk.size)
        try:
            await run.monitor.add_file(descriptor, f"{OPAQUE} {disk.vdev} {disk.node}", number)
        finally:
            os.close(descriptor)
        saved = {"driver": "file", "filename": f"/dev/fdset/{number}", "locking": "off"}
        await run.monitor.execute(
            "blockdev-add", {"driver": "raw", "node-name": _SCRATCH + disk.vdev, "discard": "unmap", "file": saved}
        )
        await run.monitor.execute(
            "blockdev-add",
            {
                "driver": "copy-before-write",
                "node-name": FILTER + disk.vdev,
                "file": disk.node,
                "target": _SCRATCH + disk.vdev,
                "on-cbw-error": "break-snapshot",
                "cbw-timeout": COPY_S,
            },
        )

    def _allow(self, run: Run, size: int) -> None:
        """The scratch file is as long as the disk."""
        pid = run.process.identity.pid
        with contextlib.suppress(OSError):
            now, _ = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            if now not in (resource.RLIM_INFINITY, -1) and now < size:
                self._sandbox.allow_file_bytes(pid, size)

    async def _serve(self, run: Run, disks: Iterable[Disk], changes: Mapping[str, str]) -> None:
        monitor = run.monitor
        for disk in disks:
            view = {"driver": "snapshot-access", "node-name": _VIEW + disk.vdev, "file": FILTER + disk.vdev}
            await monitor.execute("blockdev-add", view)
        with contextlib.closing(sockets.listen(_socket(run))) as listening:
            await monitor.hand_over("backup", listening.fileno())
        address = {"type": "fd", "data": {"str": "backup"}}
        await monitor.execute("nbd-server-start", {"addr": address, "max-connections": _CONNECTIONS})
        for disk in disks:
            bitmap = changes.get(disk.vdev)
            wanted = {
                "type": "nbd",
                "id": _EXPORT + disk.vdev,
                "node-name": _VIEW + disk.vdev,
                "name": disk.vdev,
                "writable": False,
                "bitmaps": [] if bitmap is None else [{"node": disk.node, "name": bitmap}],
            }
            await monitor.execute("block-export-add", wanted)


async def _mark(monitor: Monitor, disks: Iterable[Disk], name: str) -> None:
    """A new bitmap on all of ``disks``, or on none. An image of an old version can't keep one."""

    def add(*, kept: bool) -> list[dict[str, object]]:
        return [
            bitmap_action("add", disk, name, granularity=BLOCK, persistent=kept and disk.format == "qcow2")
            for disk in disks
        ]

    try:
        await _transaction(monitor, add(kept=True))
    except HypervisorError:
        await _transaction(monitor, add(kept=False))


async def _insert(run: Run, disks: Collection[Disk]) -> None:
    """Several disks at one instant: the guest stands still for the few milliseconds that this takes."""
    stands = len(disks) > 1 and run.observed.state is State.RUNNING
    if stands:
        await run.monitor.execute("stop", deadline_s=SLOW_S)
    try:
        for disk in disks:
            await _drive(run.monitor, disk, FILTER + disk.vdev)
    finally:
        if stands:
            status = await run.monitor.execute("query-status")
            if status.get("status") == "paused":
                await run.monitor.execute("cont")


async def _take_down(run: Run) -> None:
    """Exports, filters and scratch files, in whatever state they are. The guest's way comes first to be free."""
    monitor = run.monitor
    exports = [each.get("id") for each in await monitor.execute("query-block-exports")]
    ours = [each for each in exports if isinstance(each, str) and each.startswith(_EXPORT)]
    for each in ours:
        await monitor.execute("block-export-del", {"id": each, "mode": "hard"}, deadline_s=SLOW_S)
    await _gone(monitor, ours)
    nodes = await nodes_of(monitor)
    if not any(name.startswith((FILTER, _VIEW, _SCRATCH)) for name in nodes):
        await _close_scratch(monitor)
        return
    with contextlib.suppress(HypervisorError):  # it was not started yet
        await monitor.execute("nbd-server-stop", deadline_s=SLOW_S)
    for name in named(nodes, _VIEW):
        await monitor.execute("blockdev-del", {"node-name": name}, deadline_s=SLOW_S)
    for disk in await disks_of(monitor):
        if FILTER + disk.vdev in nodes:
            await _drive(monitor, disk, disk.node)
    for prefix in (FILTER, _SCRATCH):
        for name in named(nodes, prefix):
            await monitor.execute("blockdev-del", {"node-name": name}, deadline_s=SLOW_S)
    await _close_scratch(monitor)
    _socket(run).unlink(missing_ok=True)


async def _gone(monitor: Monitor, exports: Collection[str]) -> None:
    """An export goes once its last request has been answered."""
    for _ in range(round(SLOW_S / LOOK_S)):
        left = [each.get("id") for each in await monitor.execute("query-block-exports")]
        if not set(exports).intersection(left):
            return
        await asyncio.sleep(LOOK_S)
    raise HypervisorSilent(f"QEMU does not let go of {', '.join(exports)} within {SLOW_S:g} s")


async def _close_scratch(monitor: Monitor) -> None:
    for each in await monitor.execute("query-fdsets"):
        number = each.get("fdset-id")
        if isinstance(number, int) and number >= _FIRST_SET:
            await monitor.execute("remove-fd", {"fdset-id": number})


async def _drive(monitor: Monitor, disk: Disk, node: str) -> None:
    what = {"path": disk.device, "property": "drive", "value": node}
    await monitor.execute("qom-set", what, deadline_s=SLOW_S)


async def _transaction(monitor: Monitor, actions: list[dict[str, object]]) -> None:
    """All of them or none."""
    if actions:
        await monitor.execute("transaction", {"actions": actions}, deadline_s=SLOW_S)


def _nameless(directory: Path, size: int) -> int:
    """An open file that is gone with its last descriptor, and takes room as it is written (open(2), O_TMPFILE)."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise Shortage(f"nothing can be kept aside in {directory}: {error.strerror}") from error
    return descriptor


def _socket(run: Run) -> Path:
    return run.files.directory / "backup.sock"


def _opener(run: Run, disk: Disk, bitmap: str | None) -> Callable[[bool], Blocks]:
    path = _socket(run)

    def connect(changes: bool) -> Blocks:
        try:
            connection: socket.socket = sockets.connect(path)
        except OSError as error:
            raise HypervisorError(f"{run.name}: its backup can't be read: {error.strerror}") from error
        return NbdBlocks(connection, disk.vdev, CHANGES + str(bitmap) if changes else ALLOCATION)

    return connect


def live_backup(hypervisor: Hypervisor, sandbox: Sandbox) -> QemuLiveBackup:
    """Of the runs that the driver has."""
    assert isinstance(hypervisor, QemuHypervisor)
    return QemuLiveBackup(hypervisor.run, sandbox)

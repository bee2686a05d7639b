"""Disks that come along with a guest: QEMU's NBD server on the side that receives, a mirror into it on the side
that sends (QEMU, docs/interop/live-block-operations, "drive-mirror with NBD")."""

from __future__ import annotations

import contextlib
import socket

from wirt.hypervisors.qemu import answers, blockjobs, nodes
from wirt.hypervisors.qemu.blockjobs import SLOW_S, BlockJob, to_the_end
from wirt.hypervisors.qemu.run import Run
from wirt.model.errors import HypervisorError, IllegalState
from wirt.ports.storage import Progress

PREFIX = "mirror-"
DISKS = "disks"
MOST_CONNECTIONS = 64


async def serve(run: Run, vdevs: tuple[str, ...], listener: socket.socket, credentials: str) -> None:
    """The disks of a guest that waits, to be written by name."""
    monitor = run.monitor
    await monitor.hand_over(DISKS, listener.fileno())
    server: dict[str, object] = {
        "addr": {"type": "fd", "data": {"str": DISKS}},
        "max-connections": MOST_CONNECTIONS,
    }
    await monitor.execute("nbd-server-start", {**server, **({"tls-creds": credentials} if credentials else {})})
    for vdev in vdevs:
        chain = await nodes.chain(run.name, monitor, vdev)
        export = {"type": "nbd", "id": f"in-{vdev}", "node-name": chain[0].name, "name": vdev, "writable": True}
        await monitor.execute("block-export-add", export, deadline_s=SLOW_S)


async def stop_serving(run: Run) -> None:
    """Whoever is connected still is cut off. One that does not serve is no error."""
    with contextlib.suppress(HypervisorError):
        await run.monitor.execute("nbd-server-stop", deadline_s=SLOW_S)


async def mirror(
    run: Run,
    vdev: str,
    stream: socket.socket,
    credentials: str,
    name: str,
    progress: Progress,
    bytes_per_s: int | None,
    *,
    top: bool,
) -> None:
    """Returns when both sides hold the same; from then on each write goes to both. Cancelled or failed, nothing of
    it is left."""
    if vdev in run.disks_at_work:
        raise IllegalState(f"disk {vdev} of {run.name} is being moved or merged", hint="wait for that job")
    chain, monitor, node = await nodes.chain(run.name, run.monitor, vdev), run.monitor, PREFIX + vdev
    if chain[0].traits.shared:
        raise IllegalState(f"disk {vdev} of {run.name} is shared with other guests, and can't go with one")
    run.disks_at_work.add(vdev)
    try:
        await monitor.hand_over(node, stream.fileno())
        target: dict[str, object] = {
            "driver": "nbd",
            "node-name": node,
            "server": {"type": "fd", "str": node},
            "export": vdev,
        }
        if credentials:
            target |= {"tls-creds": credentials, "tls-hostname": name}
        await monitor.execute("blockdev-add", target, deadline_s=SLOW_S)
        arguments = {
            "job-id": node,
            "device": chain[0].name,
            "target": node,
            "sync": "top" if top else "full",
            "copy-mode": "write-blocking",
            "auto-dismiss": False,
            **({"speed": bytes_per_s} if bytes_per_s else {}),
        }
        await monitor.execute("blockdev-mirror", arguments, deadline_s=SLOW_S)
        await BlockJob(run.name, monitor, node).until("ready", progress)
    except BaseException:
        await to_the_end(_end(run, node))
        raise


async def complete(run: Run) -> None:
    """All mirrors of a guest that stands still: the other side has all, and this one lets go."""
    for node in await _mirrors(run):
        job = BlockJob(run.name, run.monitor, node)
        await run.monitor.execute("block-job-cancel", {"device": node}, deadline_s=SLOW_S)
        await job.until("concluded")
        await _end(run, node)


async def abandon(run: Run) -> None:
    for node in await _mirrors(run):
        await _end(run, node)


async def _mirrors(run: Run) -> list[str]:
    known = await blockjobs.jobs(run.name, run.monitor)
    listed = await run.monitor.execute("query-named-block-nodes", {"flat": True})
    found = {name for name in known if name.startswith(PREFIX)}
    found |= {name for name in answers.node_names(listed) if name.startswith(PREFIX)}
    return sorted(found)


async def _end(run: Run, node: str) -> None:
    run.disks_at_work.discard(node.removeprefix(PREFIX))
    if run.process.gone:
        return
    await BlockJob(run.name, run.monitor, node).end()
    with contextlib.suppress(HypervisorError):  # it was never added
        await run.monitor.execute("blockdev-del", {"node-name": node}, deadline_s=SLOW_S)

"""Limits of disks in QEMU. They are at the device's end of the block layer (QMP reference,
``block_set_io_throttle``), so they stay with the disk whatever nodes it goes on in: a snapshot, a move, a backup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wirt.hypervisors.qemu import nodes
from wirt.hypervisors.qemu.answers import throttled
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.diskqos import UNLIMITED, DiskQos, Limit, Measure
from wirt.model.errors import HypervisorError, NotFound
from wirt.plan.launch import DiskPlan

_WORDS = {
    Measure.IOPS: "iops",
    Measure.IOPS_READ: "iops_rd",
    Measure.IOPS_WRITE: "iops_wr",
    Measure.BPS: "bps",
    Measure.BPS_READ: "bps_rd",
    Measure.BPS_WRITE: "bps_wr",
}
_GROUP = "group-"
"""Before a group's name: QEMU has one for each limited device of its own, called as that."""


async def begin(name: str, monitor: Monitor, disks: tuple[DiskPlan, ...]) -> None:
    """Those of a run that is just launched."""
    limits = {
        disk.id.removeprefix("disk-"): disk.qos for disk in disks if disk.path is not None and disk.qos.limits
    }
    if limits:
        await change(name, monitor, limits)


async def change(name: str, monitor: Monitor, limits: Mapping[str, DiskQos]) -> None:
    devices = {vdev: device for vdev, (device, _) in (await _told(name, monitor)).items()}
    for vdev in limits:
        if vdev not in devices:
            raise NotFound(f"{name} has no disk {vdev}")
    for vdev, qos in limits.items():
        await _set(monitor, devices[vdev], vdev, qos)


async def look(name: str, monitor: Monitor) -> dict[str, DiskQos]:
    return {vdev: qos for vdev, (_, qos) in (await _told(name, monitor)).items()}


async def _told(name: str, monitor: Monitor) -> dict[str, tuple[str, DiskQos]]:
    """Of each disk, the device as QEMU calls it (of a paravirtual one it is a part of the device that was asked
    for), and its limits."""
    try:
        told = throttled(await monitor.execute("query-block", deadline_s=nodes.LOOK_S))
    except Malformed as error:
        raise HypervisorError(f"{name}: QEMU tells of a disk's limits with {error}") from error
    found = {nodes.vdev_of(device): (device, _qos(numbers, group)) for device, numbers, group in told}
    return {vdev: each for vdev, each in found.items() if vdev is not None}


async def _set(monitor: Monitor, device: str, vdev: str, qos: DiskQos) -> None:
    arguments: dict[str, Any] = {"id": device, "group": _group(vdev, qos)}
    for measure, word in _WORDS.items():
        limit = qos.limit(measure)
        arguments[word] = 0 if limit is None else limit.per_s
        if limit is not None and limit.burst is not None:
            arguments |= {f"{word}_max": limit.burst, f"{word}_max_length": qos.burst_s}
    await monitor.execute("block_set_io_throttle", arguments, deadline_s=nodes.LOOK_S)


def _group(vdev: str, qos: DiskQos) -> str:
    return f"{nodes.disk_id(vdev)}-device" if qos.group is None else f"{_GROUP}{qos.group}"


def _qos(numbers: Mapping[str, int], group: str) -> DiskQos:
    limits = tuple(
        Limit(measure, numbers[word], numbers.get(f"{word}_max") or None)
        for measure, word in _WORDS.items()
        if numbers.get(word)
    )
    if not limits:
        return UNLIMITED
    lengths = [numbers.get(f"{_WORDS[limit.measure]}_max_length", 1) for limit in limits if limit.burst]
    mine = group.removeprefix(_GROUP) if group.startswith(_GROUP) else None
    return DiskQos(limits, max(lengths, default=1), mine)

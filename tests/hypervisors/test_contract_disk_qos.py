"""Limits of disks: from the start, while the guest runs, and wherever its disks go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wirt.config.xlcfg.diskqos import read_words
from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.diskqos import UNLIMITED, DiskQos
from wirt.model.errors import NotFound
from wirt.model.units import MIB

from .conftest import FAKE, OLD, QEMU
from .rigs import Rig, Started

every_driver = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)
RAW, QCOW2 = DiskFormat.RAW, DiskFormat.QCOW2


def qos(**words: str) -> DiskQos:
    return read_words({name.replace("_", "-"): value for name, value in words.items()})


async def with_limits(rig: Rig, **limits: DiskQos) -> Started:
    specs = tuple(
        DiskSpec(vdev=vdev, target=rig.image(f"{vdev}.img", MIB, RAW).path, format=RAW, qos=each)
        for vdev, each in limits.items()
    )
    started = await rig.start(replace(rig.config(), disks=specs))
    await rig.hypervisor.resume(started.domain)
    return started


@every_driver
async def test_limits_hold_from_the_start_and_change_while_the_guest_runs(rig: Rig) -> None:
    first = qos(iops="100", iops_burst="500", burst_seconds="10", bps_write="1M")
    started = await with_limits(rig, xvda=first, xvdb=UNLIMITED)
    live = rig.live_disks
    assert await live.throttles(started.domain) == {"xvda": first, "xvdb": UNLIMITED}
    second = qos(bps="10M", iops_read="7")
    await live.throttle(started.domain, {"xvda": second})
    assert await live.throttles(started.domain) == {"xvda": second, "xvdb": UNLIMITED}
    await live.throttle(started.domain, {"xvda": UNLIMITED, "xvdb": first})
    assert await live.throttles(started.domain) == {"xvda": UNLIMITED, "xvdb": first}
    with pytest.raises(NotFound):
        await live.throttle(started.domain, {"xvdb": UNLIMITED, "xvdc": first})
    assert (await live.throttles(started.domain))["xvdb"] == first


@every_driver
async def test_disks_of_a_group_have_the_limits_of_the_group(rig: Rig) -> None:
    shared = qos(iops="100", qos_group="data")
    started = await with_limits(rig, xvda=shared, xvdb=DiskQos(group="data"))
    assert await rig.live_disks.throttles(started.domain) == {"xvda": shared, "xvdb": shared}
    own = qos(iops="5")
    await rig.live_disks.throttle(started.domain, {"xvdb": own})
    assert await rig.live_disks.throttles(started.domain) == {"xvda": shared, "xvdb": own}


@every_driver
async def test_limits_stay_with_a_disk_that_moves_and_is_kept(rig: Rig) -> None:
    limit = qos(iops="1000", bps="100M")
    started = await with_limits(rig, xvda=limit)
    live = rig.live_disks
    await live.move(started.domain, "xvda", rig.image("new.img", MIB, RAW), lambda share: None)
    assert await live.throttles(started.domain) == {"xvda": limit}
    [disk] = await live.disks(started.domain)
    below = replace(rig.image("below.img", MIB, RAW), path=disk.chain[0])
    await live.snapshot(started.domain, {"xvda": rig.image("over.qcow2", MIB, QCOW2, below)})
    assert await live.throttles(started.domain) == {"xvda": limit}
    await rig.lose_daemon()
    await rig.hypervisor.adopt(started.incarnation, started.directory)
    assert await rig.live_disks.throttles(started.domain) == {"xvda": limit}

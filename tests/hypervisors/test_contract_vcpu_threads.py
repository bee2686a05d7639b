"""The threads of vCPUs, in memory and QEMU's: they can be found, and kept to CPUs."""

from __future__ import annotations

import os

import pytest

from wirt.hypervisors.fake import FakeHypervisor
from wirt.hypervisors.fake.vcpu_threads import FakeVcpuThreads
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.vcpu_threads import QemuVcpuThreads
from wirt.model.errors import IllegalState, Unavailable
from wirt.ports.vcpu_threads import VcpuThreads

from .rigs import Rig


def threads_of(rig: Rig) -> VcpuThreads:
    if isinstance(rig.hypervisor, FakeHypervisor):
        return FakeVcpuThreads(rig.hypervisor, cpus=os.cpu_count() or 1)
    assert isinstance(rig.hypervisor, QemuHypervisor)
    return QemuVcpuThreads(rig.hypervisor)


async def test_each_vcpu_is_a_thread_that_can_be_kept_to_cpus(rig: Rig) -> None:
    run = await rig.start(rig.config(vcpus=2))
    threads = threads_of(rig)
    found = await threads.of(run.domain)
    assert sorted(found) == [0, 1] and len(set(found.values())) == 2
    assert await threads.of(run.domain) == found
    here = threads.affinity(found[0])
    assert here is not None and threads.affinity(found[1]) == here
    threads.pin(found[0], frozenset({min(here)}))
    assert threads.affinity(found[0]) == frozenset({min(here)}) and threads.affinity(found[1]) == here
    with pytest.raises(Unavailable):
        threads.pin(found[0], frozenset({1000}))
    assert threads.affinity(found[0]) == frozenset({min(here)})
    await rig.hypervisor.destroy(run.domain)
    assert threads.affinity(found[0]) is None
    threads.pin(found[0], here)
    with pytest.raises(IllegalState):
        await threads.of(run.domain)

"""Guests on a machine that has several CPUs and two NUMA nodes, as the kernel's own files tell of them.

They don't come up there within minutes: the TSC of emulated CPUs that take turns in one thread is of no use to
KVM. What of QEMU and its vCPUs is asked here needs no more than that they have begun, and want a CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.machine.topology import LinuxProcessors

from .host import Host, wait_until
from .on_kvm import PATIENT_S, a_kvm_host, guest
from .test_scheduling import vcpus

pytestmark = [pytest.mark.testhost("nodes"), pytest.mark.real, pytest.mark.root]

NODES = ({0, 1}, {2, 3})
TOUCHED_MIB, BESIDE_MIB = 90, 40
"""What a QEMU has once its guest boots; what of that lies where others began it: its program's own pages."""
SAMPLES = 400
"""For ten seconds, in which all that runs is looked at and counted."""
ON = 'distribution = "on"\ndistribution-reach = "cpu"\n'


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with a_kvm_host(tmp_path) as host:
        yield host


def places(host: Host, name: str) -> list[set[int]]:
    """The CPUs that each of its vCPUs may run on."""
    return [os.sched_getaffinity(thread) for thread in vcpus(host.domain(name)["pid"]).values()]


def lies(host: Host, name: str) -> tuple[list[int], list[int]]:
    """Its memory on each node in MiB, and the nodes that it is to come from."""
    (found,) = [each for each in host.json("memory", "nodes")["guests"] if each["name"] == name]
    return list(found["lies"]), list(found["wanted"])


def test_the_machine_tells_of_its_cpus_and_nodes() -> None:
    topology = LinuxProcessors().topology()
    assert topology.remarks == ()
    assert [{cpu.id for cpu in topology.cpus if cpu.node == node.id} for node in topology.nodes] == list(NODES)
    assert [dict(node.distances) for node in topology.nodes] == [{0: 10, 1: 20}, {0: 20, 1: 10}]
    assert all(700 << 20 < node.memory_bytes <= 1 << 30 for node in topology.nodes)


@pytest.mark.parametrize("node", [0, 1])
def test_memory_comes_from_the_node_whose_cpus_may_run_a_guest(host: Host, tiny: TinyImage, node: int) -> None:
    guest(host, tiny, "web", f'cpus = "node:{node}"')
    assert places(host, "web") == [NODES[node]]
    wait_until(lambda: lies(host, "web")[0][node] >= TOUCHED_MIB, PATIENT_S, "it to have memory there")
    here, wanted = lies(host, "web")
    assert wanted == [node]
    assert here[1 - node] < BESIDE_MIB, f"of another node it has {here}"


def test_a_pool_of_one_nodes_cpus_has_its_memory_too_and_pins_move_a_guest_that_runs(
    host: Host, tiny: TinyImage
) -> None:
    host.ok("cpupool-create", "name=far", "cpus=node:1")
    guest(host, tiny, "web", 'pool = "far"')
    wait_until(lambda: lies(host, "web")[0][1] >= TOUCHED_MIB, PATIENT_S, "it to have memory there")
    assert places(host, "web") == [NODES[1]] and lies(host, "web")[1] == [1]
    assert lies(host, "web")[0][0] < BESIDE_MIB
    host.ok("vcpu-pin", "web", "0", "3")
    assert places(host, "web") == [{3}]
    assert "pin it to some of 0-1" in host.fails("cpupool-migrate", "web", "Pool-0")
    host.ok("vcpu-pin", "web", "0", "all")
    assert places(host, "web") == [NODES[1]]
    host.ok("cpupool-migrate", "web", "Pool-0")
    assert places(host, "web") == [NODES[0]]
    host.ok("destroy", "web")
    host.ok("cpupool-destroy", "far")


def test_busy_guests_are_spread_and_another_daemon_leaves_them_there(tmp_path: Path, tiny: TinyImage) -> None:
    with a_kvm_host(tmp_path, ON) as host:
        names = ("web", "mail")
        for name in names:
            guest(host, tiny, name, words="spin=1")

        def apart() -> bool:
            (one,), (other,) = (places(host, name) for name in names)
            return len(one) == len(other) == 1 and one != other

        wait_until(apart, PATIENT_S, "each to be on a CPU of its own")
        host.kill9()
        host.start()
        seen: list[int] = []
        while len(seen) < SAMPLES:
            seen += [len(place) for name in names for place in places(host, name)]
            time.sleep(0.05)
        assert set(seen) == {1}, "no vCPU is let go of meanwhile"


def test_a_cpu_that_goes_offline_is_left_and_used_again_once_it_is_back(host: Host, tiny: TinyImage) -> None:
    online = Path("/sys/devices/system/cpu/cpu3/online")
    guest(host, tiny, "web", 'cpus = "2-3"')
    try:
        online.write_text("0")
        wait_until(lambda: places(host, "web") == [{2}], PATIENT_S, "it to be left")
        assert "online are 0-2" in host.fails("vcpu-pin", "web", "0", "3")
    finally:
        online.write_text("1")
    wait_until(lambda: places(host, "web") == [{2, 3}], PATIENT_S, "it to be used again")

"""On which nodes memory is to come from, and where it is; a machine without a NUMA table is one node."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.machine.sysfs import machine_files

from wirt.machine.topology import parse
from wirt.model.errors import Unavailable
from wirt.model.topology import Topology
from wirt.model.units import MIB
from wirt.operations.memory_nodes import by_node, look_around
from wirt.operations.placement import memory_nodes

from .kit import SimulatedHost
from .scheduling_kit import host, started

__all__ = ["host"]


class Captured:
    """A machine that nobody has here."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def online(self) -> frozenset[int]:
        return self._topology.online

    def topology(self) -> Topology:
        return self._topology


def use(host: SimulatedHost, topology: Topology) -> None:
    host.environment.scheduling.placement.processors = Captured(topology)
    host.threads.online = topology.online


EIGHT = parse(machine_files(8, 1, 8, 2))
NO_TABLE = parse({"cpu/online": "0-3", "meminfo": "MemTotal: 4194304 kB\nMemFree: 1048576 kB\n"})


@pytest.mark.parametrize(
    ("more", "nodes"),
    [
        ("", ()),
        ('cpus = "node:3"', (3,)),
        ('cpus = "node:3-4"', (3, 4)),
        ('cpus = "0-127"', ()),
        ('vcpus = 2\ncpus = ["node:1", "node:6"]', (1, 6)),
        ('vcpus = 2\ncpus = ["node:1"]', ()),
        ('cpus_soft = "node:5"', ()),
    ],
)
async def test_memory_comes_from_the_nodes_whose_cpus_may_run_the_guest(
    host: SimulatedHost, more: str, nodes: tuple[int, ...]
) -> None:
    use(host, EIGHT)
    domain = await started(host, more=more)
    assert memory_nodes(host.environment, domain.config) == nodes
    assert host.world.guest(domain.uuid).plan.ram.nodes == nodes


async def test_a_pool_and_domain_0_leave_the_rest(host: SimulatedHost) -> None:
    use(host, EIGHT)
    host.environment.scheduling.placement.reserved = "node:0"
    domain = await started(host)
    assert memory_nodes(host.environment, domain.config) == (1, 2, 3, 4, 5, 6, 7)


async def test_a_machine_without_a_table_is_one_node(host: SimulatedHost) -> None:
    use(host, NO_TABLE)
    domain = await started(host, more='cpus = "2"')
    assert memory_nodes(host.environment, domain.config) == ()
    found = await by_node(host.environment)
    assert [(node.id, node.memory_bytes // MIB, node.free_bytes // MIB) for node in found.nodes] == [
        (0, 4096, 1024)
    ]
    assert [(guest.name, guest.wanted) for guest in found.guests] == [("web", ())]
    assert "all of its CPUs and memory count as node 0" in found.remarks[0]
    await look_around(host.environment)
    assert host.environment.scheduling.placement.memory == {}


async def test_a_machine_that_tells_nothing_has_no_choice_and_says_so(host: SimulatedHost) -> None:
    host.environment.scheduling.placement.processors = None
    domain = await started(host)
    assert memory_nodes(host.environment, domain.config) == ()
    with pytest.raises(Unavailable):
        await by_node(host.environment)


async def test_where_memory_lies_is_seen_and_the_distributor_is_told(host: SimulatedHost) -> None:
    use(host, EIGHT)
    domain = await started(host)
    assert domain.incarnation is not None
    pid = 4711
    await host.environment.domains.start_run(replace(domain.incarnation, pid=pid))
    host.host_memory.nodes[pid] = {2: 100 * MIB, 5: 20 * MIB}
    (guest,) = (await by_node(host.environment)).guests
    assert dict(guest.lies) == {2: 100 * MIB, 5: 20 * MIB}
    await look_around(host.environment)
    placement = host.environment.scheduling.placement
    assert dict(placement.memory[domain.uuid]) == {2: 100 * MIB, 5: 20 * MIB}

"""On which NUMA nodes guests' memory lies: for people, and for the distributor, which keeps vCPUs near to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from wirt.model.domain import Domain
from wirt.model.errors import Unavailable
from wirt.model.topology import Node, Topology
from wirt.operations.environment import Environment
from wirt.operations.placement import memory_nodes
from wirt.operations.scheduling import is_held


@dataclass(frozen=True, slots=True)
class Placed:
    """``lies``: bytes by node. ``wanted``: where a new run's memory is to come from, none for wherever."""

    name: str
    lies: Mapping[int, int]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ByNode:
    nodes: tuple[Node, ...]
    guests: tuple[Placed, ...]
    remarks: tuple[str, ...]


async def by_node(environment: Environment) -> ByNode:
    """Of all guests that run. ``Unavailable`` where the machine does not tell of its processors."""
    topology = environment.scheduling.placement.topology()
    if topology is None:
        raise Unavailable("this host does not tell of its nodes", hint="wirt info says why")
    guests = [
        Placed(domain.name, await lies(environment, domain, topology), memory_nodes(environment, domain.config))
        for domain in environment.domains
        if is_held(domain)
    ]
    return ByNode(topology.nodes, tuple(guests), topology.remarks)


async def lies(environment: Environment, domain: Domain, topology: Topology) -> Mapping[int, int]:
    """On a machine of one node all of it lies there."""
    pid = domain.incarnation.pid if domain.incarnation is not None else None
    if pid is None or environment.host_memory is None:
        return {}
    if len(topology.nodes) == 1:
        return {topology.nodes[0].id: environment.machine.resident_bytes(pid)}
    return await asyncio.to_thread(environment.host_memory.nodes_of, pid)


async def look_around(environment: Environment) -> None:
    """For the distributor, one guest after the other. Where there is one node there is nothing to know."""
    placement = environment.scheduling.placement
    topology = placement.topology()
    if topology is None or len(topology.nodes) < 2:
        placement.memory = {}
        return
    found = {}
    for domain in list(environment.domains):
        if is_held(domain):
            found[domain.uuid] = await lies(environment, domain, topology)
    placement.memory = found

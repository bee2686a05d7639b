"""Routes of memory: what guests hold, and the proof that it fits."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.model.units import MIB
from wirt.operations import memory, memory_nodes
from wirt.operations.environment import Environment
from wirt.plan.memory import GuestMemory, Target
from wirt.wire import v1
from wirt.wire.v1_memory import (
    GuestNodes,
    MemoryGuest,
    MemoryMost,
    MemoryNode,
    MemoryNodes,
    MemoryPlan,
    MemoryProof,
    MemoryRequest,
)


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["memory"])

    @routes.get("/memory/plan", response_model=MemoryPlan)
    async def plan() -> Response:
        """What there is, who holds it, and that it fits; nothing is done."""
        return reply(_plan(await memory.planned(environment)))

    @routes.get("/memory/nodes", response_model=MemoryNodes)
    async def nodes() -> Response:
        """On which NUMA nodes the memory of running guests lies."""
        return reply(_nodes(await memory_nodes.by_node(environment)))

    @routes.post("/domains/{ref}/memory", response_model=v1.Job)
    async def set_memory(ref: str, request: MemoryRequest, wait: bool = False) -> Response:
        """Have a domain hold so much: if it runs now, by its balloon or plugged in, and from each start on."""
        return await job_reply(environment, await memory.set_memory(environment, guest(ref), request.mib), wait)

    @routes.post("/domains/{ref}/maxmem", response_model=MemoryMost)
    async def set_most(ref: str, request: MemoryRequest) -> Response:
        """The most that a domain can have: while it runs as far as memory can be plugged in."""
        domain = await memory.set_most(environment, guest(ref), request.mib)
        return reply(MemoryMost(domain.name, domain.config.memory_mib, domain.config.most_mib))

    return routes


def _nodes(found: memory_nodes.ByNode) -> MemoryNodes:
    return MemoryNodes(
        nodes=[MemoryNode(node.id, node.memory_bytes // MIB, node.free_bytes // MIB) for node in found.nodes],
        guests=[
            GuestNodes(of.name, [of.lies.get(node.id, 0) // MIB for node in found.nodes], list(of.wanted))
            for of in found.guests
        ],
        remarks=list(found.remarks),
    )


def _plan(found: memory.Planned) -> MemoryPlan:
    rows = zip(found.guests, found.plan.targets, found.really, strict=True)
    return MemoryPlan(
        total=found.host.total,
        reserve=found.host.reserve,
        available=found.host.available,
        guests=[_guest(of, target, really) for of, target, really in rows],
        proofs=[
            MemoryProof(proof.what, proof.holds, proof.text)
            for proof in (found.plan.claims, found.plan.holds, *found.huge)
        ],
        remarks=[*found.plan.remarks, *found.untold],
        merged=found.merged,
    )


def _guest(of: GuestMemory, target: Target, really: memory.Really) -> MemoryGuest:
    """One in huge pages has all of its memory there, and none in the sums."""
    held = really.mib if really.huge is not None else 0
    return MemoryGuest(
        name=of.name,
        has=of.has + held,
        most=of.most + held,
        guaranteed=of.guaranteed + held,
        overhead=of.overhead,
        target=target.target + held,
        reason=f"it lies in huge pages of {really.huge}, for good" if really.huge is not None else target.reason,
        balloon=of.balloon,
        used=of.used,
        resident=really.resident,
        reporting=really.reporting,
        huge=really.huge,
        merging=really.merging,
        hotplug=really.hotplug,
    )

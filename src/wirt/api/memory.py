"""Routes of memory: what guests hold, and the proof that it fits."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.operations import memory
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire.v1_memory import MemoryGuest, MemoryMost, MemoryPlan, MemoryProof, MemoryRequest


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["memory"])

    @routes.get("/memory/plan", response_model=MemoryPlan)
    async def plan() -> Response:
        """What there is, who holds it, and that it fits; nothing is done."""
        return reply(_plan(await memory.planned(environment)))

    @routes.post("/domains/{ref}/memory", response_model=v1.Job)
    async def set_memory(ref: str, request: MemoryRequest, wait: bool = False) -> Response:
        """Have a domain hold so much: now by its balloon if it runs, and from each start on."""
        return await job_reply(environment, await memory.set_memory(environment, guest(ref), request.mib), wait)

    @routes.post("/domains/{ref}/maxmem", response_model=MemoryMost)
    async def set_most(ref: str, request: MemoryRequest) -> Response:
        """The most that a domain which is off can have."""
        domain = await memory.set_most(environment, guest(ref), request.mib)
        return reply(MemoryMost(domain.name, domain.config.memory_mib, domain.config.most_mib))

    return routes


def _plan(found: memory.Planned) -> MemoryPlan:
    rows = zip(found.guests, found.plan.targets, strict=True)
    return MemoryPlan(
        total=found.host.total,
        reserve=found.host.reserve,
        available=found.host.available,
        guests=[
            MemoryGuest(
                name=of.name,
                has=of.has,
                most=of.most,
                guaranteed=of.guaranteed,
                overhead=of.overhead,
                target=target.target,
                reason=target.reason,
                balloon=of.balloon,
                used=of.used,
            )
            for of, target in rows
        ],
        proofs=[
            MemoryProof(proof.what, proof.holds, proof.text) for proof in (found.plan.claims, found.plan.holds)
        ],
        remarks=[*found.plan.remarks, *found.untold],
    )

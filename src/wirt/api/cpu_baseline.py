"""``POST /v1/cpu/baseline``: the CPU that guests can have on each of several hosts."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.reply import reply
from wirt.operations.cpu import FoundBaseline, find_baseline
from wirt.operations.environment import Environment
from wirt.wire import v1_cpu as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["cpu"])

    @routes.post("/cpu/baseline", response_model=wire.CpuBaseline)
    async def of_hosts(request: wire.BaselineRequest) -> Response:
        """The largest CPU that this host and others can all give. Nothing is changed."""
        return reply(_reply(await find_baseline(environment, request.hosts)))

    return routes


def _reply(of: FoundBaseline) -> wire.CpuBaseline:
    found = of.baseline
    return wire.CpuBaseline(
        cpu_model=str(found.choice),
        base=found.base,
        accelerator=of.accelerator,
        features=sorted(found.features),
        hosts=list(found.hosts),
        held_back=[wire.HeldBack(each.host, list(each.features)) for each in found.held_back],
        not_asked=[wire.NotAsked(host, reason) for host, reason in of.not_asked],
        remarks=list(of.remarks),
    )

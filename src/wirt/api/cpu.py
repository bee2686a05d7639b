"""``GET /v1/cpu``: what guests' CPUs can be here. Other hosts ask for it too."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.reply import reply
from wirt.operations import cpu
from wirt.operations.environment import Environment
from wirt.wire import v1_cpu as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["cpu"])

    @routes.get("/cpu", response_model=wire.HostCpu)
    async def here() -> Response:
        """The CPU models and features that this host can give guests."""
        return reply(await cpu.offered(environment))

    return routes

"""The route of ``wirt refresh``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.operations import refresh as refreshing
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire import v1_refresh as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["domains"])

    @routes.post("/domains/{ref}/refresh", response_model=v1.Job)
    async def refresh(ref: str, wait: bool = False) -> Response:
        """A domain that runs, or is paused, goes on in a new process of the hypervisor that is installed now. The
        job's result is a ``Refreshed``."""
        return await job_reply(environment, await refreshing.refresh(environment, guest(ref)), wait)

    @routes.get("/outdated", response_model=wire.Outdated)
    async def outdated() -> Response:
        """Which domains run on a hypervisor that is no longer the installed one."""
        facts = await environment.hypervisor.facts()
        found = [
            wire.OutdatedDomain(domain.name, str(domain.uuid), domain.domid or 0, version)
            for domain, version in refreshing.all_outdated(environment)
        ]
        return reply(wire.Outdated(".".join(map(str, facts.version)), found))

    return routes

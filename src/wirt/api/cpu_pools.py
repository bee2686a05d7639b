"""Routes about pools of CPUs."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.reply import NO_CONTENT, reply
from wirt.model.cpulists import list_text
from wirt.operations import cpu_pools_verbs as verbs
from wirt.operations.environment import Environment
from wirt.operations.scheduling import is_held
from wirt.wire import v1_cpu_pools as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["scheduling"])

    @routes.get("/cpu-pools", response_model=wire.CpuPoolList)
    async def pools() -> Response:
        """Pool-0 first, then by name."""
        return reply(wire.CpuPoolList([_pool(each) for each in verbs.look(environment)]))

    @routes.post("/cpu-pools", status_code=NO_CONTENT)
    async def create(request: wire.CpuPoolRequest) -> None:
        """Make a pool of CPUs that Pool-0 has."""
        await verbs.create(environment, request.text, request.overrides)

    @routes.delete("/cpu-pools/{name}", status_code=NO_CONTENT)
    async def destroy(name: str) -> None:
        """Give all CPUs of a pool back to Pool-0. No domain may name it."""
        await verbs.destroy(environment, name)

    @routes.post("/cpu-pools/{name}/add", status_code=NO_CONTENT)
    async def add(name: str, request: wire.CpusRequest) -> None:
        """Give a pool CPUs of Pool-0."""
        await verbs.add_cpus(environment, name, request.cpus)

    @routes.post("/cpu-pools/{name}/remove", status_code=NO_CONTENT)
    async def remove(name: str, request: wire.CpusRequest) -> None:
        """Give CPUs of a pool back to Pool-0."""
        await verbs.remove_cpus(environment, name, request.cpus)

    @routes.post("/domains/{ref}/cpu-pool", status_code=NO_CONTENT)
    async def migrate(ref: str, request: wire.CpuPoolOf) -> None:
        """Put a domain into a pool. One that runs goes there at once."""
        await verbs.migrate(environment, ref, request.pool)

    return routes


def _pool(use: verbs.PoolUse) -> wire.CpuPool:
    running = sum(is_held(domain) for domain in use.domains)
    return wire.CpuPool(
        use.name, list_text(use.cpus), len(use.cpus), running, [domain.name for domain in use.domains]
    )

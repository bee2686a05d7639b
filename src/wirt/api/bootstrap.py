"""Routes ``/v1/bootstrap`` and ``/v1/bootstrap-plan``."""

from __future__ import annotations

from pathlib import PurePosixPath

from fastapi import APIRouter, Response

from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.operations import bootstrap
from wirt.operations.environment import Environment
from wirt.plan.bootstrap import DEFAULT_MEMORY_MIB, DEFAULT_SIZE, SECTOR, BootstrapWish
from wirt.wire import v1
from wirt.wire import v1_bootstrap as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["bootstrap"])

    @routes.post("/bootstrap", response_model=v1.Job)
    async def install(request: wire.BootstrapRequest, wait: bool = False) -> Response:
        """Install a distribution onto a volume, a device or an image."""
        job = await bootstrap.bootstrap(
            environment, _wish(request), request.into, request.cwd, force=request.force
        )
        return await job_reply(environment, job, wait)

    @routes.post("/bootstrap-plan", response_model=wire.BootstrapPlan)
    async def plan(request: wire.BootstrapRequest) -> Response:
        """What installing would do. Nothing is done."""
        found = await bootstrap.preview(
            environment, _wish(request), request.into, request.cwd, force=request.force
        )
        return reply(_plan(found))

    return routes


def _wish(request: wire.BootstrapRequest) -> BootstrapWish:
    key = str(PurePosixPath(request.cwd) / request.key) if request.key else ""
    return BootstrapWish(
        distribution=request.distribution,
        name=request.name or _name(request.into),
        size=DEFAULT_SIZE if request.size is None else request.size,
        type=request.type,
        release=request.release,
        mirror=request.mirror,
        key=key,
        unsigned=request.unsigned,
        kernel=request.kernel,
        packages=tuple(request.packages),
        console=request.console,
        network=request.network,
        address=request.address,
        gateway=request.gateway,
        dns=tuple(request.dns),
        user=request.user,
        ssh_keys=tuple(key.strip() for key in request.ssh_keys),
        memory_mib=DEFAULT_MEMORY_MIB if request.memory is None else request.memory,
    )


def _name(into: str) -> str:
    """``default/web``, ``/dev/vg/web`` and ``web.qcow2`` are all called web."""
    return PurePosixPath(into).stem.lower().replace("_", "-")


def _plan(found: bootstrap.BootstrapPreview) -> wire.BootstrapPlan:
    plan = found.plan
    return wire.BootstrapPlan(
        name=plan.wish.name,
        into=found.target.disk.target,
        size=plan.wish.size,
        commands=[list(command) for command in plan.commands],
        partitions=[
            wire.BootstrapSlice(each.what, each.first_lba * SECTOR, each.sectors * SECTOR) for each in plan.slices
        ],
        files=[wire.BootstrapFile(what, path) for what, path in found.files.items()],
        config=found.config,
    )

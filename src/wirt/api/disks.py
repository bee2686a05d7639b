"""Routes under ``/v1/domains/{ref}/disks``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.storage import disk_format
from wirt.model.storage import VolumeRef, parse_size
from wirt.operations.disk_move import move_disk
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire.v1_disks import DiskMove


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/domains/{ref}/disks", tags=["storage"])

    @routes.post("/{vdev}/move", response_model=v1.Job)
    async def move(ref: str, vdev: str, request: DiskMove, wait: bool = False) -> Response:
        """Into a new volume, of any pool; while the domain runs its guest goes on."""
        job = await move_disk(
            environment,
            guest(ref),
            vdev,
            VolumeRef.parse(request.target),
            format_=disk_format(request.format),
            bytes_per_s=None if request.bytes_per_s is None else parse_size(request.bytes_per_s),
            keep=request.keep,
            overwrite=request.overwrite,
        )
        return await job_reply(environment, job, wait)

    return routes

"""Routes of guests in files: ``/v1/domains/{ref}/save``, ``/v1/restore`` and its plan."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api import convert
from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.operations import save as saving
from wirt.operations import save_restore as restoring
from wirt.operations.create import Source
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire import v1_saves as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["domains"])

    @routes.post("/domains/{ref}/save", response_model=v1.Job)
    async def save(ref: str, request: wire.SaveRequest, wait: bool = False) -> Response:
        """Write a domain that runs, or is paused, into one file; its run ends then."""
        wish = saving.SaveWish(
            request.file,
            running=request.running,
            paused=request.paused,
            force=request.force,
            source=_source(request.configuration),
        )
        return await job_reply(environment, await saving.save(environment, guest(ref), wish), wait)

    @routes.post("/restore", response_model=v1.Job)
    async def restore(request: wire.RestoreRequest, wait: bool = False) -> Response:
        """A saved domain goes on."""
        return await job_reply(environment, await restoring.restore(environment, _wish(request)), wait)

    @routes.post("/restore-plan", response_model=wire.RestorePlan)
    async def plan(request: wire.RestoreRequest) -> Response:
        """What restoring would do. Nothing is done."""
        return reply(_plan(await restoring.preview(environment, _wish(request))))

    return routes


def _source(given: wire.Configuration | None) -> Source | None:
    return None if given is None else Source(given.text, given.file, given.cwd)


def _wish(request: wire.RestoreRequest) -> restoring.RestoreWish:
    source = _source(request.configuration)
    return restoring.RestoreWish(request.file, source, paused=request.paused, force=request.force)


def _plan(found: restoring.RestorePreview) -> wire.RestorePlan:
    saved, sizes = found.guest, {disk.vdev: disk.size for disk in found.disks}
    return wire.RestorePlan(
        name=found.domain.name,
        uuid=str(saved.uuid),
        known=found.known,
        persistent=found.domain.persistent,
        saved_at=saved.created_at,
        host=saved.host,
        hypervisor=f"{saved.hypervisor} {'.'.join(map(str, saved.version))}",
        memory_mib=saved.memory_mib,
        memory_bytes=found.facts.plain_bytes,
        file_bytes=found.facts.file_bytes,
        disks=[
            wire.SavedDisk(disk.vdev, disk.target, sizes.get(disk.vdev, 0), disk.writable and not disk.cdrom)
            for disk in found.domain.config.disks
            if disk.target is not None
        ],
        doubts=list(found.doubts),
        remarks=list(found.remarks),
        text=found.domain.text,
        notices=[convert.notice(each) for each in found.loaded.notices],
    )

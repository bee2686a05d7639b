"""Routes ``/v1/import`` and ``/v1/export``, and their plans."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api import convert
from wirt.api.reply import reply
from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.operations import export_domain, import_domain
from wirt.operations.environment import Environment
from wirt.plan.imports import ImportWish
from wirt.wire import v1
from wirt.wire import v1_appliances as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["appliances"])

    @routes.post("/import", response_model=v1.Job)
    async def make(request: wire.ImportRequest, wait: bool = False) -> Response:
        """Make a domain of an appliance or a disk image."""
        form = _image_format(request.file_format)
        job = await import_domain.import_domain(environment, request.file, _wish(request), form, request.machine)
        if wait:
            job = await environment.jobs.wait(job.id)
        return reply(convert.job(job), 200 if job.state.finished else 202)

    @routes.post("/import-plan", response_model=wire.ImportPlan)
    async def plan(request: wire.ImportRequest) -> Response:
        """What importing would do. Nothing is done."""
        form = _image_format(request.file_format)
        found = await import_domain.preview(environment, request.file, _wish(request), form, request.machine)
        return reply(_plan(found))

    @routes.post("/export", response_model=v1.Job)
    async def export(request: wire.ExportRequest, wait: bool = False) -> Response:
        """Write a domain that is off into one file that other hosts read."""
        form = _image_format(request.format) or ImageFormat.VMDK
        job = await export_domain.export(environment, request.domain, request.file, form)
        if wait:
            job = await environment.jobs.wait(job.id)
        return reply(convert.job(job), 200 if job.state.finished else 202)

    @routes.post("/export-plan", response_model=wire.ExportPlan)
    async def export_plan(request: wire.ExportRequest) -> Response:
        """What exporting would do. Nothing is done."""
        form = _image_format(request.format) or ImageFormat.VMDK
        found = await export_domain.preview(environment, request.domain, request.file, form)
        files = [disk.file for disk in found.plan.disks]
        return reply(wire.ExportPlan(found.name, found.file, files, list(found.plan.lost)))

    return routes


def _wish(request: wire.ImportRequest) -> ImportWish:
    form = None
    if request.format:
        if request.format not in (DiskFormat.RAW, DiskFormat.QCOW2):
            raise BadInput(f"{request.format!r} is no format of a volume", hint="raw or qcow2")
        form = DiskFormat(request.format)
    return ImportWish(
        name=request.name,
        pool=request.pool,
        format=form,
        bridges=tuple(request.bridges),
        memory=request.memory,
        vcpus=request.vcpus,
    )


def _image_format(word: str) -> ImageFormat | None:
    if not word:
        return None
    try:
        return ImageFormat(word)
    except ValueError:
        known = ", ".join(ImageFormat)
        raise BadInput(f"{word!r} is no format of images", hint=f"known are: {known}") from None


def _plan(found: import_domain.ImportPreview) -> wire.ImportPlan:
    plan, appliance = found.plan, found.found.appliance
    return wire.ImportPlan(
        name=plan.name,
        kind=str(appliance.kind),
        disks=[
            wire.ImportDisk(
                label=disk.label,
                volume=str(disk.volume),
                size=disk.size,
                format=str(disk.format),
                source_format="" if disk.source is None else str(disk.source_format),
            )
            for disk in plan.disks
        ],
        lost=list(plan.lost),
        config=found.text,
        checked=appliance.signed,
    )

"""Routes under ``/v1/domains/{ref}/disk-qos``: limits of disks."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.config.xlcfg.diskqos import words_of
from wirt.model.diskqos import UNLIMITED, DiskQos
from wirt.operations import disk_qos
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire.v1_diskqos import DiskLimits, DiskLimitsList, DiskQosRequest


def _words(qos: DiskQos) -> dict[str, Any]:
    return dict(words_of(qos))


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/domains/{ref}/disk-qos", tags=["storage"])

    @routes.get("", response_model=DiskLimitsList)
    async def limits(ref: str) -> Response:
        """Of a domain's disks: as the configuration says, and as they hold now."""
        found = await disk_qos.limits(environment, guest(ref))
        rows = [
            DiskLimits(
                disk.vdev,
                disk.now is not None,
                _words(disk.own),
                _words(disk.now or UNLIMITED),
                _words(disk.of_class),
            )
            for disk in found
        ]
        return reply(DiskLimitsList(rows))

    @routes.post("/{vdev}", response_model=v1.Job)
    async def limit(ref: str, vdev: str, request: DiskQosRequest, wait: bool = False) -> Response:
        """Kept in the configuration, and in force at once if the domain runs."""
        job = await disk_qos.limit(environment, guest(ref), vdev, request.words, anew=request.anew)
        return await job_reply(environment, job, wait)

    return routes

"""Routes under ``/v1/domains/REF/vifs``: cards that come and go, and their cables."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api import convert
from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.operations import vif
from wirt.operations.environment import Environment
from wirt.wire import v1


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/domains/{ref}/vifs", tags=["vifs"])

    @routes.post("", response_model=v1.Job)
    async def attach(ref: str, request: v1.AttachRequest, wait: bool = False) -> Response:
        return await job_reply(environment, await vif.attach(environment, guest(ref), request.words), wait)

    @routes.post("/plan", response_model=v1.AttachPreview)
    async def plan(ref: str, request: v1.AttachRequest) -> Response:
        return reply(convert.attachment(vif.preview(environment, guest(ref), request.words)))

    @routes.delete("/{card}", response_model=v1.Job)
    async def detach(ref: str, card: str, wait: bool = False) -> Response:
        return await job_reply(environment, await vif.detach(environment, guest(ref), card), wait)

    @routes.post("/{card}/link", response_model=v1.Job)
    async def link(ref: str, card: str, request: v1.LinkRequest, wait: bool = False) -> Response:
        job = await vif.set_link(environment, guest(ref), card, up=request.up)
        return await job_reply(environment, job, wait)

    return routes

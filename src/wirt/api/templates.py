"""Routes under ``/v1/templates``, and ``/v1/clones``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.config import xlcfg
from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.operations import clone as cloning
from wirt.operations import template
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire.v1_templates import CloneRequest, Template, TemplateList, TemplateRequest


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["templates"])

    @routes.get("/templates", response_model=TemplateList)
    async def list_templates() -> Response:
        """Domains that are never run."""
        known = [domain for domain in environment.domains if domain.template]
        return reply(TemplateList([await _template(environment, each) for each in known]))

    @routes.get("/templates/{name}", response_model=Template)
    async def show(name: str) -> Response:
        """One template, with its configuration."""
        return reply(await _template(environment, template.find(environment, name), config=True))

    @routes.post("/templates", response_model=v1.Job)
    async def create(request: TemplateRequest, wait: bool = False) -> Response:
        """Make a template of a domain that is off."""
        job = await template.create(environment, guest(request.domain), request.name)
        return await job_reply(environment, job, wait)

    @routes.post("/templates/{name}/destroy", response_model=v1.Job)
    async def destroy(
        name: str, wait: bool = False, delete_volumes: Annotated[bool, Query(alias="delete-volumes")] = False
    ) -> Response:
        """Forget a template. Its volumes stay, unless they are to be deleted."""
        job = await template.destroy(environment, name, delete_volumes=delete_volumes)
        return await job_reply(environment, job, wait)

    @routes.post("/templates/{name}/to-domain", response_model=v1.Job)
    async def to_domain(name: str, wait: bool = False) -> Response:
        """Make it a domain again, as long as nothing stands on its volumes."""
        return await job_reply(environment, await template.to_domain(environment, name), wait)

    @routes.post("/clones", response_model=v1.Job)
    async def clone(request: CloneRequest, wait: bool = False) -> Response:
        """Make domains from a template, or from a domain that is off: all of them or none."""
        wanted = cloning.CloneRequest(
            source=guest(request.source),
            new=request.new,
            count=request.count,
            linked=request.linked,
            pool=request.pool,
            identity=request.identity,
            ssh_keys=tuple(key.strip() for key in request.ssh_keys),
            user_data=request.user_data,
        )
        return await job_reply(environment, await cloning.clone(environment, wanted), wait)

    return routes


async def _template(environment: Environment, of: Domain, *, config: bool = False) -> Template:
    try:
        clones = [str(ref) for ref in await template.clones_of(environment, of)]
    except WirtError:  # its pool can't be reached now; the list of pools says why
        clones = []
    return Template(
        name=of.name,
        uuid=str(of.uuid),
        type=str(of.config.type),
        memory_mib=of.config.memory_mib,
        vcpus=of.config.vcpus,
        volumes=[str(ref) for ref in template.volumes_of_template(of)],
        clones=clones,
        created_at=of.created_at,
        config=xlcfg.without_secrets(of.text) if config else None,
    )

"""Routes under ``/v1/domains``: each hands over to one verb."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Query, Response

from wirt.api import convert
from wirt.api.jobs import job_reply
from wirt.api.leases import with_leases
from wirt.api.reply import NO_CONTENT, reply
from wirt.model.errors import BadInput
from wirt.model.lifecycle import State
from wirt.operations import conclude as concluding
from wirt.operations import create as creating
from wirt.operations import destroy as ending
from wirt.operations import power
from wirt.operations import start as starting
from wirt.operations.environment import Environment
from wirt.wire import v1

DOMAIN_ZERO = ("0", "Domain-0")
ENDED = "ended"
"""No state: waits for the end of the run that a domain has now, and for what follows from it."""
WaitSeconds = Annotated[float, Query(ge=0, le=3600)]


@dataclass(frozen=True, slots=True)
class StartRequest:
    paused: bool = False
    discard_saved: bool = False


@dataclass(frozen=True, slots=True)
class RenameRequest:
    name: str


@dataclass(frozen=True, slots=True)
class VcpuList:
    vcpus: list[v1.Vcpu]


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["domains"])
    _reading(routes, environment)
    _making(routes, environment)
    _acting(routes, environment)
    return routes


def _reading(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/domains", response_model=v1.DomainList)
    async def list_domains(all: bool = False) -> Response:  # noqa: A002 (the API's word)
        guests = [
            convert.domain(environment, domain)
            for domain in environment.domains
            if domain.incarnation is not None or (all and not domain.template)
        ]
        guests = await with_leases(environment, guests)
        zero = convert.domain_zero(environment, environment.machine.now(), guests)
        return reply(v1.DomainList([zero, *guests], revision=environment.bus.seq))

    @routes.get("/domains/{ref}", response_model=v1.DomainDetail)
    async def show(ref: str) -> Response:
        if ref in DOMAIN_ZERO:
            zero = convert.domain_zero(environment, environment.machine.now(), [])
            return reply(v1.DomainDetail(zero, "", {}))
        detail = await convert.detail(environment, environment.domains.find(ref))
        (domain,) = await with_leases(environment, [detail.domain])
        return reply(replace(detail, domain=domain))

    @routes.get("/vcpus", response_model=VcpuList)
    async def vcpus(domain: str | None = None) -> Response:
        zero = domain in (None, *DOMAIN_ZERO)
        rows = convert.zero_vcpus(environment.machine.now()) if zero else []
        chosen = [] if domain in DOMAIN_ZERO else list(environment.domains)
        if domain is not None and not zero:
            chosen = [environment.domains.find(domain)]
        for each in chosen:
            if each.incarnation is not None and each.state is not State.OFF:
                rows += [
                    convert.vcpu(environment, each, info) for info in await environment.hypervisor.vcpus(each.uuid)
                ]
        return reply(VcpuList(rows))

    @routes.get("/domains/{ref}/wait", response_model=v1.Domain)
    async def wait(ref: str, until: str, timeout_s: WaitSeconds = 60) -> Response:
        if until == ENDED:
            return reply(convert.domain(environment, await concluding.wait_ended(environment, ref, timeout_s)))
        try:
            states = frozenset(State(word) for word in until.split(","))
        except ValueError as error:
            known = ", ".join((*State, ENDED))
            raise BadInput(f"{until} is no state", hint=f"states are: {known}") from error
        return reply(convert.domain(environment, await power.wait_for(environment, ref, states, timeout_s)))


def _making(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/domains", response_model=v1.Job)
    async def create(request: v1.CreateRequest, wait: bool = False) -> Response:
        source = _source(request)
        if not request.start:
            domain, loaded = await creating.define(environment, source)
            notices = [convert.notice(each) for each in loaded.notices]
            return reply(_defined(environment, domain.name, str(domain.uuid), notices))
        job = await creating.create(environment, source, paused=request.paused, persistent=request.persistent)
        return await job_reply(environment, job, wait)

    @routes.post("/plan", response_model=v1.PlanPreview)
    async def plan(request: v1.CreateRequest) -> Response:
        return reply(convert.preview(await creating.preview(environment, _source(request))))

    @routes.post("/domains/{ref}/start", response_model=v1.Job)
    async def start(ref: str, request: StartRequest, wait: bool = False) -> Response:
        job = await starting.start(environment, ref, paused=request.paused, discard_saved=request.discard_saved)
        return await job_reply(environment, job, wait)

    @routes.delete("/domains/{ref}", status_code=NO_CONTENT)
    async def undefine(ref: str) -> None:
        await ending.undefine(environment, guest(ref))


def _acting(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/domains/{ref}/destroy", response_model=v1.Job)
    async def destroy(ref: str, wait: bool = False) -> Response:
        return await job_reply(environment, await ending.destroy(environment, guest(ref)), wait)

    @routes.post("/domains/{ref}/shutdown", status_code=NO_CONTENT)
    async def shutdown(ref: str) -> None:
        await power.shutdown(environment, guest(ref))

    @routes.post("/domains/{ref}/reboot", status_code=NO_CONTENT)
    async def reboot(ref: str) -> None:
        await power.reboot(environment, guest(ref))

    @routes.post("/domains/{ref}/pause", status_code=NO_CONTENT)
    async def pause(ref: str) -> None:
        await power.pause(environment, guest(ref))

    @routes.post("/domains/{ref}/unpause", status_code=NO_CONTENT)
    async def unpause(ref: str) -> None:
        await power.unpause(environment, guest(ref))

    @routes.post("/domains/{ref}/rename", status_code=NO_CONTENT)
    async def rename(ref: str, request: RenameRequest) -> None:
        await power.rename(environment, guest(ref), request.name)


def guest(ref: str) -> str:
    """Domain-0 is the host: it is shown, and not acted on."""
    if ref in DOMAIN_ZERO:
        raise BadInput("Domain-0 is the host itself", hint="name a guest: wirt list shows them")
    return ref


def _source(request: v1.CreateRequest) -> creating.Source:
    return creating.Source(request.text, request.file, request.cwd, tuple(request.overrides))


def _defined(environment: Environment, name: str, uuid: str, notices: list[v1.Notice]) -> v1.Job:
    """Defining is done at once; the answer has a job's shape all the same, so that callers need only one."""
    now = environment.clock.now()
    result = {"uuid": uuid, "name": name, "domid": None}
    return v1.Job("", "define", name, "done", 1.0, "", [], now, now, None, result, notices)

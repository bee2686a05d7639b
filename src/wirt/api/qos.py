"""Routes of classes of service."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.config.qos import words_of
from wirt.operations import qos_verbs as verbs
from wirt.operations import sched_verbs, scheduling
from wirt.operations.environment import Environment
from wirt.operations.networks_upkeep import weight_remarks
from wirt.plan.networks_shares import DEFAULT_WEIGHT
from wirt.plan.shares import DEFAULT_DISK_WEIGHT
from wirt.wire import v1
from wirt.wire import v1_qos as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["qos"])
    _classes(routes, environment)
    _domains(routes, environment)
    _weights(routes, environment)
    return routes


def _classes(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/qos-classes", response_model=wire.QosClassList)
    async def classes() -> Response:
        """By name."""
        return reply(wire.QosClassList([_class(use) for use in verbs.look(environment)]))

    @routes.get("/qos-classes/{name}", response_model=wire.QosClass)
    async def qos_class(name: str) -> Response:
        """One class, and who names it."""
        return reply(_class(verbs.look_at(environment, name)))

    @routes.post("/qos-classes", response_model=v1.Job)
    async def define(request: wire.QosClassRequest, wait: bool = False) -> Response:
        """Make a class."""
        return await job_reply(environment, await verbs.define(environment, request.name, request.words), wait)

    @routes.post("/qos-classes/{name}", response_model=v1.Job)
    async def change(name: str, request: wire.QosClassChange, wait: bool = False) -> Response:
        """Change a class, and with it all guests that run with it. The job's result names those that could not
        be changed, and why."""
        return await job_reply(environment, await verbs.change(environment, name, request.words), wait)

    @routes.delete("/qos-classes/{name}", response_model=v1.Job)
    async def destroy(name: str, force: bool = False, wait: bool = False) -> Response:
        """Destroy a class that no domain names; with ``force`` also one that some do."""
        return await job_reply(environment, await verbs.destroy(environment, name, force=force), wait)


def _domains(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/domains/{ref}/qos", response_model=wire.QosTerms)
    async def terms(ref: str) -> Response:
        """What a domain has of all that classes speak of, and who has said it."""
        found = verbs.terms(environment, guest(ref))
        rows = [wire.QosRow(row.what, row.value, str(row.origin)) for row in found.rows]
        domain = found.domain
        return reply(wire.QosTerms(domain.name, domain.config.qos, rows, list(found.remarks)))

    @routes.post("/domains/{ref}/qos", response_model=v1.Job)
    async def set_class(ref: str, request: wire.QosRequest, wait: bool = False) -> Response:
        """Give a domain a class, or none. One that runs has it at once."""
        return await job_reply(environment, await verbs.set_class(environment, guest(ref), request.name), wait)


def _weights(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/domains/{ref}/disk-weight", response_model=wire.Weight)
    async def weigh(ref: str, request: wire.WeightRequest) -> Response:
        """Give a domain another weight among all who ask for the same disk. One that runs has it at once."""
        domain = await sched_verbs.set_disk_weight(environment, guest(ref), request.weight)
        weight = environment.qos_classes.effective(domain.config).disk_weight or DEFAULT_DISK_WEIGHT
        return reply(wire.Weight(domain.name, weight, list(scheduling.remarks(environment, domain))))

    @routes.post("/domains/{ref}/network-weight", response_model=wire.Weight)
    async def weigh_cards(ref: str, request: wire.WeightRequest) -> Response:
        """Give a domain another weight among the guests of networks whose way out is shared. One that runs has
        it within a second."""
        domain = await sched_verbs.set_network_weight(environment, guest(ref), request.weight)
        weight = environment.qos_classes.effective(domain.config).network_weight or DEFAULT_WEIGHT
        return reply(wire.Weight(domain.name, weight, list(weight_remarks(environment, domain))))


def _class(use: verbs.ClassUse) -> wire.QosClass:
    return wire.QosClass(use.qos.name, dict(words_of(use.qos)), [domain.name for domain in use.domains])

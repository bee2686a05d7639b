"""Routes about shares of the CPUs."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.model.domain import Domain
from wirt.operations import affinity, sched_verbs, scheduling
from wirt.operations import vcpus as switching
from wirt.operations.environment import Environment
from wirt.plan.shares import RealTimeTerms
from wirt.wire import v1
from wirt.wire import v1_scheduling as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["scheduling"])

    @routes.get("/scheduling", response_model=wire.SchedDomainList)
    async def domains(domain: str | None = None) -> Response:
        """Of all domains that run, or of one, which may be off."""
        chosen = [each for each in environment.domains if scheduling.is_held(each)]
        if domain is not None:
            chosen = [sched_verbs.guest(environment, domain)]
        shares = environment.scheduling.shares
        mechanism, reason = ("", "") if shares is None else (str(shares.mechanism), shares.reason)
        return reply(wire.SchedDomainList([_domain(environment, each) for each in chosen], mechanism, reason))

    @routes.post("/domains/{ref}/credit", response_model=wire.SchedDomain)
    async def credit(ref: str, request: wire.CreditRequest) -> Response:
        """Give a domain another weight or cap. One that runs has it at once."""
        changed = await sched_verbs.set_credit(environment, ref, request.weight, request.cap)
        return reply(_domain(environment, changed))

    @routes.post("/domains/{ref}/real-time", response_model=wire.SchedDomain)
    async def real_time(ref: str, request: wire.RealTimeRequest) -> Response:
        """Give each vCPU of a domain a budget in each period."""
        changed = await sched_verbs.set_real_time(
            environment, ref, request.period_us, request.budget_us, request.extratime
        )
        return reply(_domain(environment, changed))

    @routes.post("/domains/{ref}/pin", response_model=wire.SchedDomain)
    async def pin(ref: str, request: wire.PinRequest) -> Response:
        """Keep a vCPU to CPUs of the host, from now on."""
        changed = await affinity.pin(environment, ref, request.vcpu, request.hard, request.soft)
        return reply(_domain(environment, changed))

    @routes.post("/domains/{ref}/vcpus", response_model=v1.Job)
    async def vcpus(ref: str, request: wire.VcpusRequest, wait: bool = False) -> Response:
        """How many vCPUs a domain has: a guest that runs at once, through its agent, and from each start on."""
        return await job_reply(environment, await switching.set_vcpus(environment, ref, request.vcpus), wait)

    return routes


def _domain(environment: Environment, domain: Domain) -> wire.SchedDomain:
    credit = scheduling.credit_of(environment.qos_classes.effective(domain.config))
    terms = scheduling.real_time_of(domain.config)
    real_time = terms or RealTimeTerms(budget_us=0)
    return wire.SchedDomain(
        name=domain.name,
        uuid=str(domain.uuid),
        domid=domain.domid,
        vcpus=scheduling.vcpus_of(domain.config),
        weight=credit.weight,
        cap=credit.cap,
        period_us=real_time.period_us,
        budget_us=real_time.budget_us,
        extratime=real_time.extra,
        mechanism=str(environment.scheduling.mechanisms.get(domain.uuid, "")),
        remarks=list(scheduling.remarks(environment, domain)),
    )

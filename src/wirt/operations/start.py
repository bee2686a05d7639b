"""``wirt start``: run a domain that is known and off."""

from __future__ import annotations

from wirt.model.errors import IllegalState
from wirt.model.job import Job
from wirt.operations.backing import check_backing
from wirt.operations.checks import check_disks_free, check_files
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind


async def start(environment: Environment, ref: str, *, paused: bool = False) -> Job:
    domain = environment.domains.find(ref)
    if domain.incarnation is not None:
        raise IllegalState(f"domain {domain.name} is {domain.state} already")
    if environment.jobs.busy(domain.uuid):
        raise IllegalState(
            f"a job of domain {domain.name} is under way", hint="wirt jobs shows it; wait for its end"
        )
    check_files(environment, domain.config)
    await check_disks_free(environment, domain.uuid, domain.config)
    await check_backing(environment, await environment.plan(domain, 0))
    arguments = {"uuid": str(domain.uuid), "paused": paused}
    return await environment.jobs.submit(JobKind.START, domain.name, arguments)

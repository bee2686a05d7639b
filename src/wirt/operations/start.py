"""``wirt start``: run a domain that is known and off."""

from __future__ import annotations

from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, NotFound, WirtError
from wirt.model.job import Job
from wirt.operations.backing import check_backing
from wirt.operations.checks import check_disks_free, check_files
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind
from wirt.operations.placement import check_place
from wirt.operations.scheduling import check_terms
from wirt.plan.saved import read_guest


async def start(environment: Environment, ref: str, *, paused: bool = False, discard_saved: bool = False) -> Job:
    """``discard_saved``: begin anew although the domain was saved; what it was doing then is lost."""
    domain = environment.domains.find(ref)
    if domain.incarnation is not None:
        raise IllegalState(f"domain {domain.name} is {domain.state} already")
    if environment.jobs.busy(domain.uuid):
        raise IllegalState(
            f"a job of domain {domain.name} is under way", hint="wirt jobs shows it; wait for its end"
        )
    if not discard_saved:
        await _check_not_saved(environment, domain)
    check_terms(domain.config)
    check_place(environment, domain)
    check_files(environment, domain.config)
    await check_disks_free(environment, domain.uuid, domain.config)
    await check_backing(environment, await environment.plan(domain, 0))
    arguments = {"uuid": str(domain.uuid), "paused": paused}
    return await environment.jobs.submit(JobKind.START, domain.name, arguments)


async def _check_not_saved(environment: Environment, domain: Domain) -> None:
    """Once it has written its disks the file is worth nothing: refused while it is there, and still its own."""
    if domain.saved is None or environment.save_files is None:
        return
    try:
        found = await environment.save_files.facts(domain.saved)
        if read_guest(found.header, domain.saved).uuid != domain.uuid:
            return
    except NotFound:
        return
    except WirtError:
        pass  # damaged or out of reach: that is for its owner to look at
    raise IllegalState(
        f"domain {domain.name} was saved to {domain.saved}, where it could not go on once it has started anew",
        hint=f"wirt restore {domain.saved} goes on; wirt start --discard-saved {domain.name} gives that up",
    )

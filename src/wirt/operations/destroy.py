"""``wirt destroy`` and ``undefine``: the end of a run, and of a record."""

from __future__ import annotations

from wirt.model.domain import Domain, Wanted
from wirt.model.errors import IllegalState
from wirt.model.job import Job, Recovery
from wirt.operations.boot_files import drop_unused_files
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import END_STEPS, EnvContext, domain_of, running


async def destroy(environment: Environment, ref: str) -> Job:
    """Pull the plug: the run ends now, whatever the guest does. ``IllegalState`` if it is off, and not because it
    is being restarted at this moment."""
    domain = environment.domains.find(ref)
    if not environment.jobs.busy(domain.uuid):
        running(domain)
    arguments = {"uuid": str(domain.uuid), "domid": domain.domid, "reason": "destroyed"}
    return await environment.jobs.submit(JobKind.DESTROY, domain.name, arguments)


async def undefine(environment: Environment, ref: str) -> Domain:
    """Forget a domain that is off. Its disks stay."""
    domain = environment.domains.find(ref)
    if domain.incarnation is not None:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt shutdown {domain.name} first")
    if environment.jobs.busy(domain.uuid):
        raise IllegalState(
            f"a job of domain {domain.name} is under way", hint="wirt jobs shows it; wait for its end"
        )
    names = [each.name for each in environment.snapshots.of(domain.uuid).snapshots]
    if names:
        raise IllegalState(
            f"domain {domain.name} has snapshots ({', '.join(names[:5])}), which would be left behind",
            hint=f"wirt snapshot delete {domain.name} {names[-1]}",
        )
    await environment.domains.remove(domain.uuid)
    await drop_unused_files(environment)
    environment.tell(domain, reason="undefined")
    return domain


async def want_off(context: EnvContext) -> None:
    """From here on nothing may start it again by itself. A transient domain's record is about to go anyway."""
    environment, domain = context.environment, domain_of(context)
    if domain.persistent and domain.wanted is not Wanted.OFF:
        await environment.domains.change(domain.uuid, wanted=Wanted.OFF)


DESTROY = Operation(
    JobKind.DESTROY, (Step("want-off", want_off, nothing_to_undo), *END_STEPS), recovery=Recovery.FINISH
)

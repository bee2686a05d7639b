"""``wirt vcpu-set``: how many vCPUs a domain has, from its next start on, and in a guest that runs at once.

More of them are plugged in, as far as the run has not got them yet, and brought online by the guest's agent. Fewer
means that the guest leaves some unused, which its agent takes offline: they stay in the run until that ends
(:mod:`wirt.plan.vcpus`). Wherever the guest goes on, it has as many as its run had (:data:`VCPUS`), used or not.
"""

from __future__ import annotations

from dataclasses import replace

from wirt.config.xlcfg import with_value
from wirt.model.domain import Domain
from wirt.model.errors import (
    BadInput,
    DeadlinePassed,
    HypervisorError,
    HypervisorSilent,
    IllegalState,
    Unavailable,
    WirtError,
)
from wirt.model.job import Job, Recovery
from wirt.model.lifecycle import State
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.rewritten import rewritten
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.sched_verbs import guest
from wirt.operations.scheduling import lay_new, vcpus_of
from wirt.plan.vcpus import switch
from wirt.ports.guest_agent import LISTS_VCPUS, SETS_VCPUS

WAIT_S, LOOK_S = 60.0, 0.2
"""A guest that is busy, or emulated, takes seconds to find a vCPU and to bring it up."""
KNOWN_S = 10.0
"""So long a guest may take to find a vCPU that is to be taken from it again."""


async def set_vcpus(environment: Environment, ref: str, count: int) -> Job:
    """``BadInput`` says what can be; ``IllegalState`` and ``Unavailable`` what keeps a guest that runs from it."""
    domain = guest(environment, ref)
    most = vcpus_of(domain.config)
    if not 1 <= count <= most:
        raise BadInput(
            f"domain {domain.name} can't have {count} vCPUs",
            hint=f"1 to {most}; maxvcpus= in its xl.cfg says more",
        )
    if domain.incarnation is not None:
        await _check_guest(environment, domain)
    elif domain.saved is not None:
        raise IllegalState(
            f"domain {domain.name} is saved, and goes on with the vCPUs that it had",
            hint=f"wirt restore {domain.name} first",
        )
    arguments = {"uuid": str(domain.uuid), "domid": domain.domid, "count": count}
    return await environment.jobs.submit(JobKind.VCPU_SET, domain.name, arguments)


async def _check_guest(environment: Environment, domain: Domain) -> None:
    """Without an agent nobody could say whether the guest uses a vCPU, nor take it from it again."""
    name = domain.name
    if domain.state is not State.RUNNING:
        paused = domain.state is State.PAUSED
        raise IllegalState(
            f"domain {name} is {domain.state}, and its guest switches vCPUs only while it runs",
            hint=f"wirt unpause {name}" if paused else f"wirt destroy {name} ends it",
        )
    try:
        commands = (await environment.hypervisor.agents.info(domain.uuid)).commands
    except Unavailable as error:
        raise Unavailable(
            f"domain {name} runs, and without an agent its vCPUs can't be switched: {error.message}",
            hint=f"{error.hint or 'install one'}; or wirt shutdown -w {name}, then this again",
        ) from error
    lacking = [command for command in (LISTS_VCPUS, SETS_VCPUS) if command not in commands]
    if lacking:
        raise IllegalState(
            f"the agent in {name} does not know {' and '.join(lacking)}, and its vCPUs can't be switched",
            hint=f"wirt shutdown -w {name}, then this again; less at once: wirt sched-credit -d {name} -c CAP",
        )


def _here(context: EnvContext) -> Domain | None:
    """The domain, if it runs as it did; ``None`` if it was off and is. ``IllegalState`` if that has changed."""
    domain = domain_of(context)
    if domain.domid != context.job.arguments["domid"]:
        raise IllegalState(f"domain {domain.name} is {domain.state} by now", hint="look at it, and ask again")
    return None if domain.incarnation is None else domain


async def _plug(context: EnvContext) -> None:
    environment, domain = context.environment, _here(context)
    if domain is None:
        return
    plugs, count = environment.hypervisor.vcpu_plugs, context.job.arguments["count"]
    if await plugs.present(domain.uuid) < count:
        context.progress("plugging vCPUs in", 0.1)
        await context.note(touched=True)
        await plugs.plug(domain.uuid, count)
    await lay_new(environment, domain.uuid)


async def _switch(context: EnvContext) -> None:
    environment, domain = context.environment, _here(context)
    if domain is not None:
        context.progress("the guest switches its vCPUs", 0.4)
        await context.note(touched=True)
        await _reach(environment, domain, context.job.arguments["count"])


async def _reach(environment: Environment, domain: Domain, count: int) -> None:
    """Have the guest use ``count`` vCPUs. It is asked again what it has, and told again, until it is so:
    ``DeadlinePassed`` if that takes too long, with the last reason that there was."""
    agents, clock, why = environment.hypervisor.agents, environment.clock, ""
    until = clock.monotonic() + WAIT_S
    while True:
        try:
            found = switch(domain.name, await agents.vcpus(domain.uuid), count)
            if found.done:
                return
            why = f"it knows of {count - found.missing} vCPUs" if found.missing else "it does not do as it is told"
            if found.changes:
                await agents.set_vcpus(domain.uuid, dict(found.changes))
                found = switch(domain.name, await agents.vcpus(domain.uuid), count)
                if found.done:
                    return
        except (HypervisorError, Unavailable) as error:
            why = error.message
        if clock.monotonic() >= until:
            raise DeadlinePassed(
                f"the guest {domain.name} does not use {count} vCPUs within {WAIT_S:g} s: {why}",
                hint="it may be busy: try again; or start it anew with them",
            )
        await clock.sleep(LOOK_S)


async def _switch_as_before(context: EnvContext) -> None:
    """What was plugged in stays, unused. A guest that brings new vCPUs up by itself may find them late."""
    environment, domain = context.environment, domain_of(context)
    same = domain.incarnation is not None and domain.domid == context.job.arguments["domid"]
    if not same or domain.state is State.OFF or not context.job.notes.get("touched"):
        return
    try:
        await _reach_again(environment, domain)
    except WirtError as error:
        raise IllegalState(
            f"what vCPUs the guest {domain.name} uses is not sure: {error.message}",
            hint=f"wirt vcpu-set {domain.name} {domain.config.vcpus}, once its agent answers",
        ) from error


async def _reach_again(environment: Environment, domain: Domain) -> None:
    before, agents, clock = domain.config.vcpus, environment.hypervisor.agents, environment.clock
    present = await environment.hypervisor.vcpu_plugs.present(domain.uuid)
    until = clock.monotonic() + KNOWN_S
    while True:
        late = clock.monotonic() >= until
        try:
            known = await agents.vcpus(domain.uuid)
            found = switch(domain.name, known, before)
            if found.changes:
                await agents.set_vcpus(domain.uuid, dict(found.changes))
                known = await agents.vcpus(domain.uuid)
                found = switch(domain.name, known, before)
            if not found.changes and (late or len(known) >= present):
                return
            if late:
                raise IllegalState(f"the guest {domain.name} does not do as it is told")
        except HypervisorSilent:
            if late:
                raise
        await clock.sleep(LOOK_S)


async def _record(context: EnvContext) -> None:
    environment, domain = context.environment, domain_of(context)
    config, count = domain.config, context.job.arguments["count"]
    if "before" not in context.job.notes:
        await context.note(before=[config.vcpus, config.maxvcpus])
    most = config.maxvcpus if count == config.vcpus else vcpus_of(config)
    changed = await _write(environment, domain, count, most)
    present = count
    if domain.incarnation is not None:
        present = await environment.hypervisor.vcpu_plugs.present(domain.uuid)
    await context.note(result={"name": domain.name, "vcpus": count, "present": present})
    environment.tell(changed, change="vcpu-set")


async def _record_as_before(context: EnvContext) -> None:
    before = context.job.notes.get("before")
    if before is not None:
        await _write(context.environment, domain_of(context), *before)


async def _write(environment: Environment, domain: Domain, vcpus: int, most: int | None) -> Domain:
    """``most`` is written too: what a domain can have does not become less with what it has."""
    text = with_value(with_value(domain.text, "vcpus", vcpus), "maxvcpus", most)
    meant = replace(domain.config, vcpus=vcpus, maxvcpus=most)
    made = rewritten(domain, text, meant, "the number of vCPUs")
    return await environment.domains.change(domain.uuid, config=made.config, text=made.text)


VCPU_SET = Operation(
    JobKind.VCPU_SET,
    (
        Step("plug", _plug, _switch_as_before),
        Step("switch", _switch, nothing_to_undo, interruptible=True),
        Step("record", _record, _record_as_before),
    ),
    recovery=Recovery.FINISH,
)

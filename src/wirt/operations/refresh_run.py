"""A second run of a domain beside the first, which waits for its memory, and how it is taken away again."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from wirt.model.cpu import GivenCpu
from wirt.model.devices import PortForward, VifKind
from wirt.model.domain import Domain, Incarnation
from wirt.model.errors import IllegalState
from wirt.model.lifecycle import State
from wirt.operations.backing import check_backing
from wirt.operations.environment import Environment
from wirt.operations.given_memory import noted, notes_of
from wirt.operations.present import vcpus_of_run
from wirt.operations.running import EnvContext, card_notes, tell_noted_scripts
from wirt.plan.launch import LaunchPlan
from wirt.plan.nics import NicPlan
from wirt.ports.hypervisor import Launch, given_cpu
from wirt.ports.network import Plugged

INTERRUPTED = "wirtd ended in the middle; the guest goes on as before"


def uuid_of(context: EnvContext) -> UUID:
    return UUID(context.job.arguments["uuid"])


def beside_of(context: EnvContext) -> UUID:
    return UUID(context.job.arguments["beside"])


def old_run(context: EnvContext) -> Domain:
    """The domain, as long as its old run has the word and lives."""
    domain = context.environment.domains.get(uuid_of(context))
    run = domain.incarnation if domain is not None else None
    gone = run is None or run.domid != context.job.arguments["domid"] or run.end is not None
    if domain is None or gone or domain.state is State.OFF:
        raise IllegalState(f"domain {context.job.subject} has ended meanwhile")
    return domain


def has_word(environment: Environment, context: EnvContext) -> bool:
    """Whether the new run is the one that is recorded."""
    domain = environment.domains.get(uuid_of(context))
    new = context.job.notes.get("domid")
    return domain is not None and new is not None and domain.domid == new


def check_first(context: EnvContext) -> None:
    if context.repeated:
        raise IllegalState(INTERRUPTED)


async def plug(context: EnvContext) -> None:
    """New taps, since one belongs to the process that has it open. User-mode cards keep their ports, at which the
    old run listens still."""
    check_first(context)
    environment, domain = context.environment, old_run(context)
    assert domain.incarnation is not None
    await context.note(domid=await environment.domains.next_domid(), was=str(domain.state))
    plan = await _plan(context, domain)
    plugged: list[Plugged] = []
    context.transient["plugged"] = plugged
    for nic in plan.nics:
        if nic.kind is VifKind.USER:
            plugged.append(Plugged(nic, nic.kind, forwards=_as_before(nic, domain.incarnation.notes)))
            continue
        plugged.append(await environment.network.plug(nic))
        if plugged[-1].script is not None:
            await context.note(scripts=[card.script.written() for card in plugged if card.script is not None])


async def _plan(context: EnvContext, domain: Domain, given: GivenCpu | None = None) -> LaunchPlan:
    assert domain.incarnation is not None
    domid, memory = context.job.notes["domid"], noted(domain.incarnation.notes)
    vcpus = await vcpus_of_run(context.environment, domain)
    return await context.environment.plan(domain, domid, given=given, memory=memory, vcpus=vcpus)


def _as_before(nic: NicPlan, notes: dict[str, str]) -> tuple[PortForward, ...]:
    return tuple(
        replace(each, host_port=int(notes[f"forward.{nic.index}.{each.protocol}.{each.guest_port}"]))
        for each in nic.forwards
    )


async def unplug(context: EnvContext) -> None:
    """After a crash there is nothing to close: a tap is gone with the last process that held it."""
    if has_word(context.environment, context):
        return
    await tell_noted_scripts(context)
    for plugged in context.transient.pop("plugged", []):
        if plugged.kind is not VifKind.USER:  # whose ports are the old run's
            await context.environment.network.unplug(plugged)


async def launch(context: EnvContext) -> None:
    check_first(context)
    environment, domain = context.environment, old_run(context)
    old = domain.incarnation
    assert old is not None
    before = await _plan(context, domain)
    plan = await _plan(context, domain, given_cpu(old, before.cpu_model))
    await check_backing(environment, plan, remember=True)
    incarnation = Incarnation(
        domain=domain.uuid,
        domid=plan.domid,
        host=environment.machine.name,
        epoch=domain.epoch,
        hypervisor=environment.hypervisor.name,
        started_at=old.started_at,  # the guest's, for people
    )
    # From here on the descriptors are the hypervisor's to close; until here they are the undo's.
    plugged = tuple(context.transient.pop("plugged"))
    directory, beside = environment.directory(plan.domid), beside_of(context)
    wanted = Launch(plan, incarnation, directory, plugged, incoming=True, beside=beside)
    started = await environment.hypervisor.launch(wanted)
    context.transient["cards"] = plugged
    context.transient["started"] = replace(
        started, notes={**started.notes, **card_notes(plugged), **notes_of(plan)}
    )
    for key, value in old.notes.items():
        if key.startswith("link.") and value == "down":
            await environment.hypervisor.set_link(beside, int(key.removeprefix("link.")), up=False)


async def take_away(context: EnvContext) -> None:
    """The new run, however far it got, unless it has the word. It has no part in the disks before that."""
    environment, domid = context.environment, context.job.notes.get("domid")
    if domid is not None and not has_word(environment, context):
        await environment.hypervisor.destroy(beside_of(context))
        await environment.hypervisor.clear(beside_of(context), environment.directory(domid))

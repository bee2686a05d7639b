"""The steps that start and end a run: shared by the verbs that do so.

Arguments that these steps read from the job: ``uuid``, ``paused``, ``memory`` or ``saved`` (the file that the run
goes on from: memory as the hypervisor wrote it, or a saved guest), ``handover`` (it waits for its memory from
another host), ``cpu``, :data:`~wirt.operations.given_memory.GIVEN` and
:data:`~wirt.operations.present.VCPUS` (what a guest that goes on has already), and ``domid`` of the run that is to
end. Notes that they write: ``domid`` for the run that is started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import structlog

from wirt.model.cpu import GivenCpu
from wirt.model.domain import Domain, Incarnation
from wirt.model.errors import IllegalState, NotFound, Unavailable, WirtError
from wirt.model.lifecycle import State
from wirt.operations.backing import check_backing
from wirt.operations.boot_files import drop_unused_files
from wirt.operations.environment import Environment
from wirt.operations.given_memory import notes_of, of_job
from wirt.operations.jobs.step import Context, Step, nothing_to_undo
from wirt.operations.present import VCPUS
from wirt.operations.scheduling import lay_new
from wirt.operations.volumes_domain import claim_volumes, release_volumes
from wirt.plan.launch import LaunchPlan
from wirt.plan.scripts import read_script
from wirt.ports.hypervisor import Launch, MemoryStream
from wirt.ports.network import Plugged
from wirt.ports.save_files import SaveFiles

EnvContext = Context[Environment]

log = structlog.get_logger()

MOVING = "moving"
"""In an incarnation's notes, while the run is on its way to another host or from one
(:mod:`wirt.operations.moving`)."""


def domain_of(context: EnvContext) -> Domain:
    domain = context.environment.domains.get(UUID(context.job.arguments["uuid"]))
    if domain is None:
        raise NotFound(f"domain {context.job.subject} is gone")
    return domain


async def take_volumes(context: EnvContext) -> None:
    """Its volumes are this domain's from here on, and can be opened."""
    await claim_volumes(context.environment, domain_of(context))


async def let_volumes_go(context: EnvContext) -> None:
    await release_volumes(context.environment, UUID(context.job.arguments["uuid"]))


async def number(context: EnvContext) -> None:
    """A domid for the new run, written down before anything carries it."""
    await context.note(domid=await context.environment.domains.next_domid())


async def number_and_plug(context: EnvContext) -> None:
    await number(context)
    await plug(context)


async def plug(context: EnvContext) -> None:
    environment = context.environment
    plan = await plan_of(context)
    await tell_noted_scripts(context)  # of a daemon that did not live to see the end of this
    plugged: list[Plugged] = []
    context.transient["plugged"] = plugged
    for nic in plan.nics:
        plugged.append(await environment.network.plug(nic))
        if plugged[-1].script is not None:
            await context.note(scripts=[card.script.written() for card in plugged if card.script is not None])


async def plan_of(context: EnvContext) -> LaunchPlan:
    """Of the run that is being started."""
    domid, memory = context.job.notes["domid"], of_job(context.job.arguments)
    given, vcpus = _given(context), context.job.arguments.get(VCPUS)
    return await context.environment.plan(domain_of(context), domid, given=given, memory=memory, vcpus=vcpus)


async def unplug(context: EnvContext) -> None:
    """After a crash there is nothing to close: a tap is gone with the last process that held it."""
    await tell_noted_scripts(context)
    for plugged in context.transient.pop("plugged", []):
        await context.environment.network.unplug(plugged)


async def tell_noted_scripts(context: EnvContext) -> None:
    for script in context.job.notes.get("scripts", []):
        await tell_script(context.environment, script)


async def launch(context: EnvContext) -> None:
    """Start the run and record it. Repeated after a crash, it first ends what the crash left unrecorded."""
    environment = context.environment
    if context.repeated:
        await clear(context)
        await number(context)  # a new run, a new number: what is still told of the old one must not meet this one
    if "plugged" not in context.transient:
        await plug(context)  # the descriptors died with the daemon that opened them
    plan = await plan_of(context)
    await check_backing(environment, plan, remember=True)
    async with _beginning(context) as memory:
        started = await _launch(context, plan, memory)
    domain = await environment.domains.start_run(started)
    if plan.start_mib is not None and not _goes_on(context):
        environment.grants.begin(domain, plan.start_mib)
    environment.tell(domain)
    await lay_new(environment, plan.uuid)


def _goes_on(context: EnvContext) -> bool:
    """Not from its first instruction."""
    arguments = context.job.arguments
    moved = "handover" in arguments and not arguments.get("offer", {}).get("offline")
    return arguments.get("memory") is not None or "saved" in arguments or moved


def _given(context: EnvContext) -> GivenCpu | None:
    """The CPU of a guest that goes on from where it was, as far as that is known."""
    said = context.job.arguments.get("cpu")
    if said is None:
        return None
    return GivenCpu(said["model"], frozenset(said["features"]), said["identity"])


def cpu_argument(given: GivenCpu) -> dict[str, object]:
    """``given`` as a job's argument ``cpu``."""
    return {"model": given.model, "features": sorted(given.features), "identity": given.identity}


async def _launch(context: EnvContext, plan: LaunchPlan, memory: Path | MemoryStream | None) -> Incarnation:
    environment, domain, domid = context.environment, domain_of(context), plan.domid
    incarnation = Incarnation(
        domain=domain.uuid,
        domid=domid,
        host=environment.machine.name,
        epoch=domain.epoch,
        hypervisor=environment.hypervisor.name,
        started_at=environment.clock.now(),
    )
    # From here on the descriptors are the hypervisor's to close; until here they are the undo's.
    plugged = tuple(context.transient.pop("plugged"))
    arguments = context.job.arguments
    incoming = "handover" in arguments and "offer" in arguments and not arguments["offer"].get("offline")
    wanted = Launch(plan, incarnation, environment.directory(domid), plugged, memory, incoming)
    started = await environment.hypervisor.launch(wanted)
    moving = {MOVING: f"{arguments['offer']['source']} {arguments['handover']}"} if incoming else {}
    return replace(started, notes={**started.notes, **card_notes(plugged), **notes_of(plan), **moving})


@asynccontextmanager
async def _beginning(context: EnvContext) -> AsyncIterator[Path | MemoryStream | None]:
    """What the run goes on from. A saved file has been read to its end, and found whole, when this is left."""
    arguments = context.job.arguments
    if "saved" not in arguments:
        yield Path(arguments["memory"]) if arguments.get("memory") is not None else None
        return

    def tell(share: float) -> None:
        context.progress(f"reading memory: {share:.0%}", 0.4 + share * 0.4)

    async with save_files(context.environment).memory(arguments["saved"], tell) as stream:
        yield stream


def save_files(environment: Environment) -> SaveFiles:
    if environment.save_files is None:
        raise Unavailable("this daemon keeps no guests in files")
    return environment.save_files


async def clear(context: EnvContext) -> None:
    """Neither the run nor its record is left, however far its start got."""
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domid = context.job.notes.get("domid")
    if domid is None:
        return
    await environment.hypervisor.clear(uuid, environment.directory(domid))
    domain = environment.domains.get(uuid)
    if domain is not None and domain.domid == domid:
        await environment.domains.end_run(uuid)
        environment.tell(replace(domain, incarnation=None), reason="not started")


async def resume(context: EnvContext) -> None:
    if context.job.arguments.get("paused"):
        return
    environment, domain = context.environment, domain_of(context)
    await environment.hypervisor.resume(domain.uuid)
    environment.tell(environment.domains.observe(domain.uuid, State.RUNNING))


START_STEPS = (
    Step("disks", take_volumes, let_volumes_go),
    Step("plug", number_and_plug, unplug),
    Step("launch", launch, clear),
    Step("resume", resume, nothing_to_undo),
)
"""From a domain that is off to one that runs. Undoing ``launch`` ends whatever ``resume`` set going."""


async def end_run(context: EnvContext) -> None:
    """End the process, whatever state it is in, and remove what belonged to it. Which run is meant stands in the
    job's ``domid``: what follows a run's end is void once something else (``destroy``, most often) has seen to
    it."""
    environment, domain = context.environment, domain_of(context)
    domid = context.job.arguments["domid"]
    if domid is None:
        # A destroy that came between two runs of a restart means whichever there is by now.
        domid = domain.domid
    if domid is None:
        return
    if domain.domid != domid:
        raise IllegalState(f"run {domid} of domain {domain.name} was over already")
    known = environment.hypervisor.usage(domain.uuid) is not None
    await environment.hypervisor.destroy(domain.uuid)
    if not known:
        # A run that the driver does not hold may have ended while no daemon was there, or may not be adopted yet.
        await environment.hypervisor.clear(domain.uuid, environment.directory(domid))
    for key, script in (domain.incarnation.notes if domain.incarnation is not None else {}).items():
        if key.startswith("script."):
            await tell_script(environment, script)


async def tell_script(environment: Environment, script: str) -> None:
    """Tell the script of a card that the card is gone. A script that fails must not keep a run from ending."""
    try:
        await environment.network.offline(read_script(script))
    except WirtError as error:
        log.warning("the script of a card failed", error=str(error))


async def forget_domain(context: EnvContext) -> None:
    """What is left once the run is over: nothing of a transient domain, the record of a persistent one."""
    environment, domain = context.environment, domain_of(context)
    await release_volumes(environment, domain.uuid)
    if domain.persistent:
        await environment.domains.end_run(domain.uuid)
    else:
        await environment.domains.remove(domain.uuid)
        await drop_unused_files(environment)
    off = replace(domain, incarnation=None)
    reason = context.job.arguments.get("reason")
    environment.tell(off, reason=reason, message=context.job.arguments.get("message", ""))


END_STEPS = (
    Step("end-run", end_run, nothing_to_undo, final=True),
    Step("forget", forget_domain, nothing_to_undo, final=True),
)


def running(domain: Domain) -> Domain:
    """``domain``, if it has a run that can be acted on; ``IllegalState`` tells its state otherwise."""
    if domain.incarnation is None:
        raise IllegalState(f"domain {domain.name} is off", hint=f"wirt start {domain.name}")
    return domain


def card_notes(plugged: tuple[Plugged, ...]) -> dict[str, str]:
    """What the plan could not know: the taps' real names and the forwards' real ports."""
    notes = {}
    for card in plugged:
        notes[f"kind.{card.nic.index}"] = str(card.kind)
        if card.nic.bridge is not None:
            notes[f"bridge.{card.nic.index}"] = card.nic.bridge
        if card.tap is not None:
            notes[f"tap.{card.nic.index}"] = card.tap
        if card.script is not None:
            notes[f"script.{card.nic.index}"] = card.script.written()
        for forward in card.forwards:
            notes[f"forward.{card.nic.index}.{forward.protocol}.{forward.guest_port}"] = str(forward.host_port)
    return notes

"""``wirt refresh``: a guest goes on in a new QEMU on the same host, as after an upgrade of QEMU.

As between two hosts, the new run waits while memory is copied, and the guest stands still for the last rest. Whose
it is then says the run's record: one transaction puts the new run in the place of the old, while both stand still.
Before that word the old one goes on whatever happens and the new one is taken away; after it the new one does, and
the old one is never let go on. So another daemon needs nothing but the record to know what to do.

Arguments: ``uuid``, ``domid`` (of the old run), ``beside`` (what the new one is called until it takes the place).
Notes: ``domid`` (of the new run), ``was`` (the guest's state), ``scripts`` of new cards, ``old-scripts``,
``gap_s``.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from wirt.model.devices import VifKind
from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, WirtError
from wirt.model.job import Job, Recovery
from wirt.model.lifecycle import State
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.moving import settled
from wirt.operations.receive import live_of
from wirt.operations.refresh_run import launch, plug, take_away, unplug
from wirt.operations.refresh_travel import copy, go_on_before, hand_over
from wirt.operations.running import EnvContext, running, tell_script
from wirt.operations.scheduling import lay as hold
from wirt.operations.volumes_domain import check_names_settled
from wirt.plan.refresh import refusal

log = structlog.get_logger()


async def refresh(environment: Environment, ref: str) -> Job:
    """What can be known to be wrong is raised now, before there is a job: ``IllegalState`` above all."""
    live_of(environment)
    domain = settled(running(environment.domains.find(ref)))
    if domain.state not in (State.RUNNING, State.PAUSED):
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt destroy {domain.name} ends it")
    check_no_backup(environment, domain)
    check_names_settled(environment, domain)
    assert domain.incarnation is not None
    why = refusal(domain.name, domain.config, domain.incarnation.notes)
    if why is not None:
        raise IllegalState(why.what, hint=why.remedy)
    await environment.plan(domain, await environment.domains.likely_domid())  # there must be room for it twice
    arguments = {"uuid": str(domain.uuid), "domid": domain.domid, "beside": str(environment.new_uuid())}
    return await environment.jobs.submit(JobKind.REFRESH, domain.name, arguments)


def outdated(environment: Environment, domain: Domain) -> bool:
    """Whether it runs on a program that is no longer the installed one."""
    return domain.incarnation is not None and environment.hypervisor.outdated(domain.incarnation)


def all_outdated(environment: Environment) -> list[tuple[Domain, str]]:
    """Those, and the version that each runs on."""
    found = [domain for domain in environment.domains if outdated(environment, domain)]
    return [(domain, domain.incarnation.notes.get("version", "")) for domain in found if domain.incarnation]


def notes(environment: Environment) -> list[str]:
    """For ``wirt info``."""
    count = len(all_outdated(environment))
    if not count:
        return []
    run = "domains run" if count > 1 else "domain runs"
    return [f"{count} {run} on a QEMU that is no longer installed: wirt refresh --all"]


async def _end_old(context: EnvContext) -> None:
    """It stands still, has let go of its disks, and is nobody's any more. Its user-mode network goes with it."""
    environment, arguments, notes = context.environment, context.job.arguments, context.job.notes
    uuid, beside = UUID(arguments["uuid"]), UUID(arguments["beside"])
    await environment.hypervisor.destroy(beside)
    await environment.hypervisor.clear(beside, environment.directory(arguments["domid"]))
    domain = environment.domains.get(uuid)
    if domain is not None and domain.domid == notes["domid"] and domain.state is not State.OFF:
        await _connect(environment, domain)
    for script in notes.get("old-scripts", []):
        await tell_script(environment, script)


async def _connect(environment: Environment, domain: Domain) -> None:
    """Their ports are free now. Only the daemon that made their sockets can do it."""
    assert domain.incarnation is not None
    kinds = {key: kind for key, kind in domain.incarnation.notes.items() if key.startswith("kind.")}
    cards = frozenset(int(key.removeprefix("kind.")) for key, kind in kinds.items() if kind == VifKind.USER)
    lost = await environment.hypervisor.connect_cards(domain.uuid, cards)
    if lost:
        name, card = domain.name, min(lost)
        raise IllegalState(
            f"domain {name} goes on, but card {card} has lost its user-mode network: wirtd ended just then",
            hint=f"wirt network-detach {name} {card} and attach it again, or wirt reboot {name}",
        )


async def _look_after(context: EnvContext) -> None:
    """The guest's clock lacks the moment in which it stood still."""
    environment, notes = context.environment, context.job.notes
    uuid = UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    run = domain.incarnation if domain is not None else None
    if domain is None or run is None or run.domid != notes["domid"]:
        return  # it has ended since, and what follows from that is another's to do
    try:
        if domain.state is State.RUNNING and await environment.hypervisor.agents.available(uuid):
            await environment.hypervisor.agents.set_time(uuid, environment.clock.now())
    except WirtError as error:
        log.warning("a guest's clock could not be set after a refresh", domain=domain.name, error=str(error))
    result = {"uuid": str(uuid), "name": domain.name, "domid": run.domid, "pid": run.pid}
    more = {"old_domid": context.job.arguments["domid"], "version": run.notes.get("version", "")}
    await context.note(result={**result, **more, "gap_s": notes.get("gap_s")})
    environment.tell(domain, reason="refreshed")
    await hold(environment)


async def _conclude(context: EnvContext) -> None:
    """Something failed in the hand-over: if the new run has the word, it goes on, and the old one ends."""
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is None or domain.domid != context.job.notes.get("domid"):
        return
    try:
        if context.job.notes["was"] == State.RUNNING:
            await environment.hypervisor.resume(uuid)
            environment.tell(environment.domains.observe(uuid, State.RUNNING))
    except WirtError as error:
        log.error("a refreshed guest could not go on", domain=domain.name, error=str(error))
    await _end_old(context)


async def _give_back(context: EnvContext) -> None:
    """Nothing of the new run is left, and the guest is where it was; unless the new one has the word."""
    await take_away(context)
    await go_on_before(context)


REFRESH = Operation(
    JobKind.REFRESH,
    (
        Step("plug", plug, unplug),
        Step("launch", launch, take_away),
        Step("copy", copy, _give_back, interruptible=True),
        Step("hand-over", hand_over, _conclude, final=True),
        Step("end-old", _end_old, _end_old, final=True),
        Step("look-after", _look_after, nothing_to_undo, final=True),
    ),
    recovery=Recovery.FINISH,
)

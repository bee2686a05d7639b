"""What follows when a guest ends by itself: ``on_poweroff``, ``on_reboot``, ``on_crash``, ``on_watchdog``,
``on_soft_reset`` (xl.cfg(5), "Event Actions")."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from uuid import UUID

from wirt.config.xlcfg import with_value
from wirt.config.xlcfg.meaning import LONGEST_NAME
from wirt.model.domain import Domain, DomainConfig, Incarnation
from wirt.model.errors import DeadlinePassed, NameInUse, WirtError
from wirt.model.job import Recovery
from wirt.model.lifecycle import Action, EndReason, State
from wirt.operations.checks import DISKS_RELEASED
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.memory_grants import free_limit
from wirt.operations.power import REBOOT_NOTE, poweroff_means
from wirt.operations.present import vcpus_of_run
from wirt.operations.refresh_busy import first_domid
from wirt.operations.running import END_STEPS, START_STEPS, EnvContext, domain_of, end_run
from wirt.operations.volumes_domain import release_volumes
from wirt.ports.hypervisor import ResetKind

_EVENTS = ("on_poweroff", "on_reboot", "on_crash", "on_watchdog", "on_soft_reset")


def action_for(domain: Domain, end: EndReason) -> Action:
    config = domain.config
    return {
        EndReason.POWEROFF: config.on_poweroff,
        EndReason.REBOOT: config.on_reboot,
        EndReason.CRASH: config.on_crash,
        EndReason.WATCHDOG: config.on_watchdog,
        EndReason.SOFT_RESET: config.on_soft_reset,
        EndReason.DESTROYED: Action.DESTROY,
    }[end]


async def dump(context: EnvContext) -> None:
    """The guest's memory as NAME-TIME.core. A dump that can't be made must not keep the guest from its end: the
    reason is told."""
    environment, domain = context.environment, domain_of(context)
    if domain.state is State.OFF or context.job.arguments["run-gone"]:
        await context.note(dump="not made: the run is gone")
        return
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(environment.clock.now()))
    path = environment.settings.dumps / f"{domain.name.replace('/', '_')}-{stamp}.core"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await environment.hypervisor.dump_core(domain.uuid, path)
    except (WirtError, OSError) as error:
        path.unlink(missing_ok=True)
        await context.note(dump=f"not made: {error}")
        return
    path.chmod(0o600)
    await context.note(dump=str(path))


async def keep_under_other_name(context: EnvContext) -> None:
    """``rename-restart``: the ended run stays to be looked at, as a domain of its own with a new UUID."""
    environment, domain = context.environment, domain_of(context)
    if domain.incarnation is None:
        return  # done before the daemon died
    kept, name = environment.new_uuid(), _kept_name(environment, domain)
    await environment.hypervisor.preserve(domain.uuid, kept, name)
    notes = {**domain.incarnation.notes, "name": name, DISKS_RELEASED: "yes"}
    copy = Domain(
        uuid=kept,
        config=_preserved(domain.config, name, kept),
        text=_preserved_text(environment.rename_in_text(domain.text, name, kept)),
        created_at=environment.clock.now(),
        incarnation=replace(domain.incarnation, domain=kept, notes=notes),
    )
    environment.tell(await environment.domains.keep_run(domain.uuid, copy))


def _preserved(config: DomainConfig, name: str, uuid: UUID) -> DomainConfig:
    """The next daemon finds it ended once more, and must leave it alone."""
    return replace(
        config,
        name=name,
        uuid=uuid,
        on_poweroff=Action.PRESERVE,
        on_reboot=Action.PRESERVE,
        on_crash=Action.PRESERVE,
        on_watchdog=Action.PRESERVE,
        on_soft_reset=Action.PRESERVE,
    )


def _preserved_text(text: str) -> str:
    for key in _EVENTS:
        text = with_value(text, key, Action.PRESERVE)
    return text


def _kept_name(environment: Environment, domain: Domain) -> str:
    """When it ended makes it another's name; so does a number, when it ends twice in a second."""
    stamp = time.strftime("-%Y%m%dT%H%M%SZ", time.gmtime(environment.clock.now()))
    for again in ("", *(f"-{number}" for number in range(2, 1000))):
        name = domain.name[: LONGEST_NAME - len(stamp + again)] + stamp + again
        if environment.domains.named(name) is None:
            return name
    raise NameInUse(f"{domain.name}{stamp} and its like are all taken")


async def soft_reset(context: EnvContext) -> None:
    environment, domain = context.environment, domain_of(context)
    if domain.incarnation is not None and REBOOT_NOTE in domain.incarnation.notes:
        # This was the reboot that had been asked for; the same run may power off later, and mean it.
        notes = {key: value for key, value in domain.incarnation.notes.items() if key != REBOOT_NOTE}
        await environment.domains.start_run(replace(domain.incarnation, notes=notes))
    await free_limit(environment, domain)
    await environment.hypervisor.reset(domain.uuid, ResetKind.SOFT)


async def settle(context: EnvContext) -> None:
    """The old run is over and recorded so; from here on, giving up means that the domain is off."""
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is not None and domain.incarnation is not None and domain.domid == context.job.arguments["domid"]:
        await environment.domains.end_run(uuid)


async def give_up(context: EnvContext) -> None:
    """The new run could not be started: a transient domain is gone, a persistent one is off. Nothing is given up
    as long as the old run is still recorded."""
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is not None and domain.incarnation is None:
        await release_volumes(environment, uuid)
        if not domain.persistent:
            await environment.domains.remove(uuid)
        environment.tell(replace(domain, incarnation=None), reason="not restarted")


_RESTART = (
    Step("end-run", end_run, nothing_to_undo, final=True),
    Step("settle", settle, give_up),
    *START_STEPS,
)

_KEEP_AND_RESTART = (
    Step("keep", keep_under_other_name, give_up),
    *START_STEPS,
)

_DUMP = Step("dump", dump, nothing_to_undo, interruptible=True)


def _conclusion(kind: JobKind, *steps: Step[Environment]) -> Operation[Environment]:
    return Operation(kind, steps, recovery=Recovery.FINISH)


CONCLUSIONS = {
    Action.DESTROY: _conclusion(JobKind.END, *END_STEPS),
    Action.RESTART: _conclusion(JobKind.RESTART, *_RESTART),
    Action.RENAME_RESTART: _conclusion(JobKind.RENAME_RESTART, *_KEEP_AND_RESTART),
    Action.COREDUMP_DESTROY: _conclusion(JobKind.DUMP_END, _DUMP, *END_STEPS),
    Action.COREDUMP_RESTART: _conclusion(JobKind.DUMP_RESTART, _DUMP, *_RESTART),
    Action.SOFT_RESET: _conclusion(JobKind.SOFT_RESET, Step("reset", soft_reset, nothing_to_undo)),
}
"""``preserve`` is not here: it means that nothing is done."""


async def wait_ended(environment: Environment, ref: str, timeout_s: float) -> Domain:
    """The domain, once the run that it has now is over and all that follows has been done: it is off or gone, runs
    anew, or what is left was kept (``preserve``). ``DeadlinePassed`` when ``timeout_s`` passes."""
    domain = environment.domains.find(ref)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                changed = environment.changed
                now = environment.domains.get(domain.uuid)
                if now is None or now.incarnation is None or not _one_life(now.incarnation, domain):
                    return now or replace(domain, incarnation=None)
                end = now.incarnation.end
                if end is not None and action_for(now, poweroff_means(now, end)) is Action.PRESERVE:
                    return now
                await changed.wait()
    except TimeoutError as error:
        raise DeadlinePassed(f"domain {domain.name} had not ended within {timeout_s:g} s") from error


def _one_life(run: Incarnation, before: Domain) -> bool:
    """Whether it is what the guest ran in then, or goes on in since (``wirt refresh``)."""
    was = before.incarnation
    return was is not None and (run.domid == was.domid or first_domid(run) == first_domid(was))


async def _has_unused_vcpus(environment: Environment, domain: Domain) -> bool:
    """Whether the guest was told to leave some unused, which no QEMU takes out."""
    try:
        return await vcpus_of_run(environment, domain) > domain.config.vcpus
    except WirtError:
        return False


async def conclude(environment: Environment, domain: Domain, end: EndReason, action: Action, message: str) -> None:
    """Submit what ``action`` demands. A run that is gone can't be dumped, reset or preserved any more."""
    gone = domain.state is State.OFF
    if action is Action.PRESERVE and not gone:
        return
    if action is Action.SOFT_RESET and not gone and await _has_unused_vcpus(environment, domain):
        action = Action.RESTART  # a reset would give it all of them
    if gone:
        action = {Action.PRESERVE: Action.DESTROY, Action.RENAME_RESTART: Action.RESTART}.get(action, action)
        action = Action.DESTROY if action is Action.SOFT_RESET else action
    arguments = {
        "uuid": str(domain.uuid),
        "domid": domain.domid,
        "reason": str(end),
        "message": message,
        "paused": False,
        "run-gone": gone,
    }
    await environment.jobs.submit(CONCLUSIONS[action].kind, domain.name, arguments)

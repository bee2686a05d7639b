"""``pause``, ``unpause``, ``shutdown``, ``reboot``, ``rename``: verbs that act at once or ask the guest to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from wirt.config.xlcfg import name_fault
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import BadInput, DeadlinePassed, IllegalState
from wirt.model.lifecycle import EndReason, State
from wirt.operations.environment import Environment
from wirt.operations.moving import settled
from wirt.operations.refresh_busy import at_rest
from wirt.operations.running import running

REBOOT_NOTE = "reboot-asked"
"""In an incarnation's notes: the next power-off is a reboot. A PC has no button for that, only for off."""


async def pause(environment: Environment, ref: str) -> None:
    domain = await _settled(environment, ref, State.RUNNING, State.PAUSED)
    await environment.hypervisor.pause(domain.uuid)


async def unpause(environment: Environment, ref: str) -> None:
    """``IllegalState`` above all while it is not known which of two hosts has the guest."""
    domain = await _settled(environment, ref, State.RUNNING, State.PAUSED)
    if domain.saved is not None:
        # Its run could not be ended after it was saved: it is this run that goes on, and not the file.
        await environment.domains.change(domain.uuid, saved=None)
    await environment.hypervisor.resume(domain.uuid)


async def shutdown(environment: Environment, ref: str) -> None:
    """Ask the guest to shut itself down; what follows is ``on_poweroff``'s. It may take long, or ignore it."""
    domain = await _settled(environment, ref, State.RUNNING)
    assert domain.incarnation is not None
    if REBOOT_NOTE in domain.incarnation.notes:
        # A reboot that the guest ignored is no longer wanted.
        notes = {key: value for key, value in domain.incarnation.notes.items() if key != REBOOT_NOTE}
        await environment.domains.start_run(replace(domain.incarnation, notes=notes))
    await environment.hypervisor.power_button(domain.uuid)
    if environment.domains.get(domain.uuid) is not None:
        await environment.domains.change(domain.uuid, wanted=Wanted.OFF)


async def reboot(environment: Environment, ref: str) -> None:
    """Ask the guest to shut itself down, and then do as if it had rebooted: ``on_reboot``."""
    domain = await _settled(environment, ref, State.RUNNING)
    assert domain.incarnation is not None
    notes = {**domain.incarnation.notes, REBOOT_NOTE: "yes"}
    await environment.domains.start_run(replace(domain.incarnation, notes=notes))
    await environment.hypervisor.power_button(domain.uuid)


async def rename(environment: Environment, ref: str, name: str) -> Domain:
    domain = settled(environment.domains.find(ref))
    fault = name_fault(name)
    if fault is not None:
        raise BadInput(fault, hint=f"domain {domain.name} keeps its name")
    config = replace(domain.config, name=name)
    text = environment.rename_in_text(domain.text, name)
    domain = await environment.domains.change(domain.uuid, config=config, text=text)
    if domain.incarnation is not None:
        await environment.hypervisor.rename(domain.uuid, name)
    environment.tell(domain, reason="renamed")
    return domain


async def wait_for(environment: Environment, ref: str, states: frozenset[State], timeout_s: float) -> Domain:
    """The domain, once it is in one of ``states``. One that is forgotten meanwhile is off. ``DeadlinePassed`` when
    ``timeout_s`` passes."""
    domain = environment.domains.find(ref)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                changed = environment.changed
                now = environment.domains.get(domain.uuid)
                if now is None or now.state in states:
                    off = replace(domain, incarnation=None)
                    if now is not None or State.OFF in states:
                        return now or off
                    raise IllegalState(f"domain {domain.name} is gone")
                await changed.wait()
    except TimeoutError as error:
        wanted = " or ".join(sorted(states))
        raise DeadlinePassed(f"domain {domain.name} was not {wanted} within {timeout_s:g} s") from error


def poweroff_means(domain: Domain, end: EndReason) -> EndReason:
    """What an end is to be taken for: a power-off that ``reboot`` asked for is a reboot."""
    asked = domain.incarnation is not None and REBOOT_NOTE in domain.incarnation.notes
    return EndReason.REBOOT if asked and end is EndReason.POWEROFF else end


async def _settled(environment: Environment, ref: str, *states: State) -> Domain:
    """``domain``, once nothing is under way with its run. ``IllegalState`` if it is in none of ``states`` then."""
    await at_rest(environment, running(environment.domains.find(ref)))
    return settled(_in_state(environment, ref, *states))


def _in_state(environment: Environment, ref: str, *states: State) -> Domain:
    domain = running(environment.domains.find(ref))
    if domain.state not in states:
        able = " or ".join(str(state) for state in states)
        hint = f"wirt unpause {domain.name}" if domain.state is State.PAUSED else f"wirt destroy {domain.name}"
        raise IllegalState(f"domain {domain.name} is {domain.state}, not {able}", hint=hint)
    return domain

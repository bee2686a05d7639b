"""``agent`` and ``set-time``: what a guest's own agent tells, and the host's time for it. Answered at once, and
with nothing to undo."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.domain import Domain
from wirt.model.errors import HypervisorSilent, IllegalState, Unavailable
from wirt.model.lifecycle import State
from wirt.operations.environment import Environment
from wirt.operations.running import running
from wirt.ports.guest_agent import AgentInfo


@dataclass(frozen=True, slots=True)
class Asked:
    """``info`` is what the agent tells; ``None`` if none answers, and then ``why`` says why not."""

    domain: Domain
    info: AgentInfo | None
    why: str = ""


async def ask(environment: Environment, ref: str) -> Asked:
    domain = _up(environment, ref)
    try:
        return Asked(domain, await environment.hypervisor.agents.info(domain.uuid))
    except (Unavailable, HypervisorSilent) as error:
        return Asked(domain, None, str(error))


async def set_time(environment: Environment, ref: str) -> float:
    """Set the guest's clock to the host's; the time that it was set to, in seconds since the epoch."""
    domain = _up(environment, ref)
    now = environment.clock.now()
    await environment.hypervisor.agents.set_time(domain.uuid, now)
    return now


def _up(environment: Environment, ref: str) -> Domain:
    domain = running(environment.domains.find(ref))
    if domain.state is not State.RUNNING:
        hint = f"wirt unpause {domain.name}" if domain.state is State.PAUSED else None
        raise IllegalState(f"domain {domain.name} is {domain.state}, and its agent can't answer", hint=hint)
    return domain

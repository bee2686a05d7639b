"""The guest agents' port on QEMU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from wirt.hypervisors.qemu import agent_answers
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, IllegalState, Unavailable
from wirt.model.lifecycle import State
from wirt.model.vcpus import GuestVcpu
from wirt.ports.guest_agent import LISTS_VCPUS, SETS_VCPUS, AgentInfo

PING_S = 3.0
VCPUS_S = 20.0
"""A busy guest takes its time to bring a CPU up."""
NANOSECONDS = 1_000_000_000
INSTALL = "install and start qemu-guest-agent in the guest"

T = TypeVar("T")


class Agents:
    """``find`` gives a domain's run, or raises ``IllegalState``."""

    def __init__(self, find: Callable[[UUID], Run]) -> None:
        self._find = find

    async def available(self, domain: UUID) -> bool:
        run = self._find(domain)
        if run.observed.state is not State.RUNNING or not await _opened(run):
            return False
        try:
            await run.agent.ask("guest-ping", deadline_s=PING_S)
        except HypervisorError:
            return False
        return True

    async def info(self, domain: UUID) -> AgentInfo:
        run = await self._reach(domain)
        info = await _ask(run, "guest-info", agent_answers.info)
        if "guest-get-osinfo" in info.commands:
            system, kernel = await _ask(run, "guest-get-osinfo", agent_answers.system)
            info = replace(info, system=system, kernel=kernel)
        if "guest-network-get-interfaces" in info.commands:
            interfaces = await _ask(run, "guest-network-get-interfaces", agent_answers.interfaces)
            info = replace(info, interfaces=interfaces)
        return info

    async def freeze(self, domain: UUID) -> int | None:
        run = self._running(domain)
        return await run.freezer.freeze() if await _opened(run) else None

    async def thaw(self, domain: UUID) -> int:
        return await (await self._reach(domain)).freezer.thaw()

    async def time(self, domain: UUID) -> float:
        return await _ask(await self._reach(domain), "guest-get-time", agent_answers.time_s)

    async def set_time(self, domain: UUID, seconds: float) -> None:
        run = await self._reach(domain)
        await run.agent.ask("guest-set-time", {"time": round(seconds * NANOSECONDS)})

    async def shutdown(self, domain: UUID) -> None:
        run = await self._reach(domain)
        await run.agent.tell("guest-shutdown", {"mode": "powerdown"})

    async def vcpus(self, domain: UUID) -> tuple[GuestVcpu, ...]:
        return await _ask(await self._reach(domain), LISTS_VCPUS, agent_answers.vcpus)

    async def set_vcpus(self, domain: UUID, online: Mapping[int, bool]) -> None:
        run = await self._reach(domain)
        wanted = [{"logical-id": number, "online": on} for number, on in sorted(online.items())]
        await run.agent.ask(SETS_VCPUS, {"vcpus": wanted}, deadline_s=VCPUS_S)

    def _running(self, domain: UUID) -> Run:
        run = self._find(domain)
        if run.observed.state is not State.RUNNING:
            raise IllegalState(
                f"{run.name} is {run.observed.state}, and only in a guest that runs an agent answers"
            )
        run.agent.name = run.name
        return run

    async def _reach(self, domain: UUID) -> Run:
        run = self._running(domain)
        if not run.agent.has_port:
            raise Unavailable(
                f"{run.name} has no port for a guest agent",
                hint="leave guest_agent = 0 out of its configuration and start it anew",
            )
        if not await _opened(run):
            raise Unavailable(f"no guest agent runs in {run.name}", hint=INSTALL)
        return run


async def _opened(run: Run) -> bool:
    """Whether something in the guest has its port open, as QEMU knows without asking the guest."""
    if not run.agent.has_port:
        return False
    ports = await run.monitor.execute("query-chardev")
    return any(port.get("label") == "agent" and port.get("frontend-open") is True for port in ports)


async def _ask(run: Run, command: str, understand: Callable[[Any], T]) -> T:
    answer = await run.agent.ask(command)
    try:
        return understand(answer)
    except Malformed as error:
        raise HypervisorError(f"{run.name}: its guest agent gave {error} to {command}") from error

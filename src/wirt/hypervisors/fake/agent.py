"""A fake guest's agent, and the port to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.hypervisors.fake.faults import Verb
from wirt.model.errors import HypervisorError, IllegalState, Unavailable
from wirt.model.lifecycle import State
from wirt.model.vcpus import GuestVcpu
from wirt.ports.clock import Clock
from wirt.ports.guest_agent import HELD_S, LISTS_VCPUS, SETS_VCPUS, AgentInfo

if TYPE_CHECKING:
    from wirt.hypervisors.fake.guest import FakeGuest

COMMANDS = frozenset(
    (
        "guest-ping",
        "guest-info",
        "guest-fsfreeze-freeze",
        "guest-fsfreeze-thaw",
        "guest-set-time",
        "guest-get-time",
        "guest-shutdown",
        LISTS_VCPUS,
        SETS_VCPUS,
    )
)


class FakeAgent:
    """``file_systems``: as many as it freezes. ``info`` is what it tells of itself, ``time_s`` the time that it
    was last told."""

    __slots__ = ("_clock", "_frozen_at", "file_systems", "info", "time_s")

    def __init__(self, clock: Clock) -> None:
        self.file_systems = 0
        self.info = AgentInfo("1.0.0", COMMANDS, "a fake guest")
        self.time_s: float | None = None
        self._clock = clock
        self._frozen_at: float | None = None

    @property
    def now_s(self) -> float:
        return self._clock.now() if self.time_s is None else self.time_s

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None and self._clock.monotonic() - self._frozen_at < HELD_S

    def freeze(self) -> int:
        self._frozen_at = self._clock.monotonic()
        return self.file_systems

    def thaw(self) -> int:
        held = self.file_systems if self.frozen else 0
        self._frozen_at = None
        return held


Reach = Callable[[Verb, UUID], AbstractAsyncContextManager["FakeGuest"]]


class FakeAgents:
    """``reach`` is the driver's way to a guest, with whatever was put in it."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def available(self, domain: UUID) -> bool:
        async with self._reach(Verb.AGENT, domain) as guest:
            return guest.observed.state is State.RUNNING and guest.agent is not None

    async def info(self, domain: UUID) -> AgentInfo:
        async with self._reach(Verb.AGENT, domain) as guest:
            return _agent(guest).info

    async def freeze(self, domain: UUID) -> int | None:
        async with self._reach(Verb.AGENT, domain) as guest:
            _check_runs(guest)
            return None if guest.agent is None else guest.agent.freeze()

    async def thaw(self, domain: UUID) -> int:
        async with self._reach(Verb.AGENT, domain) as guest:
            return _agent(guest).thaw()

    async def time(self, domain: UUID) -> float:
        async with self._reach(Verb.AGENT, domain) as guest:
            return _agent(guest).now_s

    async def set_time(self, domain: UUID, seconds: float) -> None:
        async with self._reach(Verb.AGENT, domain) as guest:
            _agent(guest).time_s = seconds

    async def shutdown(self, domain: UUID) -> None:
        async with self._reach(Verb.AGENT, domain) as guest:
            _agent(guest)
            guest.power_off()

    async def vcpus(self, domain: UUID) -> tuple[GuestVcpu, ...]:
        async with self._reach(Verb.AGENT, domain) as guest:
            _agent(guest)
            return tuple(GuestVcpu(each, each not in guest.unused, fixed=each == 0) for each in range(guest.vcpus))

    async def set_vcpus(self, domain: UUID, online: Mapping[int, bool]) -> None:
        async with self._reach(Verb.SET_VCPUS, domain) as guest:
            _agent(guest)
            if not all(0 < each < guest.vcpus for each in online):
                raise HypervisorError(f"{guest.name}: its guest agent refused {SETS_VCPUS}: there is no such vCPU")
            guest.switch_vcpus(online)


def _check_runs(guest: FakeGuest) -> None:
    if guest.observed.state is not State.RUNNING:
        raise IllegalState(
            f"{guest.name} is {guest.observed.state}, and only in a guest that runs an agent answers"
        )


def _agent(guest: FakeGuest) -> FakeAgent:
    _check_runs(guest)
    if guest.agent is None:
        raise Unavailable(f"no guest agent runs in {guest.name}", hint="let its script have one")
    return guest.agent

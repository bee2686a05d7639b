"""The balloon of a fake guest, which gives and takes at once unless a script has it do otherwise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.hypervisors.fake.faults import Verb
from wirt.plan.launch import LaunchPlan
from wirt.ports.balloons import Balloon

if TYPE_CHECKING:
    from wirt.hypervisors.fake.guest import FakeGuest

Reach = Callable[[Verb, UUID], AbstractAsyncContextManager["FakeGuest"]]


@dataclass(slots=True)
class FakeBalloon:
    """In MiB: ``size`` was it started with, ``hotplug`` can be plugged in beyond. ``gives``: it does what it is
    asked. ``used`` is what it tells that it uses, if it does."""

    size: int
    target: int
    driver: bool = True
    gives: bool = True
    used: int | None = 0
    actual: int = 0
    hotplug: int = 0
    plugs: bool = True

    @classmethod
    def of(cls, plan: LaunchPlan) -> FakeBalloon:
        start = plan.memory_mib if plan.start_mib is None else plan.start_mib
        holds = (plan.memory_mib if plan.plugged_mib else start) + plan.plugged_mib
        return cls(plan.memory_mib, holds, actual=holds, hotplug=plan.hotplug_mib)

    def ask(self, mib: int) -> None:
        self.target = min(mib, self.size + self.hotplug)
        if self.driver and self.gives:
            self.actual = self.target if self.plugs else min(self.target, self.size)

    def seen(self) -> Balloon:
        available = None if self.used is None else max(0, self.actual - self.used)
        most = max(self.size, self.actual, self.target)
        plugs = self.plugs and self.hotplug > 0
        return Balloon(self.actual, most, self.driver, available, self.size + self.hotplug - most, plugs)


class FakeBalloons:
    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def look(self, domain: UUID) -> Balloon:
        async with self._reach(Verb.LOOK_BALLOON, domain) as guest:
            return guest.balloon.seen()

    async def ask(self, domain: UUID, mib: int) -> None:
        async with self._reach(Verb.BALLOON, domain) as guest:
            guest.balloon.ask(mib)

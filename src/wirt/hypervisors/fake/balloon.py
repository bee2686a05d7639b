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
    """In MiB. ``gives``: it does what it is asked. ``used`` is what it tells that it uses, if it does."""

    most: int
    target: int
    driver: bool = True
    gives: bool = True
    used: int | None = 0
    actual: int = 0

    @classmethod
    def of(cls, plan: LaunchPlan) -> FakeBalloon:
        start = plan.memory_mib if plan.start_mib is None else plan.start_mib
        return cls(plan.memory_mib, start, actual=start)

    def ask(self, mib: int) -> None:
        self.target = min(mib, self.most)
        if self.driver and self.gives:
            self.actual = self.target

    def seen(self) -> Balloon:
        available = None if self.used is None else max(0, self.actual - self.used)
        return Balloon(self.actual, self.most, self.driver, available)


class FakeBalloons:
    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def look(self, domain: UUID) -> Balloon:
        async with self._reach(Verb.LOOK_BALLOON, domain) as guest:
            return guest.balloon.seen()

    async def ask(self, domain: UUID, mib: int) -> None:
        async with self._reach(Verb.BALLOON, domain) as guest:
            guest.balloon.ask(mib)

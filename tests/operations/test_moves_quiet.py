"""While a guest stands still nothing is done that can wait, nor while it finds its feet on the other host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from tests.operations.test_moves import move, settled, two_hosts

from wirt.hypervisors.fake.migrations import FakeLiveMigrations
from wirt.model.job import JobState
from wirt.operations.receipts import receipts
from wirt.operations.receive import BREATH_S
from wirt.ports.migration import Phase, Report, Travelled


async def test_nothing_is_asked_of_a_guest_that_has_just_gone_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = await two_hosts(tmp_path)
    uuid = hosts.a.environment.domains.find("web").uuid
    asked: list[float] = []
    settle, resume = FakeLiveMigrations.settle, hosts.b.environment.hypervisor.resume

    async def noted(live: FakeLiveMigrations, domain: UUID) -> None:
        asked.append(hosts.clock.monotonic())
        await settle(live, domain)

    async def resumed(domain: UUID) -> None:
        await resume(domain)
        asked.append(hosts.clock.monotonic())

    monkeypatch.setattr(FakeLiveMigrations, "settle", noted)
    monkeypatch.setattr(hosts.b.environment.hypervisor, "resume", resumed)
    assert await move(hosts) is JobState.DONE
    went_on, settled_at = asked
    assert settled_at - went_on >= BREATH_S
    assert hosts.runs(uuid) == ["b"]
    (receipt,) = await receipts(hosts.b.environment)
    assert receipt.clock_step_s is not None
    assert await settled(hosts) == "b"


async def test_a_guest_does_not_stand_still_until_its_hypervisor_has_counted_for_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = await two_hosts(tmp_path)
    uuid = hosts.a.environment.domains.find("web").uuid
    finish = FakeLiveMigrations.finish

    async def finished(live: FakeLiveMigrations, domain: UUID) -> Travelled:
        return replace(await finish(live, domain), downtime_ms=None)

    async def delivered(live: FakeLiveMigrations, domain: UUID, report: Report) -> Travelled:
        assert hosts.runs(uuid) == ["b"]
        return Travelled(Phase.COMPLETED, downtime_ms=7)

    monkeypatch.setattr(FakeLiveMigrations, "finish", finished)
    monkeypatch.setattr(FakeLiveMigrations, "delivered", delivered)
    assert await move(hosts) is JobState.DONE
    (receipt,) = await receipts(hosts.a.environment)
    assert receipt.downtime_s == 0.007
    assert await settled(hosts) == "b"

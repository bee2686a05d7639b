"""What is expected of a move, before it sets out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from tests.operations.test_moves import two_hosts

from wirt.model.units import MIB
from wirt.operations import given_memory
from wirt.operations.migrate import MoveWish, plan_move
from wirt.plan.migration import OVERHEAD


async def test_a_forecast_is_of_what_a_guest_can_have_written_to(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    environment = hosts.a.environment
    domain = environment.domains.find("web")
    assert domain.incarnation is not None

    async def forecast_mib() -> int:
        return round((await plan_move(environment, "web", MoveWish("b"))).forecast.sent_bytes / OVERHEAD / MIB)

    async def taken(mib: int) -> None:
        sample = SimpleNamespace(count=SimpleNamespace(resident_bytes=mib * MIB))
        environment.accounting = SimpleNamespace(last=lambda _: sample)  # type: ignore[assignment]

    assert await forecast_mib() == 128, "nobody has counted yet"
    await taken(40)
    assert await forecast_mib() == 40
    await taken(300)
    assert await forecast_mib() == 128, "some of it is its hypervisor's"
    await taken(40)
    notes = {**domain.incarnation.notes, given_memory.HUGE: "2048"}
    await environment.domains.reconfigure(domain.uuid, config=domain.config, text=domain.text, notes=notes)
    assert await forecast_mib() == 128, "huge pages are not counted"

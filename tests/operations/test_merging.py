"""KSM is on where ``wirt.toml`` says so, off again where a wirtd turned it on, and nobody else's is touched."""

from __future__ import annotations

from dataclasses import replace

from wirt.operations.memory_about import about
from wirt.operations.reconcile.merging import merging_key, settle_merging

from .kit import SimulatedHost
from .scheduling_kit import host

__all__ = ["host"]


def wish(host: SimulatedHost, **settings: object) -> None:
    host.environment.settings = replace(host.environment.settings, **settings)  # type: ignore[arg-type]


def is_on(host: SimulatedHost) -> bool:
    now = host.host_memory.merging()
    return now is not None and now.on


async def test_it_is_off_unasked_and_on_as_it_is_asked(host: SimulatedHost) -> None:
    await settle_merging(host.environment)
    assert not is_on(host) and "KSM is off for guests" in about(host.environment)
    wish(host, ksm=True, ksm_pages=777, ksm_sleep_ms=3)
    await settle_merging(host.environment)
    assert is_on(host) and "777 pages, then 3 ms" in about(host.environment)
    assert "can find out what others have" in about(host.environment)


async def test_the_next_daemon_turns_off_what_this_one_turned_on(host: SimulatedHost) -> None:
    wish(host, ksm=True)
    await settle_merging(host.environment)
    wish(host, ksm=False)
    await settle_merging(host.environment)
    assert not is_on(host)
    assert await host.store.get(merging_key("host1")) is None


async def test_what_somebody_else_has_on_stays_on(host: SimulatedHost) -> None:
    host.host_memory.merge(on=True)
    for ksm in (True, False):
        wish(host, ksm=ksm)
        await settle_merging(host.environment)
    assert is_on(host) and "somebody has it on" in about(host.environment)


async def test_a_kernel_that_refuses_is_told_of_and_keeps_nobody_from_running(host: SimulatedHost) -> None:
    host.host_memory.refused = "Permission denied"
    wish(host, ksm=True)
    await settle_merging(host.environment)
    assert "KSM is wanted, and the kernel's is off" in about(host.environment)
    host.host_memory.ksm = None
    await settle_merging(host.environment)
    assert "no KSM" in about(host.environment)
    assert (await host.create()).error is None

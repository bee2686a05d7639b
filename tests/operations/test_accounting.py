"""A pass covers every domain, forgets those that ended, and asks hypervisors in turn."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from wirt.api import convert_stats
from wirt.hypervisors.fake import Refuse, Verb
from wirt.model.accounting import DiskCount
from wirt.model.units import MIB
from wirt.operations.accounting import EVERY_S, KEPT
from wirt.plan.accounting import rates, same_run
from wirt.ports.network import VifStatistics

from .kit import SimulatedHost
from .scheduling_kit import host

__all__ = ["host"]


async def begun(host: SimulatedHost, name: str) -> UUID:
    job = await host.create("vcpus = 2", name=name)
    assert job.error is None
    domain = host.environment.domains.named(name)
    assert domain is not None
    return domain.uuid


async def passes(host: SimulatedHost, count: int) -> None:
    taking = host.environment.accounting
    for _ in range(count):
        taking.take()
        await taking.ask()
        await host.clock.advance(EVERY_S)


async def test_a_guest_that_spins_is_seen_to(host: SimulatedHost) -> None:
    uuid = await begun(host, "busy")
    guest = host.world.guest(uuid)
    await passes(host, 2)
    guest.load = 0.5
    host.network.traffic = {tap: VifStatistics(0, 0, 0, 5000, 5, 0) for tap in host.network.taps}
    await passes(host, 1)
    host.environment.accounting.take()
    samples = host.environment.accounting.of(uuid)
    found = rates(samples)
    assert found is not None and found.cpu == pytest.approx(1.0)
    assert [round(vcpu.used, 6) for vcpu in found.vcpus] == [0.5, 0.5]
    assert samples[-1].cards[0].tx_bytes == 5000 and samples[-1].count.told is not None
    assert [vcpu.cpu for vcpu in found.vcpus] == [0, 1]


async def test_a_minute_is_kept(host: SimulatedHost) -> None:
    uuid, taking = await begun(host, "one"), host.environment.accounting
    await passes(host, KEPT + 20)
    assert len(taking.of(uuid)) == KEPT == len(taking.host)


async def test_what_is_kept_of_a_domain_goes_with_its_run(host: SimulatedHost) -> None:
    uuid = await begun(host, "guest")
    await passes(host, 3)
    assert len(host.environment.accounting.of(uuid)) == 3
    host.world.guest(uuid).vanish()
    await host.settle()
    await passes(host, 1)
    assert host.environment.accounting.of(uuid) == ()


async def test_a_reboot_into_another_run_starts_anew(host: SimulatedHost) -> None:
    uuid = await begun(host, "guest")
    await passes(host, 3)
    first = host.environment.accounting.of(uuid)[-1].count.run
    host.world.guest(uuid).reboot()
    await host.settle()
    await passes(host, 2)
    samples = host.environment.accounting.of(uuid)
    assert same_run(samples) == samples[-2:] and {sample.count.run for sample in samples[:-2]} <= {first}


async def test_all_are_asked_in_turn_and_new_ones_first(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuids = [await begun(host, f"guest{number}") for number in range(5)]
    taking, asked = host.environment.accounting, []
    counters = host.environment.counters
    assert counters is not None
    ask = counters.ask

    async def noted(domains: list[UUID]) -> None:
        asked.append(set(domains))
        await ask(domains)

    monkeypatch.setattr(counters, "ask", noted)
    for _ in range(5):
        taking.take()
        await taking.ask(2)
    assert all(len(turn) == 2 for turn in asked)
    assert set.union(*asked[:3]) == set(uuids) == set.union(*asked[2:])
    new = await begun(host, "new")
    taking.take()
    await taking.ask(2)
    assert new in asked[-1]


async def test_a_hypervisor_that_refuses_keeps_what_it_told_and_holds_up_no_other(host: SimulatedHost) -> None:
    one, other = await begun(host, "one"), await begun(host, "other")
    host.world.guest(one).counted.disks = {"xvda": DiskCount("xvda", 1, 1, 1, 1, 1, 1)}
    await passes(host, 2)
    host.environment.accounting.take()
    told = host.environment.accounting.of(one)[-1].count.told
    host.world.fail(Verb.COUNTERS, Refuse(), domain=one, times=3)
    await passes(host, 3)
    assert host.environment.accounting.of(one)[-1].count.told == told
    newer = host.environment.accounting.of(other)[-1].count.told
    assert newer is not None and told is not None and newer.at_s > told.at_s


async def test_a_pass_that_fails_is_followed_by_the_next(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = await begun(host, "guest")
    assert host.environment.counters is not None
    read, failures = host.environment.counters.read, [OSError("no more files")]

    def sometimes() -> object:
        if failures:
            raise failures.pop()
        return read()

    monkeypatch.setattr(host.environment.counters, "read", sometimes)
    host.environment.accounting.start()
    for _ in range(4):
        await asyncio.sleep(0)
        await host.clock.advance(EVERY_S)
    assert not failures and len(host.environment.accounting.of(uuid)) >= 2
    await host.environment.accounting.stop()


async def test_the_api_tells_counters_and_rates_and_what_it_does_not_know(host: SimulatedHost) -> None:
    uuid = await begun(host, "web")
    environment = host.environment
    domain = environment.domains.get(uuid)
    assert domain is not None
    new = convert_stats.domain(environment, domain, 1.0, 0)
    assert not new.sampled and new.cpu_percent is None and new.vcpus == [] and new.memory_bytes == 128 * MIB
    guest = host.world.guest(uuid)
    guest.load, guest.counted.emulator_s, guest.counted.waited_s = 1.0, 0.5, 3.0
    guest.counted.balloon_bytes = 100 * MIB
    await passes(host, 2)
    guest.counted.waited_s = 3.25
    environment.accounting.take()
    found = convert_stats.domain(environment, domain, 1.0, 60)
    assert (found.sampled, found.cpu_percent, found.steal_percent, found.steal_s) == (True, 200.0, 50.0, 6.5)
    assert (found.memory_bytes, found.max_memory_bytes, found.emulator_time_s) == (100 * MIB, 128 * MIB, 0.5)
    assert [(vcpu.index, vcpu.cpu, vcpu.cpu_percent) for vcpu in found.vcpus] == [(0, 0, 100.0), (1, 1, 100.0)]
    assert [net.index for net in found.nets] == [0] and found.nets[0].tx_bytes_per_s == 0
    assert found.run == environment.accounting.of(uuid)[-1].count.run != new.run
    assert found.history is not None and found.history.cpu_percent == [200.0, 200.0]
    assert found.history.age_s == [1.0, 0.0]


async def test_the_host_has_what_its_guests_have_not(host: SimulatedHost) -> None:
    uuid = await begun(host, "web")
    host.world.guest(uuid).load = 0.25
    await passes(host, 1)
    host.machine.cpu_time_s += 1.5
    environment = host.environment
    environment.accounting.take()
    found = convert_stats.all_of(environment, list(environment.domains), True, 1.0, 0)
    zero, web = found.domains
    assert (zero.name, zero.domid, zero.cpu_percent, web.cpu_percent) == ("Domain-0", 0, 100.0, 50.0)
    assert zero.memory_bytes + web.memory_bytes == found.host.memory_bytes
    assert found.host.cpu_percent == 150.0 and found.time == pytest.approx(environment.clock.now())

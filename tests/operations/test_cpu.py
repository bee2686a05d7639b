"""What CPU a guest has goes with it, and is known of all hosts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost
from tests.operations.moves_kit import TwoHosts, until

from wirt.hypervisors.fake.world import CPU, FACTS
from wirt.model.cpu import CpuOffer
from wirt.model.errors import IllegalState
from wirt.model.storage import VolumeRef
from wirt.operations import snapshots_verbs
from wirt.operations.cpu import find_baseline, offered
from wirt.operations.create import Source, create, define
from wirt.operations.migrate import MoveWish, migrate, plan_move
from wirt.operations.refresh import refresh
from wirt.operations.save import SaveWish, save
from wirt.operations.save_restore import RestoreWish, restore
from wirt.operations.start import start
from wirt.operations.volumes import create as create_volume
from wirt.plan.host import Accelerator
from wirt.ports.hypervisor import given_cpu

CONFIG = 'name = "web"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 128\n'
LESS = dataclasses.replace(CPU, features=CPU.features - {"avx"})
MORE = dataclasses.replace(CPU, features=CPU.features | {"fma"})


async def two_hosts(directory: Path, there: CpuOffer | None = CPU, more: str = "") -> TwoHosts:
    hosts = TwoHosts(directory)
    hosts.b.world.facts = dataclasses.replace(FACTS, cpu=there)
    await hosts.boot("a")
    await hosts.boot("b")
    await hosts.a.engine.wait((await create(hosts.a.environment, Source(CONFIG + more, "w.cfg", "/c"))).id)
    return hosts


def has(hosts: TwoHosts, name: str) -> tuple[str, frozenset[str]]:
    run = hosts.hosts[name].environment.domains.find("web").incarnation
    assert run is not None
    given = given_cpu(run, "?")
    return given.model, given.features


async def move(hosts: TwoHosts, source: str, target: str) -> None:
    job = (await migrate(hosts.hosts[source].environment, "web", MoveWish(target))).id
    engine = hosts.hosts[source].engine
    await until(hosts, lambda: engine.get(job).state.finished)
    assert engine.get(job).error is None
    await until(hosts, hosts.quiet)


async def test_a_feature_that_is_missing_there_keeps_a_guest_here(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, LESS)
    remarks = (await plan_move(hosts.a.environment, "web", MoveWish("b"))).remarks
    assert [(each.blocks, "lacks: avx" in each.what) for each in remarks] == [(True, True)]
    with pytest.raises(IllegalState, match="avx") as refused:
        await migrate(hosts.a.environment, "web", MoveWish("b"))
    assert "wirt cpu baseline" in str(refused.value.hint)


async def test_with_the_baseline_it_moves(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, LESS)
    found = await find_baseline(hosts.a.environment, ["b"])
    assert [(each.host, each.features) for each in found.baseline.held_back] == [("b", ("avx",))]
    hosts = await two_hosts(tmp_path / "again", LESS, f'cpu_model = "{found.baseline.choice}"\n')
    before = has(hosts, "a")
    assert before == (str(found.baseline.choice), found.baseline.features)
    await move(hosts, "a", "b")
    assert has(hosts, "b") == before
    await move(hosts, "b", "a")
    assert has(hosts, "a") == before


async def test_a_guest_that_has_moved_to_a_larger_host_may_go_back(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, MORE)
    before = has(hosts, "a")
    await move(hosts, "a", "b")
    assert has(hosts, "b") == before
    guest = hosts.b.world.guest(hosts.b.environment.domains.find("web").uuid)
    guest.memory = b"more"
    await move(hosts, "b", "a")
    assert has(hosts, "a") == before


async def test_a_refresh_keeps_the_cpu_that_it_came_with(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, MORE)
    before = has(hosts, "a")
    await move(hosts, "a", "b")
    job = (await refresh(hosts.b.environment, "web")).id
    await until(hosts, lambda: hosts.b.engine.get(job).state.finished)
    assert hosts.b.engine.get(job).error is None
    assert has(hosts, "b") == before


async def test_a_host_that_does_not_know_its_cpus_is_a_remark(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, None)
    remarks = (await plan_move(hosts.a.environment, "web", MoveWish("b"))).remarks
    assert [each.blocks for each in remarks] == [False] and "not known" in remarks[0].what


async def test_what_the_administrator_chose_is_what_domains_get_that_say_nothing(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path)
    await hosts.boot("a")
    environment = hosts.a.environment
    environment.settings = dataclasses.replace(environment.settings, cpu_model="Larger")
    await hosts.a.engine.wait((await create(environment, Source(CONFIG, "w.cfg", "/c"))).id)
    assert has(hosts, "a")[0] == "Larger"
    assert (await offered(environment)).default == "Larger"


async def test_hosts_that_can_not_be_asked_are_named(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.links.cut("a", "b")
    found = await find_baseline(hosts.a.environment, ["b", "nowhere"])
    assert [host for host, _ in found.not_asked] == ["b", "nowhere"]
    assert all(reason for _, reason in found.not_asked)
    assert found.baseline.hosts == ("a",)


async def test_no_baseline_helps_between_accelerators(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.b.world.facts = dataclasses.replace(FACTS, accelerator=Accelerator.KVM)
    with pytest.raises(IllegalState, match="b has kvm"):
        await find_baseline(hosts.a.environment, ["b"])


async def one_host(directory: Path, there: CpuOffer = CPU) -> SimulatedHost:
    host = SimulatedHost(directory)
    host.world.facts = dataclasses.replace(FACTS, cpu=there)
    await host.boot()
    await host.engine.wait((await create_volume(host.environment, VolumeRef("default", "web"), 1 << 20)).id)
    text = CONFIG + 'disk = ["default/web,,xvda,rw"]\ncpu_model = "max"\n'
    await define(host.environment, Source(text, "w.cfg", "/c"))
    await host.engine.wait((await start(host.environment, "web")).id)
    return host


def cpu_of(host: SimulatedHost) -> frozenset[str]:
    run = host.environment.domains.find("web").incarnation
    assert run is not None
    return given_cpu(run, "?").features


@pytest.mark.parametrize("now", [MORE, LESS], ids=["more", "less"])
async def test_a_saved_guest_finds_the_cpu_that_it_had_or_stays_saved(tmp_path: Path, now: CpuOffer) -> None:
    host = await one_host(tmp_path)
    had, file = cpu_of(host), str(tmp_path / "web.save")
    assert (await host.engine.wait((await save(host.environment, "web", SaveWish(file))).id)).error is None
    host.world.facts = dataclasses.replace(FACTS, cpu=now)
    if now is LESS:
        with pytest.raises(IllegalState, match="avx"):
            await restore(host.environment, RestoreWish(file))
        return
    assert (await host.engine.wait((await restore(host.environment, RestoreWish(file))).id)).error is None
    assert cpu_of(host) == had


@pytest.mark.parametrize("now", [MORE, LESS], ids=["more", "less"])
async def test_a_guest_goes_back_to_a_snapshot_with_the_cpu_of_then_or_not_at_all(
    tmp_path: Path, now: CpuOffer
) -> None:
    host = await one_host(tmp_path)
    had = cpu_of(host)
    taken = await snapshots_verbs.create(host.environment, "web", "then", memory=True)
    assert (await host.engine.wait(taken.id)).error is None
    host.world.facts = dataclasses.replace(FACTS, cpu=now)
    if now is LESS:
        with pytest.raises(IllegalState, match="avx"):
            await snapshots_verbs.revert(host.environment, "web", "then", force=True)
        assert host.environment.domains.find("web").incarnation is not None
        return
    back = await snapshots_verbs.revert(host.environment, "web", "then", force=True)
    assert (await host.engine.wait(back.id)).error is None
    assert cpu_of(host) == had

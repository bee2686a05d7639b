"""A domain that is off goes to another host, or stays; one that ran runs again, on exactly one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.operations.kit import Strike, crash, fail
from tests.operations.moves_kit import Blow, TwoHosts, cancelled, struck, until, until_later

from wirt.hypervisors.fake.world import FACTS
from wirt.model.errors import IllegalState, Shortage, Unavailable, WirtError
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.operations.create import Source, create, define
from wirt.operations.migrate import MoveWish, migrate, plan_move, take_back
from wirt.operations.migrate_offline import MIGRATE_OFFLINE
from wirt.operations.power import pause
from wirt.operations.receipts import receipts
from wirt.operations.receive_offline import RECEIVE_OFFLINE
from wirt.operations.start import start
from wirt.operations.volumes import create as create_volume
from wirt.peers.fake import Kind
from wirt.ports.memory_blocks import MemoryDisk

CONFIG = 'name = "web"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 128\nvif = [""]\n'
DISK = 'disk = ["default/web,,xvda,rw"]\n'
SHUTDOWN_S = 20.0
CONTENT = b"what is on it"


async def two_hosts(directory: Path, *, shared: bool = True, ran: bool = True, more: str = "") -> TwoHosts:
    hosts = TwoHosts(directory, shared=shared)
    await hosts.boot("a")
    await hosts.boot("b")
    environment = hosts.a.environment
    await hosts.a.engine.wait((await create_volume(environment, VolumeRef("default", "web"), 1 << 20)).id)
    source = Source(CONFIG + DISK + more, "web.cfg", "/cfg")
    if ran:
        await hosts.a.engine.wait((await create(environment, source)).id)
    else:
        await define(environment, source)
    return hosts


async def begin(hosts: TwoHosts, *, with_storage: bool = False) -> Job:
    wish = MoveWish("b", offline=True, timeout_s=SHUTDOWN_S, with_storage=with_storage)
    return await migrate(hosts.a.environment, "web", wish)


async def move(hosts: TwoHosts, *, with_storage: bool = False) -> Job:
    job = await begin(hosts, with_storage=with_storage)
    await until(hosts, lambda: hosts.a.engine.get(job.id).state.finished)
    await until(hosts, hosts.quiet)
    return hosts.a.engine.get(job.id)


async def settled(hosts: TwoHosts, *, ran: bool) -> str:
    """Until both hosts are at rest; the host that has the domain. Exactly one has, and it runs if it ran."""
    await until(hosts, hosts.quiet)
    await until_later(hosts, 10.0)
    for host in hosts.hosts.values():
        await host.settle()
        await host.assert_consistent()
    where = [name for name, host in hosts.hosts.items() if host.environment.domains.named("web")]
    assert len(where) == 1, where
    domain = hosts.hosts[where[0]].environment.domains.find("web")
    if ran:
        assert domain.state is State.RUNNING
        assert hosts.runs(domain.uuid) == where
        assert domain.incarnation is not None and "moving" not in domain.incarnation.notes
    else:
        assert domain.incarnation is None and hosts.runs(domain.uuid) == []
    assert not any(medium.proofs for host in hosts.hosts.values() for medium in host.storage.media.values())
    return where[0]


@pytest.mark.parametrize("ran", [True, False], ids=["ran", "off"])
async def test_it_is_there_as_it_was_and_both_have_the_receipt(tmp_path: Path, ran: bool) -> None:
    hosts = await two_hosts(tmp_path, ran=ran)
    before = hosts.a.environment.domains.find("web")
    job = await move(hosts)
    assert (job.state, job.error) == (JobState.DONE, None)
    assert await settled(hosts, ran=ran) == "b"
    after = hosts.b.environment.domains.find("web")
    assert (after.uuid, after.text, after.persistent) == (before.uuid, before.text, before.persistent)
    assert (after.epoch, after.created_at) == (before.epoch + 1, before.created_at)
    assert after.wanted == before.wanted
    for host in hosts.hosts.values():
        (receipt,) = await receipts(host.environment)
        assert (receipt.way, receipt.outcome) == ("offline", "runs" if ran else "off")
        assert (receipt.blackout_s is not None) == ran


async def test_it_goes_back_again(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await move(hosts)
    job = await migrate(hosts.b.environment, "web", MoveWish("a", offline=True))
    await until(hosts, lambda: hosts.b.engine.get(job.id).state.finished)
    assert hosts.b.engine.get(job.id).error is None
    assert await settled(hosts, ran=True) == "a"


async def test_without_the_word_a_domain_that_is_off_stays(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, ran=False)
    with pytest.raises(IllegalState, match="is off") as refused:
        await migrate(hosts.a.environment, "web", MoveWish("b"))
    assert "--offline" in str(refused.value.hint)


async def test_a_disk_that_the_other_host_has_not_keeps_it_here(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, shared=False)
    with pytest.raises(IllegalState, match="disk xvda"):
        await begin(hosts)
    assert await settled(hosts, ran=True) == "a"


async def volumes(hosts: TwoHosts, name: str) -> list[str]:
    pool = await hosts.hosts[name].environment.pools.open("default")
    return [volume.name for volume in await pool.volumes()]


async def written(hosts: TwoHosts) -> None:
    """Something is on the disk here, before anybody looks."""
    volume = await hosts.a.environment.pools.volume(VolumeRef("default", "web"))
    hosts.a.contents[volume.path] = MemoryDisk(volume.size)
    hosts.a.contents[volume.path].write(4096, CONTENT)


async def content_there(hosts: TwoHosts) -> bytes:
    volume = await hosts.b.environment.pools.volume(VolumeRef("default", "web"))
    return bytes(hosts.b.contents[volume.path].content[4096 : 4096 + len(CONTENT)])


@pytest.mark.parametrize("ran", [True, False], ids=["ran", "off"])
async def test_its_disks_come_along_and_are_gone_here(tmp_path: Path, ran: bool) -> None:
    hosts = await two_hosts(tmp_path, shared=False, ran=ran)
    await written(hosts)
    job = await move(hosts, with_storage=True)
    assert job.error is None
    assert await settled(hosts, ran=ran) == "b"
    assert await content_there(hosts) == CONTENT
    assert (await volumes(hosts, "a"), await volumes(hosts, "b")) == ([], ["web"])
    (receipt,) = await receipts(hosts.b.environment)
    assert receipt.disk_bytes == 1 << 20


async def test_disks_that_can_not_be_read_keep_it_here_and_nothing_is_left_there(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, shared=False)
    hosts.a.disk_server.failures.append(Unavailable("the disk can't be read"))
    job = await move(hosts, with_storage=True)
    assert "can't be read" in str(job.error)
    assert await settled(hosts, ran=True) == "a"
    assert (await volumes(hosts, "a"), await volumes(hosts, "b")) == (["web"], [])


async def test_disks_that_can_not_be_written_there_keep_it_here(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, shared=False, ran=False)
    hosts.b.disk_server.failures.append(Shortage("the pool is full"))
    job = await move(hosts, with_storage=True)
    assert job.state is JobState.FAILED
    assert await settled(hosts, ran=False) == "a"
    assert (await volumes(hosts, "a"), await volumes(hosts, "b")) == (["web"], [])


async def test_a_link_that_is_cut_keeps_it_here(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, shared=False)
    await hosts.crash("a")
    cut = Strike("migrate-offline", "disks", "before", lambda job: hosts.links.cut("a", "b"))
    await hosts.boot("a", cut)
    job = await begin(hosts, with_storage=True)
    await until(hosts, lambda: hosts.a.engine.get(job.id).state.finished)
    hosts.links.mend("a", "b")
    await until_later(hosts, 60.0)
    assert await settled(hosts, ran=True) == "a"
    assert (await volumes(hosts, "a"), await volumes(hosts, "b")) == (["web"], [])


async def test_a_paused_one_is_refused(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await pause(hosts.a.environment, "web")
    with pytest.raises(IllegalState, match="paused"):
        await begin(hosts)


async def test_another_cpu_does_not_matter_to_one_that_is_off(tmp_path: Path) -> None:
    import dataclasses

    from wirt.hypervisors.fake.world import CPU

    hosts = await two_hosts(tmp_path)
    less = dataclasses.replace(CPU, features=CPU.features - {"avx"})
    hosts.b.world.facts = dataclasses.replace(FACTS, cpu=less)
    remarks = (await plan_move(hosts.a.environment, "web", MoveWish("b"))).remarks
    assert any(remark.blocks for remark in remarks)
    assert (await move(hosts)).error is None
    assert await settled(hosts, ran=True) == "b"


async def test_a_guest_that_ignores_its_power_button_runs_on_here(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    guest = hosts.a.world.guest(hosts.a.environment.domains.find("web").uuid)
    guest.agent, guest.obeys_power_button = None, False
    job = await move(hosts)
    assert job.state is JobState.FAILED and "did not shut down within 20 s" in str(job.error)
    assert await settled(hosts, ran=True) == "a"


async def test_what_restarts_at_a_power_off_does_not_while_it_moves(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, more='on_poweroff = "restart"\n')
    assert (await move(hosts)).error is None
    assert await settled(hosts, ran=True) == "b"


async def test_one_that_can_not_be_started_there_is_there_and_off_and_that_is_an_error(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await hosts.crash("b")
    await hosts.boot("b", Strike("receive-offline", "launch", "before", fail))
    job = await move(hosts)
    assert job.state is JobState.FAILED and "does not run there" in str(job.error)
    await until_later(hosts, 5.0)
    domain = hosts.b.environment.domains.find("web")
    assert domain.incarnation is None and hosts.a.environment.domains.named("web") is None
    await hosts.b.engine.wait((await start(hosts.b.environment, "web")).id)
    assert await settled(hosts, ran=True) == "b"


SIDES = {"migrate-offline": ("a", MIGRATE_OFFLINE), "receive-offline": ("b", RECEIVE_OFFLINE)}
STEPS = [(kind, step.name) for kind, (_, operation) in SIDES.items() for step in operation.steps]


@pytest.mark.parametrize(("ran", "along"), [(True, True), (False, False)], ids=["ran-along", "off-shared"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [fail, crash], ids=["fail", "crash"])
@pytest.mark.parametrize(("kind", "step"), STEPS, ids=[f"{kind}-{step}" for kind, step in STEPS])
async def test_trouble_in_each_step_of_either_side(
    tmp_path: Path, kind: str, step: str, what: Callable[[Job], None], when: str, ran: bool, along: bool
) -> None:
    hosts, host = await two_hosts(tmp_path, shared=not along, ran=ran), SIDES[kind][0]
    await written(hosts)
    await struck(hosts, Blow(host, kind, step, when, what), lambda hosts: begin(hosts, with_storage=along))
    await until(hosts, hosts.quiet)
    await until_later(hosts, 10.0)
    started_there = kind == "receive-offline" and what is fail and step in ("disks", "plug", "launch", "resume")
    if ran and started_there and hosts.b.environment.domains.named("web") is not None:
        found = hosts.b.environment.domains.find("web")
        if found.incarnation is None:  # it failed to start, and that is told; it can be started by hand
            await hosts.b.engine.wait((await start(hosts.b.environment, "web")).id)
    where = await settled(hosts, ran=ran)
    if along:
        assert "web" in await volumes(hosts, where)
        assert where == "b" or await volumes(hosts, "b") == []
        assert where == "a" or await content_there(hosts) == CONTENT


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [step.name for step in MIGRATE_OFFLINE.steps])
async def test_a_move_that_is_cancelled_in_each_step(tmp_path: Path, step: str, when: str) -> None:
    hosts = await two_hosts(tmp_path)
    await cancelled(hosts, "migrate-offline", step, when, begin)
    where = await settled(hosts, ran=True)
    (job,) = [job for _, job in hosts.jobs() if job.kind == "migrate-offline"]
    early = MIGRATE_OFFLINE.steps[[each.name for each in MIGRATE_OFFLINE.steps].index(step)].interruptible
    assert (where, job.state) == (("a", JobState.CANCELLED) if early else ("b", JobState.DONE))


async def test_it_waits_for_the_other_hosts_word_and_can_be_taken_back(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.links.inject(Kind.CUT_BEFORE, path="leave")
    await begin(hosts)
    await until(hosts, lambda: any("stands still" in job.message for _, job in hosts.jobs()))
    assert hosts.runs(hosts.a.environment.domains.find("web").uuid) == []
    with pytest.raises(WirtError, match="under way"):
        await start(hosts.a.environment, "web")
    hosts.hosts["b"].world.lose_power()
    await take_back(hosts.a.environment, "web")
    await until(hosts, lambda: all(job.state.finished for job in hosts.a.engine.all()))
    await hosts.a.settle()
    assert hosts.runs(hosts.a.environment.domains.find("web").uuid) == ["a"]

"""A disk of a domain that is off, or is shut down for it, goes to another host as the chain that it is; so do the
files that the domain starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.operations import test_moves_offline as offline
from tests.operations.kit import crash, fail
from tests.operations.moves_kit import Blow, TwoHosts, cancelled, struck, troubled, until, until_later
from tests.operations.test_moves_layers import BASE, MIDDLE, WHOLE, content, pool_of, two_hosts, volumes, write

from wirt.model.errors import IllegalState
from wirt.model.job import Job, JobState
from wirt.model.storage import Capability, VolumeRef
from wirt.operations import incoming
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.migrate import MovePlan, MoveWish, migrate, plan_move
from wirt.operations.migrate_layers import disks_only
from wirt.operations.receipts import receipts
from wirt.operations.records import PREFIX
from wirt.operations.start import start
from wirt.ports.blocks import BLOCK
from wirt.ports.memory_blocks import MemoryDisk
from wirt.ports.storage import NewVolume
from wirt.ports.store import Delete

OWN, ZEROED = b"its own", bytes(8)
KERNEL = "/boot/vmlinuz"


async def hosts_with(directory: Path, *, ran: bool = True) -> TwoHosts:
    """On ``a`` a domain whose disk stands on two layers, and has something of its own, some of it zeroes."""
    hosts = await two_hosts(directory)
    if not ran:
        environment = hosts.a.environment
        text = environment.domains.find("web").text
        await hosts.a.engine.wait((await destroy(environment, "web")).id)
        await define(environment, Source(text, "web.cfg", "/cfg"))
    path = await path_on(hosts, "a")
    disk = hosts.a.contents[path] = MemoryDisk(1 << 20)
    disk.content[BLOCK : BLOCK + 5] = b"below"  # what it shows, and has not of its own
    disk.write(2 * BLOCK, OWN)
    disk.write(3 * BLOCK, ZEROED)
    return hosts


async def path_on(hosts: TwoHosts, name: str) -> str:
    return (await hosts.hosts[name].environment.pools.volume(VolumeRef("default", "web"))).path


async def begin(hosts: TwoHosts, *, flatten: bool = False) -> str:
    wish = MoveWish("b", offline=True, with_storage=True, flatten=flatten, timeout_s=20.0)
    return (await migrate(hosts.a.environment, "web", wish)).id


async def move(hosts: TwoHosts, *, flatten: bool = False) -> Job:
    job = await begin(hosts, flatten=flatten)
    await until(hosts, lambda: hosts.a.engine.get(job).state.finished)
    await until(hosts, hosts.quiet)
    return hosts.a.engine.get(job)


async def plan(hosts: TwoHosts) -> MovePlan:
    return await plan_move(hosts.a.environment, "web", MoveWish("b", offline=True, with_storage=True))


async def own_there(hosts: TwoHosts) -> None:
    """Of the disk only what the topmost image had of its own has come, its zeroes with it."""
    disk = hosts.b.contents[await path_on(hosts, "b")]
    assert disk.content[2 * BLOCK : 2 * BLOCK + len(OWN)] == OWN
    assert disk.written == {2, 3} and not any(disk.content[: 2 * BLOCK])


async def nothing_left(hosts: TwoHosts, *, ran: bool) -> str:
    where = await offline.settled(hosts, ran=ran)
    here, there = await volumes(hosts.a), await volumes(hosts.b)
    if where == "a":
        assert (here, there) == (WHOLE, {})
    else:
        assert there == WHOLE and here in ({"base": None, "middle": "base"}, WHOLE)
        assert (content(hosts.b, "base"), content(hosts.b, "middle")) == (BASE, MIDDLE)
        await own_there(hosts)
    assert not [str(ref) for host in hosts.hosts.values() for ref, h in host.environment.pools.holders if h.job]
    return where


@pytest.mark.parametrize("ran", [True, False], ids=["ran", "off"])
async def test_a_disk_arrives_on_the_same_layers(tmp_path: Path, ran: bool) -> None:
    hosts = await hosts_with(tmp_path, ran=ran)
    planned = await plan(hosts)
    assert [each.copied for each in planned.terms.placements[0].layers] == [True, True]
    assert not any("whole image" in remark.what for remark in planned.remarks)
    job = await move(hosts)
    assert (job.state, job.error) == (JobState.DONE, None)
    assert await nothing_left(hosts, ran=ran) == "b"
    (receipt,) = await receipts(hosts.b.environment)
    assert receipt.disk_bytes is not None and receipt.disk_bytes > 1 << 20, "the layers count"


async def test_a_layer_that_is_there_already_is_not_sent(tmp_path: Path) -> None:
    hosts = await hosts_with(tmp_path, ran=False)
    pool = await pool_of(hosts.a)
    base, there = await pool.find("base"), await pool_of(hosts.b)
    await there.create(NewVolume("base", base.size, base.format))
    write(hosts.b, "base", BASE)
    assert [each.copied for each in (await plan(hosts)).terms.placements[0].layers] == [False, True]
    assert (await move(hosts)).state is JobState.DONE
    assert len(hosts.b.layer_files.received) == 1
    assert await volumes(hosts.b) == WHOLE
    await own_there(hosts)


@pytest.mark.parametrize("why", ["asked for", "no layers there"])
async def test_it_becomes_one_whole_image_and_the_plan_says_so(tmp_path: Path, why: str) -> None:
    hosts = await hosts_with(tmp_path, ran=False)
    if why == "no layers there":
        hosts.b.storage.lacking |= {Capability.LAYERS}
        assert any("one whole image" in remark.what for remark in (await plan(hosts)).remarks)
    assert (await move(hosts, flatten=why == "asked for")).state is JobState.DONE
    assert await volumes(hosts.b) == {"web": None}
    disk = hosts.b.contents[await path_on(hosts, "b")]
    assert disk.content[BLOCK : BLOCK + 5] == b"below" and disk.content[2 * BLOCK : 2 * BLOCK + len(OWN)] == OWN


async def test_of_one_that_was_never_started_what_it_stands_on_is_taken_along_too(tmp_path: Path) -> None:
    hosts = await hosts_with(tmp_path, ran=False)
    store = hosts.a.environment.store
    for entry in (await store.list(f"{PREFIX}/backing/")).entries:
        await store.commit(Delete(entry.key))
    assert (await move(hosts)).state is JobState.DONE
    assert await nothing_left(hosts, ran=False) == "b"


async def test_its_kernel_comes_along(tmp_path: Path) -> None:
    hosts = await hosts_with(tmp_path)
    hosts.a.layer_files.files[KERNEL] = b"the kernel"
    hosts.b.machine.absent[KERNEL] = "no such file or directory"
    assert (await move(hosts)).state is JobState.DONE
    assert await nothing_left(hosts, ran=True) == "b"
    kernel = hosts.b.environment.domains.find("web").config.kernel
    assert kernel is not None and hosts.b.layer_files.files[kernel] == b"the kernel"


async def test_an_older_host_gets_whole_images_only_if_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = await hosts_with(tmp_path, ran=False)
    terms = incoming.terms

    async def of_old(*words: object) -> object:
        return replace(await terms(*words), brings_offline=False)  # type: ignore[arg-type]

    monkeypatch.setattr(incoming, "terms", of_old)
    with pytest.raises(IllegalState, match="takes disks of a domain that is off as whole images only") as told:
        await move(hosts)
    assert "--flatten" in str(told.value.hint)
    assert (await move(hosts, flatten=True)).state is JobState.DONE
    assert await volumes(hosts.b) == {"web": None}
    assert disks_only((await plan_move(hosts.b.environment, "web", MoveWish("a", offline=True))).offer).files == []


STEPS, SIDES = offline.STEPS, offline.SIDES


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [fail, crash], ids=["fail", "crash"])
@pytest.mark.parametrize(("kind", "step"), STEPS, ids=[f"{kind}-{step}" for kind, step in STEPS])
async def test_trouble_in_each_step_of_either_side(
    tmp_path: Path, kind: str, step: str, what: Callable[[Job], None], when: str
) -> None:
    hosts, host = await hosts_with(tmp_path), SIDES[kind][0]
    await struck(hosts, Blow(host, kind, step, when, what), begin)
    await until(hosts, hosts.quiet)
    await until_later(hosts, 10.0)
    there = hosts.b.environment.domains.named("web")
    if there is not None and there.incarnation is None:  # it failed to start, and that is told
        await hosts.b.engine.wait((await start(hosts.b.environment, "web")).id)
    await nothing_left(hosts, ran=True)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["agree", "shut-down", "disks"])
async def test_a_move_that_is_cancelled_in_each_step(tmp_path: Path, step: str, when: str) -> None:
    hosts = await hosts_with(tmp_path)
    await cancelled(hosts, "migrate-offline", step, when, begin)
    assert await nothing_left(hosts, ran=True) == "a"


@pytest.mark.parametrize("delay_s", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("trouble", ["cancel", "cut", "source dies", "target dies"])
async def test_trouble_while_a_layer_is_on_its_way(tmp_path: Path, trouble: str, delay_s: float) -> None:
    hosts = await hosts_with(tmp_path)
    await troubled(hosts, await begin(hosts), trouble, delay_s)
    assert await nothing_left(hosts, ran=True) == "a"

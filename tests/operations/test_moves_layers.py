"""A disk that stands on others goes to another host, and stands on the same there. Whatever happens, nothing of
what it brought is left where nobody needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, crash, fail
from tests.operations.moves_kit import Blow, TwoHosts, cancelled, struck, troubled, until
from tests.operations.test_moves import CONFIG, DISK, SIDES, STEPS, settled

from wirt.model.errors import ImageChanged, Shortage, WirtError
from wirt.model.job import Job, JobState
from wirt.model.storage import Capability, VolumeRef
from wirt.operations.create import Source, create
from wirt.operations.destroy import destroy
from wirt.operations.layers import known
from wirt.operations.migrate import MovePlan, MoveWish, migrate, plan_move
from wirt.operations.migrate_steps import MIGRATE
from wirt.operations.volumes import create as create_volume
from wirt.operations.volumes import destroy as destroy_volume
from wirt.peers.fake import Kind
from wirt.ports.storage import Pool

BASE = {"what": 1, "the template": 2}
MIDDLE = {"what was": 3}


async def two_hosts(directory: Path, *, other: bool = False) -> TwoHosts:
    """Hosts with pools of their own; on ``a`` a guest whose disk ``web`` stands on ``middle`` and ``base``.
    ``other``: and a second one, ``web2``, on the same."""
    hosts = TwoHosts(directory, shared=False)
    await hosts.boot("a")
    await hosts.boot("b")
    await hosts.a.engine.wait((await create_volume(hosts.a.environment, VolumeRef("default", "base"), 1 << 20)).id)
    pool = await pool_of(hosts.a)
    write(hosts.a, "base", BASE)
    await pool.clone("base", "middle")
    write(hosts.a, "middle", MIDDLE)
    for name in ("web", "web2") if other else ("web",):
        await pool.clone("middle", name)
        text = CONFIG.replace('"web"', f'"{name}"') + DISK.replace("/web", f"/{name}")
        job = await hosts.a.engine.wait((await create(hosts.a.environment, Source(text, "web.cfg", "/cfg"))).id)
        assert job.state is JobState.DONE, job.error
        hosts.a.world.guest(hosts.a.environment.domains.find(name).uuid).memory = b"what it thinks of"
    return hosts


async def pool_of(host: SimulatedHost) -> Pool:
    return await host.environment.pools.open("default")


def write(host: SimulatedHost, name: str, data: dict[str, int]) -> None:
    (medium,) = host.storage.media.values()
    medium.data[medium.volumes[name].path] = dict(data)


def content(host: SimulatedHost, name: str) -> dict[str, int]:
    (medium,) = host.storage.media.values()
    return medium.data.get(medium.volumes[name].path, {})


async def volumes(host: SimulatedHost) -> dict[str, str | None]:
    """Each with what it stands on."""
    return {volume.name: volume.backing for volume in await (await pool_of(host)).volumes()}


async def move(hosts: TwoHosts, source: str = "a", *, name: str = "web", flatten: bool = False) -> Job:
    host, target = hosts.hosts[source], "b" if source == "a" else "a"
    wish = MoveWish(target, with_storage=True, flatten=flatten)
    job = (await migrate(host.environment, name, wish)).id
    await until(hosts, lambda: host.engine.get(job).state.finished)
    await until(hosts, hosts.quiet)
    return host.engine.get(job)


async def plan(hosts: TwoHosts, *, flatten: bool = False) -> MovePlan:
    return await plan_move(hosts.a.environment, "web", MoveWish("b", with_storage=True, flatten=flatten))


WHOLE = {"base": None, "middle": "base", "web": "middle"}


async def test_a_disk_arrives_on_the_same_layers(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    assert [each.copied for each in (await plan(hosts)).terms.placements[0].layers] == [True, True]
    assert (await move(hosts)).state is JobState.DONE
    assert await settled(hosts) == "b"
    assert await volumes(hosts.b) == WHOLE
    assert (content(hosts.b, "base"), content(hosts.b, "middle")) == (BASE, MIDDLE)
    assert await volumes(hosts.a) == {"base": None, "middle": "base"}, "they were there before"


async def test_it_goes_back_to_what_it_stood_on_and_takes_along_nobodys_layers(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await move(hosts)
    assert (await move(hosts, "b")).state is JobState.DONE
    assert await settled(hosts) == "a"
    assert await volumes(hosts.a) == WHOLE
    assert hosts.a.layer_files.received == []
    assert await volumes(hosts.b) == {}


async def test_the_second_clone_of_a_template_uses_what_the_first_one_brought(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, other=True)
    await move(hosts)
    planned = await plan_move(hosts.a.environment, "web2", MoveWish("b", with_storage=True))
    assert [each.copied for each in planned.terms.placements[0].layers] == [False, False]
    assert (await move(hosts, name="web2")).state is JobState.DONE
    assert await volumes(hosts.b) == {**WHOLE, "web2": "middle"}
    assert len(hosts.b.layer_files.received) == 2


async def test_of_two_that_move_at_once_one_brings_what_both_stand_on(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, other=True)
    wish = MoveWish("b", with_storage=True)
    jobs = [(await migrate(hosts.a.environment, name, wish)).id for name in ("web", "web2")]
    await until(hosts, lambda: all(hosts.a.engine.get(job).state.finished for job in jobs))
    assert [hosts.a.engine.get(job).state for job in jobs] == [JobState.DONE, JobState.DONE]
    await until(hosts, hosts.quiet)
    assert await volumes(hosts.b) == {**WHOLE, "web2": "middle"}
    assert len(hosts.b.layer_files.received) == 2


async def test_if_the_one_that_brings_fails_the_other_brings_it_or_has_it(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, other=True)
    hosts.b.layer_files.failures = [Shortage("no room")]
    wish = MoveWish("b", with_storage=True)
    jobs = [(await migrate(hosts.a.environment, name, wish)).id for name in ("web", "web2")]
    await until(hosts, lambda: all(hosts.a.engine.get(job).state.finished for job in jobs))
    assert sorted(hosts.a.engine.get(job).state for job in jobs) == [JobState.DONE, JobState.FAILED]
    await until(hosts, hosts.quiet)
    found = await volumes(hosts.b)
    (there,) = [name for name in ("web", "web2") if name in found]
    base = found["middle"]
    assert base is not None and found == {base: None, "middle": base, there: "middle"}
    assert content(hosts.b, base) == BASE


async def test_a_volume_that_only_has_the_same_name_is_not_taken_for_it(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await hosts.b.engine.wait((await create_volume(hosts.b.environment, VolumeRef("default", "base"), 1 << 20)).id)
    write(hosts.b, "base", {"another": 1})
    await move(hosts)
    assert await settled(hosts) == "b"
    found = await volumes(hosts.b)
    brought = found["middle"]
    assert brought is not None and brought.startswith("base-")
    assert content(hosts.b, brought) == BASE and content(hosts.b, "base") == {"another": 1}


async def test_a_template_that_somebody_put_there_is_used_and_never_removed(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await hosts.b.engine.wait((await create_volume(hosts.b.environment, VolumeRef("default", "base"), 1 << 20)).id)
    write(hosts.b, "base", BASE)
    assert [each.copied for each in (await plan(hosts)).terms.placements[0].layers] == [False, True]
    await move(hosts)
    await move(hosts, "b")
    assert await settled(hosts) == "a"
    assert await volumes(hosts.b) == {"base": None}


async def test_brought_layers_go_with_the_last_disk_that_stood_on_them(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await move(hosts)
    await hosts.b.engine.wait((await destroy(hosts.b.environment, "web")).id)
    await hosts.b.engine.wait((await destroy_volume(hosts.b.environment, VolumeRef("default", "web"))).id)
    assert await volumes(hosts.b) == {}
    assert await known(hosts.b.environment, VolumeRef("default", "base")) is None


async def test_layers_that_were_brought_and_changed_since_are_somebodys(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await move(hosts)
    await hosts.b.engine.wait((await destroy(hosts.b.environment, "web")).id)
    write(hosts.b, "base", {"mine": 1})
    await hosts.b.engine.wait((await destroy_volume(hosts.b.environment, VolumeRef("default", "web"))).id)
    assert await volumes(hosts.b) == {"base": None}


@pytest.mark.parametrize("why", ["asked for", "no layers there"])
async def test_it_becomes_one_whole_image_and_the_plan_says_so(tmp_path: Path, why: str) -> None:
    hosts = await two_hosts(tmp_path)
    if why == "no layers there":
        hosts.b.storage.lacking |= {Capability.LAYERS}
    flatten = why == "asked for"
    planned = await plan(hosts, flatten=flatten)
    assert any("one whole image" in remark.what and not remark.blocks for remark in planned.remarks)
    assert planned.terms.placements[0].layers == []
    assert (await move(hosts, flatten=flatten)).state is JobState.DONE
    assert await settled(hosts) == "b"
    assert await volumes(hosts.b) == {"web": None}


async def test_a_full_pool_leaves_nothing_and_is_told_as_what_it_is(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.b.layer_files.failures = [Shortage("no room for base: No space left on device")]
    job = await move(hosts)
    assert job.error is not None and "No space left" in job.error.message
    assert await settled(hosts) == "a"
    assert await volumes(hosts.b) == {}


async def test_a_layer_that_changes_or_vanishes_meanwhile_is_not_taken(tmp_path: Path) -> None:
    for what in ("changes", "vanishes"):
        hosts = await two_hosts(tmp_path / what)
        (medium,) = hosts.a.storage.media.values()

        def trouble(job: Job, what: str = what, hosts: TwoHosts = hosts) -> None:
            (medium,) = hosts.a.storage.media.values()
            if what == "changes":
                write(hosts.a, "base", {"another": 9})
            else:
                hosts.kept = medium.volumes.pop("base")  # type: ignore[attr-defined]

        await hosts.crash("a")
        await hosts.boot("a", Strike("migrate", "disks", "before", trouble))
        job = await move(hosts)
        assert job.state is JobState.FAILED
        assert job.error is not None and job.error.code in ("image-changed", "not-found")
        if what == "vanishes":
            medium.volumes["base"] = hosts.kept  # type: ignore[attr-defined]
        assert await settled(hosts) == "a"
        assert await volumes(hosts.b) == {}


async def test_a_disk_that_stands_on_another_than_it_did_is_not_offered(tmp_path: Path) -> None:
    """A guest that has broken out of its QEMU can write there whatever it likes."""
    hosts = await two_hosts(tmp_path)
    pool = await pool_of(hosts.a)
    await pool.clone("base", "secret")
    (medium,) = hosts.a.storage.media.values()
    await hosts.a.image_tool.point(medium.volumes["web"], medium.volumes["secret"])
    with pytest.raises(ImageChanged):
        await plan(hosts)


async def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    offer = (await plan(hosts)).offer
    disk = offer.disks[0]
    from dataclasses import asdict, replace

    evil = replace(disk, layers=[replace(disk.layers[0], name="../etc")])
    peer = await hosts.a.environment.peers.reach("b")  # type: ignore[union-attr]
    answer = await peer.call("POST", "/v1/incoming/terms", asdict(replace(offer, disks=[evil])))
    assert any(remark["blocks"] and "can't be the name" in remark["what"] for remark in answer["remarks"])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [fail, crash], ids=["fail", "crash"])
@pytest.mark.parametrize(("kind", "step"), STEPS, ids=[f"{kind}-{step}" for kind, step in STEPS])
async def test_trouble_in_each_step_of_either_side(
    tmp_path: Path, kind: str, step: str, what: Callable[[Job], None], when: str
) -> None:
    hosts, host = await two_hosts(tmp_path), SIDES[kind][0]
    await struck(hosts, Blow(host, kind, step, when, what), begin)
    await nothing_left(hosts)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [step.name for step in MIGRATE.steps])
async def test_a_move_that_is_cancelled_in_each_step(tmp_path: Path, step: str, when: str) -> None:
    hosts = await two_hosts(tmp_path)
    await cancelled(hosts, "migrate", step, when, begin)
    await nothing_left(hosts)


@pytest.mark.parametrize("delay_s", [0.01, 0.03, 0.05, 0.08])
@pytest.mark.parametrize("trouble", ["cancel", "cut", "source dies", "target dies"])
async def test_trouble_while_a_layer_is_on_its_way(tmp_path: Path, trouble: str, delay_s: float) -> None:
    hosts = await two_hosts(tmp_path)
    job = await begin(hosts)
    await troubled(hosts, job, trouble, delay_s)
    await nothing_left(hosts)


async def test_an_answer_that_gets_lost_leaves_nothing(tmp_path: Path) -> None:
    for number in range(3):
        hosts = await two_hosts(tmp_path / str(number))
        before = hosts.links.fate
        hosts.links.inject(Kind.LOST_AFTER, "POST", "/v1/incoming", times=number + 1)
        try:
            await begin(hosts)
        except WirtError:
            hosts.links.fate = before
        await nothing_left(hosts)


async def begin(hosts: TwoHosts) -> str:
    return (await migrate(hosts.a.environment, "web", MoveWish("b", with_storage=True))).id


async def nothing_left(hosts: TwoHosts) -> None:
    """The guest is on one host, on the layers that it was on; on the other is only what was there before."""
    where = await settled(hosts)
    here, there = await volumes(hosts.a), await volumes(hosts.b)
    if where == "a":
        assert (here, there) == (WHOLE, {})
    else:
        assert there == WHOLE
        # A source that does not know how the guest does over there keeps its copy.
        assert here in ({"base": None, "middle": "base"}, WHOLE)
        assert content(hosts.b, "base") == BASE and content(hosts.b, "middle") == MIDDLE
    assert not [str(ref) for host in hosts.hosts.values() for ref, h in host.environment.pools.holders if h.job]

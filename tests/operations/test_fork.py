"""Running copies of a running domain, on a host in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from uuid import UUID

import pytest
from tests.operations.kit import SimulatedHost, Strike, config, fail

from wirt.model.errors import BadInput, IllegalState, NameInUse, Shortage
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import Capability, VolumeRef
from wirt.model.units import MIB
from wirt.operations import snapshots_verbs, volumes
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.create import Source, create, define
from wirt.operations.destroy import destroy, undefine
from wirt.operations.fork import Cables, ForkWish, fork
from wirt.operations.jobs.step import JobKind
from wirt.operations.power import pause
from wirt.operations.start import start

FORK_STEPS = [step.name for step in OPERATIONS[JobKind.FORK].steps]
ALONE = "net=user,ip=10.0.2.15/24,forward=tcp:2222:22"
TEXT = f'disk = ["default/web,,xvda,rw"]\nvif = ["", "{ALONE}"]'


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SimulatedHost]:
    host = SimulatedHost(tmp_path)
    await host.boot()
    await a_guest(host)
    yield host
    await host.settle()
    await host.assert_consistent()
    await host.stop()


async def done(host: SimulatedHost, submitted: Awaitable[Job]) -> Job:
    job = await host.engine.wait((await submitted).id)
    assert job.state is JobState.DONE, job.error
    return job


async def a_guest(host: SimulatedHost) -> None:
    """It runs, and remembers something."""
    await done(host, volumes.create(host.environment, VolumeRef("default", "web"), 8 * MIB))
    text = config("web").replace('vif = [""]\n', "") + TEXT
    await define(host.environment, Source(text, "web.cfg", "/cfg"))
    await done(host, start(host.environment, "web"))
    host.world.guest(uuid_of(host, "web")).memory = b"what it was doing"


def uuid_of(host: SimulatedHost, name: str) -> UUID:
    return host.environment.domains.find(name).uuid


async def there_is(host: SimulatedHost) -> tuple[list[str], list[str], list[str]]:
    pool = await host.environment.pools.open("default")
    tree = host.environment.snapshots.of(host.environment.domains.find("web").uuid)
    return (
        sorted(each.name for each in host.environment.domains),
        sorted(volume.name for volume in await pool.volumes()),
        sorted(each.name for each in tree.snapshots),
    )


async def test_copies_go_on_with_the_memory_and_disks_of_their_own(host: SimulatedHost, tmp_path: Path) -> None:
    job = await done(host, fork(host.environment, "web", ForkWish(count=2)))
    assert await there_is(host) == (["web", "web-1", "web-2"], ["web", "web+fork-1", "web-1", "web-2"], ["fork-1"])
    result = job.notes["result"]
    assert (result["snapshot"], result["lost"]) == ("fork-1", ["forward=tcp:2222:22"])
    assert host.environment.domains.find("web").state is State.RUNNING
    for name in ("web-1", "web-2"):
        domain = host.environment.domains.find(name)
        guest = host.world.guest(domain.uuid)
        assert (domain.state, guest.memory) == (State.RUNNING, b"what it was doing")
        assert (
            guest.disks.find("xvda").chain[0]
            == (await host.environment.pools.volume(VolumeRef("default", name))).path
        )
    kept = host.environment.snapshots.of(host.environment.domains.find("web").uuid).get("fork-1")
    assert kept is not None
    assert kept.memory is None
    assert not list(tmp_path.rglob("*.memory"))


async def test_cards_that_could_meet_the_source_s_have_their_cables_pulled(host: SimulatedHost) -> None:
    await done(host, fork(host.environment, "web", ForkWish()))
    await done(host, fork(host.environment, "web", ForkWish(name="near", network=Cables.SAME)))
    apart, near = (host.environment.domains.find(name) for name in ("web-1", "near-1"))
    assert host.world.guest(apart.uuid).links == {0: False, 1: True}
    assert host.world.guest(near.uuid).links == {0: True, 1: True}


async def test_a_card_that_is_alone_keeps_its_addresses_and_others_get_new_ones(host: SimulatedHost) -> None:
    await done(host, fork(host.environment, "web", ForkWish(count=2)))
    source, *copies = [host.environment.domains.find(name) for name in ("web", "web-1", "web-2")]
    plans = [await host.environment.plan(each, 9, running=True) for each in (source, *copies)]
    assert len({plan.nics[0].mac for plan in plans}) == 3
    assert len({plan.nics[1].mac for plan in plans}) == 1
    assert {plan.nics[1].addresses for plan in plans} == {("10.0.2.15/24",)}
    assert [each.config.vifs[1].forwards[0].host_port for each in copies] == [0, 0]


async def test_copies_of_a_paused_guest_are_paused(host: SimulatedHost) -> None:
    await pause(host.environment, "web")
    await host.settle()
    await done(host, fork(host.environment, "web", ForkWish()))
    assert [host.environment.domains.find(name).state for name in ("web", "web-1")] == [State.PAUSED] * 2


async def test_a_guest_without_disks_leaves_no_snapshot(host: SimulatedHost) -> None:
    await define(host.environment, Source(config("bare"), "bare.cfg", "/cfg"))
    await done(host, start(host.environment, "bare"))
    job = await done(host, fork(host.environment, "bare", ForkWish(count=2)))
    assert job.notes["result"]["snapshot"] is None
    assert host.environment.snapshots.of(host.environment.domains.find("bare").uuid).snapshots == ()


async def test_where_volumes_share_blocks_the_copies_stand_on_nothing_of_the_source(host: SimulatedHost) -> None:
    host.storage.lacking = {Capability.LAYERS}
    await host.environment.pools.close("default")
    await done(host, fork(host.environment, "web", ForkWish()))
    assert host.environment.domains.find("web-1").state is State.RUNNING


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", FORK_STEPS)
async def test_one_that_fails_leaves_no_copy_and_the_source_running(tmp_path: Path, step: str, when: str) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot(Strike(JobKind.FORK, step, when, fail))
    await a_guest(host)
    before = await there_is(host)
    job = await host.engine.wait((await fork(host.environment, "web", ForkWish(count=3))).id)
    assert job.state is JobState.FAILED
    await host.settle()
    if (step, when) != ("release", "after"):
        assert await there_is(host) == before
        assert not list(tmp_path.rglob("*.memory"))
    assert host.environment.domains.find("web").state is State.RUNNING
    await host.assert_consistent()
    await done(host, fork(host.environment, "web", ForkWish(name="again")))
    await host.stop()


async def test_a_copy_keeps_its_ground_when_the_source_has_gone_elsewhere(host: SimulatedHost) -> None:
    """What stands on the snapshot then is the copy's alone, and no part of the source to put together."""
    await done(host, snapshots_verbs.create(host.environment, "web", "first"))
    await done(host, fork(host.environment, "web", ForkWish()))
    await done(host, snapshots_verbs.revert(host.environment, "web", "first", force=True))
    await done(host, snapshots_verbs.delete(host.environment, "web", "fork-1"))
    volume = await host.environment.pools.volume(VolumeRef("default", "web-1"))
    assert volume.backing == "web+fork-1"
    await done(host, destroy(host.environment, "web-1"))
    await host.settle()
    await undefine(host.environment, "web-1")
    await done(host, volumes.destroy(host.environment, VolumeRef("default", "web-1")))
    await done(host, snapshots_verbs.delete(host.environment, "web", "first"))
    assert "web+fork-1" not in (await there_is(host))[1]


async def test_what_can_t_be_forked_is_told_before_anything_is_done(host: SimulatedHost) -> None:
    environment = host.environment
    with pytest.raises(BadInput, match="0 clones"):
        await fork(environment, "web", ForkWish(count=0))
    with pytest.raises(Shortage, match="100 copies"):
        await fork(environment, "web", ForkWish(count=100))
    await define(environment, Source(config("web-1"), "web-1.cfg", "/cfg"))
    with pytest.raises(NameInUse, match="web-1"):
        await fork(environment, "web", ForkWish())
    with pytest.raises(IllegalState, match="is off"):
        await fork(environment, "web-1", ForkWish())
    await done(host, create(environment, Source(config("brief"), "brief.cfg", "/cfg")))
    with pytest.raises(IllegalState, match="forgotten when it ends"):
        await fork(environment, "brief", ForkWish())
    host.storage.lacking = {Capability.LAYERS, Capability.SNAPSHOT}
    await environment.pools.close("default")
    with pytest.raises(BadInput, match="keeps no snapshots"):
        await fork(environment, "web", ForkWish(name="other"))
    await done(host, destroy(environment, "brief"))

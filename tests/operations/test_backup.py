"""Backups, whatever becomes of the daemon, the guest and the place in their middle: no change is ever lost, and
what is restored is the instant that was backed up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, config, crash, fail

from wirt.hypervisors.fake import DaemonKilled, Silence, Verb
from wirt.model.devices import DiskFormat
from wirt.model.errors import (
    BadInput,
    IllegalState,
    NameInUse,
    NotFound,
    ResourceBusy,
    Shortage,
    Unavailable,
    WirtError,
)
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.model.units import MIB
from wirt.operations import backup, backup_places, backup_prune, backup_restore, volumes
from wirt.operations.backup import BACKUP
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.jobs.engine import Hooks
from wirt.operations.jobs.step import JobKind
from wirt.operations.start import start
from wirt.plan.backup import Backup, Keep, Kind
from wirt.ports.memory_blocks import MemoryDisk
from wirt.storage.backup_store import DirectoryStores

DISKS = 'disk = ["default/a,,xvda,rw", "default/b,,xvdb,rw"]'


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    made = SimulatedHost(tmp_path)
    await made.boot()
    return made


async def disks(host: SimulatedHost, *, format_: DiskFormat = DiskFormat.RAW) -> None:
    for name in ("a", "b"):
        await finished(
            host, await volumes.create(host.environment, VolumeRef("default", name), MIB, format_=format_)
        )


async def running(host: SimulatedHost) -> None:
    await disks(host)
    await host.create(DISKS, name="db")
    for vdev in ("a", "b"):
        disk(host, vdev)


async def off(host: SimulatedHost, *, format_: DiskFormat = DiskFormat.RAW) -> None:
    await disks(host, format_=format_)
    await define(host.environment, Source(config("db", DISKS), "db.cfg", "/cfg"))


def disk(host: SimulatedHost, name: str) -> MemoryDisk:
    (path,) = {v.path for m in host.storage.media.values() for v in m.volumes.values() if v.name == name}
    return host.contents.setdefault(path, MemoryDisk(MIB))


async def finished(host: SimulatedHost, job: Job, state: JobState = JobState.DONE) -> Job:
    job = await host.engine.wait(job.id)
    assert job.state is state, job
    await host.settle()
    return job


async def back_up(host: SimulatedHost, **more: bool) -> Backup:
    job = await backup.create(host.environment, "db", str(host.place), "/", **more)
    made = await finished(host, job)
    return (await backup_places.find(host.environment, made.notes["result"]["backup"], None)).backup


async def restored(host: SimulatedHost, made: Backup, name: str) -> dict[str, bytes]:
    job = await backup_restore.restore(host.environment, made.id, "/", name=name)
    result = (await finished(host, job)).notes["result"]
    return {
        vdev: bytes(disk(host, volume.partition("/")[2]).content) for vdev, volume in result["volumes"].items()
    }


def now(host: SimulatedHost) -> dict[str, bytes]:
    return {f"xvd{name}": bytes(disk(host, name).content) for name in ("a", "b")}


def scribble(host: SimulatedHost, dice: random.Random) -> None:
    for name in ("a", "b"):
        for _ in range(dice.randrange(4)):
            disk(host, name).write(dice.randrange(MIB - 9000), dice.randbytes(dice.randrange(1, 9000)))


async def test_a_guest_that_a_killed_daemon_left_standing_while_a_backup_began_goes_on(
    host: SimulatedHost,
) -> None:
    await running(host)
    uuid = host.environment.domains.find("db").uuid

    def die() -> None:
        """Between the first disk and the second."""
        host.world.guest(uuid).pause()
        host.world.kill_daemon()
        raise DaemonKilled

    host.live_backup.at_instant = die
    job = await backup.create(host.environment, "db", str(host.place), "/")
    await host.settle()
    host.live_backup.at_instant = lambda: None
    await host.crash()
    await host.boot()
    await finished(host, job, JobState.FAILED)
    assert host.environment.domains.find("db").state is State.RUNNING
    await back_up(host)


async def test_the_first_is_full_and_the_next_moves_only_what_changed(host: SimulatedHost) -> None:
    await running(host)
    disk(host, "a").write(5, b"first")
    first = await back_up(host)
    then = now(host)
    disk(host, "a").write(200_000, b"second")
    second = await back_up(host)
    assert (first.kind, first.reason) == (Kind.FULL, "it is the first one here")
    assert (second.kind, second.parent) == (Kind.INCREMENTAL, first.id)
    assert sum(each.moved for each in second.disks) == 64 * 1024
    assert await restored(host, first, "one") == then
    assert await restored(host, second, "two") == now(host)
    await host.assert_consistent()


async def test_a_full_one_can_be_asked_for(host: SimulatedHost) -> None:
    await running(host)
    await back_up(host)
    assert (await back_up(host, full=True)).reason == "that was asked for"


async def test_one_whose_checkpoint_is_lost_is_full_and_says_why(host: SimulatedHost) -> None:
    await running(host)
    first = await back_up(host)
    disk(host, "a").checkpoints.clear()
    disk(host, "b").checkpoints.clear()
    second = await back_up(host)
    assert second.kind is Kind.FULL
    assert second.reason == f"it is not known what has changed since {first.id}"
    assert (await back_up(host)).kind is Kind.INCREMENTAL


async def test_a_disk_that_is_new_is_read_whole_beside_others(host: SimulatedHost) -> None:
    await running(host)
    await back_up(host)
    disk(host, "b").checkpoints.clear()
    second = await back_up(host)
    assert {each.vdev: each.kind for each in second.disks} == {"xvda": Kind.INCREMENTAL, "xvdb": Kind.FULL}
    assert second.reason == "of xvdb it is not known what has changed"
    assert await restored(host, second, "two") == now(host)


async def test_a_forgotten_backup_is_no_base_for_the_next(host: SimulatedHost) -> None:
    await running(host)
    first = await back_up(host)
    await finished(host, await backup_prune.destroy(host.environment, first.id, "/"))
    disk(host, "a").write(7, b"x")
    second = await back_up(host)
    assert second.kind is Kind.FULL
    assert await restored(host, second, "two") == now(host)


async def test_one_that_is_off_is_read_whole_or_by_what_its_image_knows(host: SimulatedHost) -> None:
    await off(host, format_=DiskFormat.QCOW2)
    first = await back_up(host)
    disk(host, "b").write(3, b"written since")
    second = await back_up(host)
    assert (first.kind, second.kind) == (Kind.FULL, Kind.INCREMENTAL)
    assert sum(each.moved for each in second.disks) == 64 * 1024
    assert await restored(host, second, "two") == now(host)
    await host.assert_consistent()


async def test_a_raw_disk_that_is_off_is_read_whole(host: SimulatedHost) -> None:
    await off(host)
    await back_up(host)
    assert (await back_up(host)).kind is Kind.FULL


STEPS = [step.name for step in BACKUP.steps]


@pytest.mark.parametrize("what", ["fail", "crash", "cancel"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stage", [running, pytest.param(off, marks=pytest.mark.long)])
async def test_no_change_is_lost_whatever_stops_a_backup(
    tmp_path: Path, step: str, when: str, what: str, stage: Callable[[SimulatedHost], object]
) -> None:
    host, dice = SimulatedHost(tmp_path), random.Random(f"{step}{when}{what}")
    await host.boot()
    await (running(host) if stage is running else off(host, format_=DiskFormat.QCOW2))
    scribble(host, dice)
    first = await back_up(host)
    then = now(host)
    scribble(host, dice)
    await host.crash()

    def strike(job: Job) -> None:
        scribble(host, dice) if stage is running else None
        if what == "cancel":
            waiting.append(asyncio.ensure_future(host.engine.cancel(job.id)))
        else:
            (fail if what == "fail" else crash)(job)

    waiting: list[asyncio.Future[Job]] = []
    hooks = Strike(JobKind.BACKUP, step, when, strike)
    await host.boot(hooks)
    job = await backup.create(host.environment, "db", str(host.place), "/")
    await host.settle()
    assert hooks.struck
    if what == "crash":
        await host.crash()
        await host.boot()
        await host.settle()
    assert host.engine.get(job.id).state.finished
    await host.assert_consistent()
    scribble(host, dice)
    third = await back_up(host)
    assert await restored(host, third, "third") == now(host)
    assert await restored(host, first, "first") == then
    await host.stop()


async def test_the_end_of_the_guest_ends_its_backup_and_leaves_nothing(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)

    def vanish(job: Job) -> None:
        host.world.guest(host.environment.domains.find("db").uuid).vanish()
        raise Unavailable("who serves it has gone")

    await host.boot(Strike(JobKind.BACKUP, "copy", "before", vanish))
    await running(host)
    job = await backup.create(host.environment, "db", str(host.place), "/")
    await host.settle()
    assert host.engine.get(job.id).state is JobState.FAILED
    await host.assert_consistent()


async def test_who_ends_a_guest_need_not_wait_for_its_backup(host: SimulatedHost) -> None:
    await running(host)
    job = await backup.create(host.environment, "db", str(host.place), "/")
    await finished(host, await destroy(host.environment, "db"))
    await host.settle()
    assert host.engine.get(job.id).state.finished
    await host.assert_consistent()


async def test_one_at_a_time(host: SimulatedHost) -> None:
    await running(host)
    job = await backup.create(host.environment, "db", str(host.place), "/")
    with pytest.raises(ResourceBusy, match="is under way"):
        await backup.create(host.environment, "db", str(host.place), "/")
    await finished(host, job)


async def test_a_guest_that_is_read_while_off_does_not_start(host: SimulatedHost) -> None:
    await off(host)
    job = await backup.create(host.environment, "db", str(host.place), "/")
    await asyncio.sleep(0)
    while not host.environment.pools.holders.of(VolumeRef("default", "a")):
        await asyncio.sleep(0.001)
    with pytest.raises(ResourceBusy, match="in use by job"):
        await start(host.environment, "db")
    await finished(host, job)
    await finished(host, await start(host.environment, "db"))


async def test_a_disk_that_is_no_volume_is_not_backed_up_half_before_a_run_and_half_after(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    ran: list[bool] = []

    class Run(Hooks):
        async def after(self, job: Job, step: str) -> None:
            if (job.kind, step) == (JobKind.BACKUP, "copy") and not ran:
                ran.append(True)
                await host.engine.wait((await start(host.environment, "db")).id)
                await host.engine.wait((await destroy(host.environment, "db")).id)

    await host.boot(Run())
    text = config("db", 'disk = ["/d/a.qcow2,qcow2,xvda,rw"]')
    await define(host.environment, Source(text, "db.cfg", "/cfg"))
    job = await backup.create(host.environment, "db", str(host.place), "/")
    job = await finished(host, job, JobState.FAILED)
    assert job.error is not None
    assert "started meanwhile" in job.error.message
    await host.clock.advance(1)
    made = await back_up(host)
    assert made.kind is Kind.FULL
    await host.assert_consistent()


async def test_no_room_to_keep_aside_fails_the_backup_and_not_the_guest(host: SimulatedHost) -> None:
    await running(host)
    host.live_backup.failures.append(Shortage("no room"))
    job = await backup.create(host.environment, "db", str(host.place), "/")
    assert (await finished(host, job, JobState.FAILED)).error is not None
    assert host.environment.domains.find("db").state is State.RUNNING
    await host.assert_consistent()


async def test_a_domain_without_disks_has_nothing_to_back_up(host: SimulatedHost) -> None:
    await host.create(name="db")
    with pytest.raises(IllegalState, match="no disk"):
        await backup.create(host.environment, "db", None, "/")


async def test_what_is_no_place_is_told_so(host: SimulatedHost) -> None:
    await running(host)
    with pytest.raises(NotFound, match="no backups in"):
        await backup_places.list_place(host.environment, "/nowhere")
    with pytest.raises(BadInput):
        await backup.create(host.environment, "db", "a\0b", "/")
    with pytest.raises(NotFound):
        await backup_places.find(host.environment, "web-1", None)


async def test_a_restored_domain_is_another_one_with_cards_of_its_own(host: SimulatedHost) -> None:
    await disks(host)
    await host.create('vif = ["mac=00:16:3e:00:00:11"]\n' + DISKS, name="db")
    made = await back_up(host)
    with pytest.raises(NameInUse):
        await backup_restore.restore(host.environment, made.id, "/")
    await restored(host, made, "db2")
    old, new = host.environment.domains.find("db"), host.environment.domains.find("db2")
    assert old.uuid != new.uuid
    assert new.config.vifs[0].mac is None
    assert new.persistent
    await finished(host, await start(host.environment, "db2"))
    await host.assert_consistent()


async def test_replacing_gives_the_domain_its_disks_of_then_and_leaves_the_old(host: SimulatedHost) -> None:
    await off(host)
    disk(host, "a").write(0, b"then")
    made = await back_up(host)
    disk(host, "a").write(0, b"now!")
    before = host.environment.domains.find("db")
    job = await backup_restore.restore(host.environment, made.id, "/", replace=True)
    result = (await finished(host, job)).notes["result"]
    after = host.environment.domains.find("db")
    assert after.uuid == before.uuid
    assert [each.volume for each in after.config.disks] == list(result["volumes"].values())
    assert result["left"] == ["pool:default/a", "pool:default/b"]
    assert bytes(disk(host, "a").content[:4]) == b"now!"
    assert bytes(disk(host, "db-xvda").content[:4]) == b"then"
    await finished(host, await start(host.environment, "db"))
    with pytest.raises(IllegalState, match="shutdown"):
        await backup_restore.restore(host.environment, made.id, "/", replace=True)


async def test_one_disk_comes_back_without_a_domain(host: SimulatedHost) -> None:
    await running(host)
    disk(host, "b").write(0, b"then")
    made = await back_up(host)
    with pytest.raises(NotFound, match="xvdz"):
        await backup_restore.restore(host.environment, made.id, "/", disk="xvdz")
    job = await backup_restore.restore(host.environment, made.id, "/", disk="xvdb")
    result = (await finished(host, job)).notes["result"]
    assert result["volumes"] == {"xvdb": "default/db-xvdb"}
    assert "domain" not in result
    assert bytes(disk(host, "db-xvdb").content[:4]) == b"then"


async def test_pruning_keeps_what_is_to_be_kept_whole(host: SimulatedHost) -> None:
    await running(host)
    made, then = [], []
    for number in range(6):
        disk(host, "a").write(number * 1000, b"x" * 700)
        made.append(await back_up(host))
        then.append(now(host))
        await host.clock.advance(3600)
    _, gone = await backup_prune.choose(host.environment, Keep(last=2), "/", source=str(host.place))
    assert [each.id for each in gone] == [each.id for each in made[:4]]
    job = await backup_prune.prune(host.environment, Keep(last=2), "/", source=str(host.place))
    await finished(host, job)
    listing = await backup_places.list_place(host.environment, str(host.place))
    assert [each.id for each in listing.backups] == [each.id for each in made[4:]]
    for number in (4, 5):
        assert await restored(host, made[number], f"back{number}") == then[number]
    assert (await back_up(host)).kind is Kind.INCREMENTAL


async def test_a_place_that_is_gone_is_one_problem_among_backups(host: SimulatedHost, tmp_path: Path) -> None:
    await running(host)
    made = await back_up(host)
    other = tmp_path / "other"
    await finished(host, await backup.create(host.environment, "db", str(other), "/"))
    other.rename(tmp_path / "elsewhere")
    found, problems = await backup_places.list_all(host.environment)
    assert [each.backup.id for each in found] == [made.id]
    assert len(problems) == 1
    assert DirectoryStores().open(str(tmp_path / "elsewhere")).all().backups[0].domain == "db"
    with pytest.raises(WirtError):
        await backup_places.find(host.environment, "nothing", None)


async def told(host: SimulatedHost) -> str:
    """And kept in the backup."""
    job = await backup.create(host.environment, "db", str(host.place), "/")
    result = (await finished(host, job)).notes["result"]
    kept = (await backup_places.find(host.environment, result["backup"], None)).backup
    assert kept.consistency == result["consistency"]
    return str(result["consistency"])


async def test_file_systems_are_held_for_the_instant_and_what_happened_is_told(host: SimulatedHost) -> None:
    await running(host)
    guest = host.world.guest(host.environment.domains.find("db").uuid)
    assert guest.agent is not None
    guest.agent.file_systems = 2
    seen = []
    host.live_backup.at_instant = lambda: seen.append(guest.agent is not None and guest.agent.frozen)
    assert await told(host) == "filesystem"
    assert (seen, guest.agent.frozen) == ([True], False)
    host.world.fail(Verb.AGENT, Silence())
    assert await told(host) == "crash"
    assert not guest.agent.frozen
    guest.agent = None
    assert await told(host) == "crash"
    await finished(host, await destroy(host.environment, "db"))
    await host.assert_consistent()


async def test_of_a_domain_that_is_off_it_is_told_so(host: SimulatedHost) -> None:
    await off(host)
    assert await told(host) == "off"


async def test_file_systems_are_let_go_of_when_a_backup_can_not_begin(host: SimulatedHost) -> None:
    await running(host)
    guest = host.world.guest(host.environment.domains.find("db").uuid)
    assert guest.agent is not None
    guest.agent.file_systems = 2
    host.live_backup.failures.append(Shortage("no room"))
    job = await backup.create(host.environment, "db", str(host.place), "/")
    await finished(host, job, JobState.FAILED)
    assert not guest.agent.frozen


async def test_what_was_held_for_too_long_is_told_as_after_a_power_failure(host: SimulatedHost) -> None:
    await running(host)
    guest = host.world.guest(host.environment.domains.find("db").uuid)
    assert guest.agent is not None
    guest.agent.file_systems = 2
    host.live_backup.at_instant = guest.agent.thaw
    assert await told(host) == "crash"

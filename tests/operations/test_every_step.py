"""Every step of every operation is failed, crashed and cancelled, before and after it acts; afterwards the host
is as if nothing had been, or as if all had, and the same verb works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.operations.appliance_kit import APPLIANCE, machine
from tests.operations.devices_kit import ONE, two_devices
from tests.operations.kit import SimulatedHost, Strike, config, crash, fail

from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import ImageFormat, PoolConfig, PoolType, VolumeRef
from wirt.model.units import MIB
from wirt.operations import (
    backup,
    backup_prune,
    backup_restore,
    backup_verify,
    bootstrap,
    clone,
    disk_move,
    disk_qos,
    fork,
    import_domain,
    memory,
    network,
    pools_verbs,
    qos_verbs,
    refresh,
    save,
    save_restore,
    snapshots_verbs,
    template,
    vcpus,
    vif,
    vif_rate,
    volumes,
    volumes_copy,
)
from wirt.operations import export_domain as exporting
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.jobs.step import JobKind
from wirt.operations.start import start
from wirt.plan.backup import Keep
from wirt.plan.bootstrap import BootstrapWish
from wirt.plan.imports import ImportWish
from wirt.plan.networks_wishes import Wish
from wirt.ports.storage import ImageFacts
from wirt.storage.backup_store import DirectoryStores

Action = Callable[[SimulatedHost], Awaitable[object]]


async def nothing(host: SimulatedHost) -> None:
    pass


async def create_web(host: SimulatedHost) -> None:
    await host.create()


def with_action(text: str) -> Action:
    async def create_with(host: SimulatedHost) -> None:
        await host.create(text)

    return create_with


async def define_web(host: SimulatedHost) -> None:
    await define(host.environment, Source(config(), "web.cfg", "/cfg"))


async def start_web(host: SimulatedHost) -> None:
    await start(host.environment, "web")


async def destroy_web(host: SimulatedHost) -> None:
    await destroy(host.environment, "web")


async def power_off(host: SimulatedHost) -> None:
    host.world.guest(host.environment.domains.find("web").uuid).power_off()


async def panic(host: SimulatedHost) -> None:
    host.world.guest(host.environment.domains.find("web").uuid).panic()


async def two_cards(host: SimulatedHost) -> None:
    await host.create('vif = ["", "mac=00:16:3e:00:00:11,devid=4"]')


async def attach_card(host: SimulatedHost) -> None:
    await vif.attach(host.environment, "web", ["mac=00:16:3e:00:00:12"])


async def detach_card(host: SimulatedHost) -> None:
    await vif.detach(host.environment, "web", "0")


async def pull_cable(host: SimulatedHost) -> None:
    await vif.set_link(host.environment, "web", "4", up=False)


async def a_network(host: SimulatedHost) -> None:
    job = await network.create(host.environment, Wish("lan"))
    assert (await host.engine.wait(job.id)).state is JobState.DONE


async def make_network(host: SimulatedHost) -> None:
    await network.create(host.environment, Wish("lan"))


async def destroy_network(host: SimulatedHost) -> None:
    await network.destroy(host.environment, "lan")


async def submit_create(host: SimulatedHost) -> None:
    from wirt.operations.create import create

    await create(host.environment, Source(config(), "web.cfg", "/cfg"))


def volume(name: str) -> VolumeRef:
    return VolumeRef("default", name)


async def a_guest_with_a_disk(host: SimulatedHost) -> None:
    await a_volume(host)
    await host.create('disk = ["default/old,,xvda,rw"]', name="db")


async def a_backup(host: SimulatedHost) -> None:
    """Of a guest that runs, and has written since."""
    await a_guest_with_a_disk(host)
    await done(back_up)(host)
    next(iter(host.contents.values())).write(70_000, b"written since")


async def back_up(host: SimulatedHost) -> Job:
    return await backup.create(host.environment, "db", str(host.place), "/")


async def restore_backup(host: SimulatedHost) -> Job:
    return await backup_restore.restore(host.environment, newest_backup(host), "/", name="db2")


async def verify_backup(host: SimulatedHost) -> Job:
    return await backup_verify.verify(host.environment, newest_backup(host), "/", source=str(host.place))


async def boot_backup(host: SimulatedHost) -> Job:
    return await backup_verify.boot(host.environment, newest_backup(host), "/", source=str(host.place))


async def two_backups(host: SimulatedHost) -> None:
    await a_backup(host)
    await done(back_up)(host)


async def prune_backups(host: SimulatedHost) -> Job:
    return await backup_prune.prune(host.environment, Keep(last=1), "/", source=str(host.place))


def newest_backup(host: SimulatedHost) -> str:
    return DirectoryStores().open(str(host.place)).all().backups[-1].id


LAN_POOL = PoolConfig("fast", PoolType.FAKE, "/fast")
FILE = "/images/old.vmdk"


def done(submit: Callable[[SimulatedHost], Awaitable[Job]]) -> Action:
    async def to_the_end(host: SimulatedHost) -> None:
        job = await submit(host)
        assert (await host.engine.wait(job.id)).state is JobState.DONE

    return to_the_end


async def make_pool(host: SimulatedHost) -> Job:
    return await pools_verbs.create(host.environment, LAN_POOL)


async def destroy_pool(host: SimulatedHost) -> Job:
    return await pools_verbs.destroy(host.environment, "fast", delete_volumes=True)


async def a_full_pool(host: SimulatedHost) -> None:
    await done(make_pool)(host)
    await done(lambda host: volumes.create(host.environment, VolumeRef("fast", "base"), MIB))(host)
    await done(lambda host: volumes.clone(host.environment, VolumeRef("fast", "base"), "web"))(host)


async def make_volume(host: SimulatedHost) -> Job:
    return await volumes.create(host.environment, volume("new"), MIB)


async def a_volume(host: SimulatedHost) -> None:
    await done(lambda host: volumes.create(host.environment, volume("old"), MIB))(host)


async def a_volume_of_a_domain(host: SimulatedHost) -> None:
    await a_volume(host)
    source = Source(config("db", 'disk = ["default/old,,xvda,rw"]'), "db.cfg", "/cfg")
    await define(host.environment, source)


async def a_foreign_file(host: SimulatedHost) -> None:
    host.image_tool.images[FILE] = ImageFacts(ImageFormat.VMDK, MIB, MIB)


async def grow_volume(host: SimulatedHost) -> Job:
    return await volumes.resize(host.environment, volume("old"), 2 * MIB)


async def clone_volume(host: SimulatedHost) -> Job:
    return await volumes.clone(host.environment, volume("old"), "new")


async def copy_volume(host: SimulatedHost) -> Job:
    return await volumes_copy.copy(host.environment, volume("old"), volume("new"))


async def move_volume(host: SimulatedHost) -> Job:
    return await volumes_copy.move(host.environment, volume("old"), volume("new"))


async def a_domain_on_a_volume(host: SimulatedHost) -> None:
    await a_volume(host)
    await host.create('disk = ["default/old,,xvda,rw"]')


async def move_disk(host: SimulatedHost) -> Job:
    return await disk_move.move_disk(host.environment, "web", "xvda", volume("new"))


async def a_domain_and_a_device(host: SimulatedHost) -> None:
    await a_domain_on_a_volume(host)
    await two_devices(host)


async def move_onto_device(host: SimulatedHost) -> Job:
    return await disk_move.move_disk(host.environment, "web", "xvda", ONE, overwrite=True)


async def a_domain_on_a_device(host: SimulatedHost) -> None:
    await two_devices(host)
    await host.create(f'disk = ["{ONE},,xvda,rw"]')


async def a_file_and_a_device(host: SimulatedHost) -> None:
    await a_volume(host)
    await two_devices(host)


async def copy_onto_device(host: SimulatedHost) -> Job:
    return await volumes_copy.copy(host.environment, volume("old"), ONE, overwrite=True)


async def import_volume(host: SimulatedHost) -> Job:
    return await volumes_copy.import_file(host.environment, FILE, volume("new"))


async def export_volume(host: SimulatedHost) -> Job:
    path = "/nowhere/new.vmdk"
    return await volumes_copy.export_file(host.environment, volume("old"), path, ImageFormat.VMDK)


async def destroy_volume(host: SimulatedHost) -> Job:
    return await volumes.destroy(host.environment, volume("old"))


async def bootstrap_volume(host: SimulatedHost) -> None:
    await bootstrap.bootstrap(host.environment, BootstrapWish("debian", "web"), "default/web", "/images")


WITH_DISK = 'disk = ["default/web,,xvda,rw"]'


async def a_defined_web(host: SimulatedHost) -> None:
    await done(lambda host: volumes.create(host.environment, volume("web"), MIB))(host)
    await define(host.environment, Source(config("web", WITH_DISK), "web.cfg", "/cfg"))


async def a_running_web(host: SimulatedHost) -> None:
    await a_defined_web(host)
    await done(lambda host: start(host.environment, "web"))(host)


async def limit_disk(host: SimulatedHost) -> None:
    await disk_qos.limit(host.environment, "web", "xvda", {"iops": "100"})


async def limit_card(host: SimulatedHost) -> None:
    await vif_rate.set_rate(host.environment, "web", "4", {"rate": "10Mb/s"})


async def with_room(host: SimulatedHost) -> None:
    await host.create("maxmem = 512")


async def give_memory(host: SimulatedHost) -> None:
    await memory.set_memory(host.environment, "web", 300)


async def with_room_for_vcpus(host: SimulatedHost) -> None:
    await host.create("vcpus = 1\nmaxvcpus = 3")


async def give_vcpus(host: SimulatedHost) -> None:
    await vcpus.set_vcpus(host.environment, "web", 3)


async def a_class_with_a_domain(host: SimulatedHost) -> None:
    await done(lambda host: qos_verbs.define(host.environment, "gold", {"weight": "512", "iops": "100"}))(host)
    await a_domain_on_a_volume(host)
    await done(lambda host: qos_verbs.set_class(host.environment, "web", "gold"))(host)


async def destroy_class(host: SimulatedHost) -> None:
    await qos_verbs.destroy(host.environment, "gold", force=True)


async def a_class_and_a_domain(host: SimulatedHost) -> None:
    await done(lambda host: qos_verbs.define(host.environment, "silver", {"weight": "300", "bps": "1M"}))(host)
    await a_domain_on_a_volume(host)


async def name_class(host: SimulatedHost) -> None:
    await qos_verbs.set_class(host.environment, "web", "silver")


async def define_class(host: SimulatedHost) -> None:
    await qos_verbs.define(host.environment, "gold", {"weight": "512"})


async def a_snapshot_of_it(host: SimulatedHost) -> None:
    await a_running_web(host)
    await done(take_snapshot)(host)


async def a_snapshot_with_memory(host: SimulatedHost) -> None:
    await a_running_web(host)
    await done(lambda host: snapshots_verbs.create(host.environment, "web", "before", memory=True))(host)
    await done(lambda host: destroy(host.environment, "web"))(host)


async def a_snapshot_of_what_is_off(host: SimulatedHost) -> None:
    await done(lambda host: volumes.create(host.environment, volume("db"), MIB))(host)
    await define(host.environment, Source(config("db", 'disk = ["default/db,,xvda,rw"]'), "db.cfg", "/cfg"))
    await done(lambda host: snapshots_verbs.create(host.environment, "db", "before"))(host)


async def take_snapshot(host: SimulatedHost) -> Job:
    return await snapshots_verbs.create(host.environment, "web", "before")


async def grow_running_disk(host: SimulatedHost) -> Job:
    return await volumes.resize(host.environment, volume("web"), 2 * MIB)


async def revert_to_snapshot(host: SimulatedHost) -> Job:
    return await snapshots_verbs.revert(host.environment, "db", "before")


async def resume_from_snapshot(host: SimulatedHost) -> Job:
    return await snapshots_verbs.revert(host.environment, "web", "before")


async def delete_snapshot(host: SimulatedHost) -> Job:
    return await snapshots_verbs.delete(host.environment, "web", "before")


async def a_template(host: SimulatedHost) -> None:
    await a_volume_of_a_domain(host)
    await done(make_template)(host)


async def make_template(host: SimulatedHost) -> Job:
    return await template.create(host.environment, "db", "base")


async def template_to_domain(host: SimulatedHost) -> Job:
    return await template.to_domain(host.environment, "base")


async def destroy_template(host: SimulatedHost) -> Job:
    return await template.destroy(host.environment, "base", delete_volumes=True)


async def clone_template(host: SimulatedHost) -> Job:
    return await clone.clone(host.environment, clone.CloneRequest("base", "new", count=3))


async def fork_guest(host: SimulatedHost) -> Job:
    return await fork.fork(host.environment, "web", fork.ForkWish(count=3))


async def copy_domain(host: SimulatedHost) -> Job:
    return await clone.clone(host.environment, clone.CloneRequest("db", "new", count=3))


async def an_appliance(host: SimulatedHost) -> None:
    host.appliances.appliances[APPLIANCE] = machine("shop")


async def import_appliance(host: SimulatedHost) -> Job:
    return await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())


async def export_domain(host: SimulatedHost) -> Job:
    return await exporting.export(host.environment, "db", "/nowhere/db.ova", ImageFormat.VMDK)


def saved(host: SimulatedHost) -> str:
    return str(host.place.with_name("db.saved"))


async def save_guest(host: SimulatedHost) -> Job:
    return await save.save(host.environment, "db", save.SaveWish(saved(host)))


async def checkpoint_guest(host: SimulatedHost) -> Job:
    return await save.save(host.environment, "web", save.SaveWish(saved(host), running=True, force=True))


async def a_saved_guest(host: SimulatedHost) -> None:
    await a_guest_with_a_disk(host)
    await done(save_guest)(host)


async def restore_guest(host: SimulatedHost) -> Job:
    return await save_restore.restore(host.environment, save_restore.RestoreWish(saved(host)))


async def refresh_web(host: SimulatedHost) -> None:
    await refresh.refresh(host.environment, "web")
    for _ in range(20):
        await host.clock.advance(0.02)


@dataclass(frozen=True)
class Case:
    """``prepare`` sets the stage, ``act`` sets the operation going, ``ends_running`` is what success means."""

    kind: JobKind
    prepare: Action
    act: Action
    ends_running: bool


CASES = (
    Case(JobKind.CREATE, nothing, submit_create, True),
    Case(JobKind.START, define_web, start_web, True),
    Case(JobKind.DESTROY, create_web, destroy_web, False),
    Case(JobKind.END, create_web, power_off, False),
    Case(JobKind.RESTART, with_action('on_poweroff = "restart"'), power_off, True),
    Case(JobKind.RENAME_RESTART, with_action('on_poweroff = "rename-restart"'), power_off, True),
    Case(JobKind.DUMP_END, with_action('on_crash = "coredump-destroy"'), panic, False),
    Case(JobKind.DUMP_RESTART, with_action('on_crash = "coredump-restart"'), panic, True),
    Case(JobKind.SOFT_RESET, with_action('on_crash = "soft-reset"'), panic, True),
    Case(JobKind.VIF_ATTACH, two_cards, attach_card, True),
    Case(JobKind.VIF_DETACH, two_cards, detach_card, True),
    Case(JobKind.VIF_LINK, two_cards, pull_cable, True),
    Case(JobKind.VIF_RATE, two_cards, limit_card, True),
    Case(JobKind.NETWORK_CREATE, nothing, make_network, False),
    Case(JobKind.NETWORK_DESTROY, a_network, destroy_network, False),
    Case(JobKind.POOL_CREATE, nothing, make_pool, False),
    Case(JobKind.POOL_DESTROY, a_full_pool, destroy_pool, False),
    Case(JobKind.VOLUME_CREATE, nothing, make_volume, False),
    Case(JobKind.VOLUME_RESIZE, a_volume, grow_volume, False),
    Case(JobKind.VOLUME_CLONE, a_volume, clone_volume, False),
    Case(JobKind.VOLUME_COPY, a_volume, copy_volume, False),
    Case(JobKind.VOLUME_MOVE, a_volume_of_a_domain, move_volume, False),
    Case(JobKind.DISK_MOVE, a_domain_on_a_volume, move_disk, True),
    Case(JobKind.DISK_MOVE, a_domain_and_a_device, move_onto_device, True),
    Case(JobKind.DISK_MOVE, a_domain_on_a_device, move_disk, True),
    Case(JobKind.DISK_QOS, a_domain_on_a_volume, limit_disk, True),
    Case(JobKind.MEM_SET, with_room, give_memory, True),
    Case(JobKind.VCPU_SET, with_room_for_vcpus, give_vcpus, True),
    Case(JobKind.QOS, a_class_and_a_domain, name_class, True),
    Case(JobKind.QOS_CLASS, a_running_web, define_class, True),
    Case(JobKind.QOS_CLASS_DESTROY, a_class_with_a_domain, destroy_class, True),
    Case(JobKind.VOLUME_COPY, a_file_and_a_device, copy_onto_device, False),
    Case(JobKind.VOLUME_IMPORT, a_foreign_file, import_volume, False),
    Case(JobKind.VOLUME_EXPORT, a_volume, export_volume, False),
    Case(JobKind.VOLUME_DESTROY, a_volume, destroy_volume, False),
    Case(JobKind.VOLUME_RESIZE, a_running_web, grow_running_disk, True),
    Case(JobKind.SNAPSHOT_CREATE, a_running_web, take_snapshot, True),
    Case(JobKind.SNAPSHOT_REVERT, a_snapshot_of_what_is_off, revert_to_snapshot, False),
    Case(JobKind.SNAPSHOT_RESUME, a_snapshot_with_memory, resume_from_snapshot, True),
    Case(JobKind.SNAPSHOT_DELETE, a_snapshot_of_it, delete_snapshot, True),
    Case(JobKind.SAVE, a_guest_with_a_disk, save_guest, False),
    Case(JobKind.CHECKPOINT, a_domain_on_a_volume, checkpoint_guest, True),
    Case(JobKind.RESTORE, a_saved_guest, restore_guest, False),
    Case(JobKind.REFRESH, a_domain_on_a_volume, refresh_web, True),
    Case(JobKind.BOOTSTRAP, nothing, bootstrap_volume, False),
    Case(JobKind.TEMPLATE_CREATE, a_volume_of_a_domain, make_template, False),
    Case(JobKind.TEMPLATE_TO_DOMAIN, a_template, template_to_domain, False),
    Case(JobKind.TEMPLATE_DESTROY, a_template, destroy_template, False),
    Case(JobKind.CLONE, a_template, clone_template, False),
    Case(JobKind.CLONE, a_volume_of_a_domain, copy_domain, False),
    Case(JobKind.FORK, a_running_web, fork_guest, True),
    Case(JobKind.IMPORT, an_appliance, import_appliance, False),
    Case(JobKind.EXPORT, a_volume_of_a_domain, export_domain, False),
    Case(JobKind.BACKUP, a_guest_with_a_disk, back_up, False),
    Case(JobKind.BACKUP_RESTORE, a_backup, restore_backup, False),
    Case(JobKind.BACKUP_VERIFY, a_backup, verify_backup, False),
    Case(JobKind.BACKUP_BOOT, a_backup, boot_backup, False),
    Case(JobKind.BACKUP_PRUNE, two_backups, prune_backups, False),
)

STEPS = [(case, step.name) for case in CASES for step in OPERATIONS[case.kind].steps]
IDS = [f"{case.kind}-{step}" for case, step in STEPS]


def jobs_of(host: SimulatedHost, kind: JobKind) -> list[Job]:
    return [job for job in host.engine.all() if job.kind == kind]


def test_every_operation_that_there_is_has_a_case() -> None:
    of_two_hosts = {  # test_moves.py, test_moves_offline.py
        JobKind.MIGRATE,
        JobKind.RECEIVE,
        JobKind.MIGRATE_OFFLINE,
        JobKind.RECEIVE_OFFLINE,
    }
    assert {case.kind for case in CASES} == set(OPERATIONS) - {JobKind.BUILD_IMAGE} - of_two_hosts


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("case", "step"), STEPS, ids=IDS)
async def test_a_failed_step_leaves_nothing_half_done(tmp_path: Path, case: Case, step: str, when: str) -> None:
    host = SimulatedHost(tmp_path)
    hooks = Strike(case.kind, step, when, fail)
    await host.boot(hooks)
    await case.prepare(host)
    await case.act(host)
    await host.settle()
    assert hooks.struck
    assert jobs_of(host, case.kind)[0].state is JobState.FAILED
    assert "struck" in str(jobs_of(host, case.kind)[0].error)
    await host.clock.advance(10)
    await host.settle()
    await host.assert_consistent()
    if case.kind in (JobKind.CREATE, JobKind.START):
        await case.act(host)
        await host.settle()
        assert host.environment.domains.find("web").state is State.RUNNING
    await clean_up(host)
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("case", "step"), STEPS, ids=IDS)
async def test_a_crash_in_a_step_is_finished_or_undone_by_the_next_daemon(
    tmp_path: Path, case: Case, step: str, when: str
) -> None:
    host = SimulatedHost(tmp_path)
    hooks = Strike(case.kind, step, when, crash)
    await host.boot(hooks)
    await case.prepare(host)
    await case.act(host)
    await host.settle()
    assert hooks.struck
    await host.crash()
    await host.boot()
    await host.settle()
    await host.assert_consistent()
    domain = host.environment.domains.named("web")
    if case.kind in (JobKind.CREATE, JobKind.START):
        assert domain is None or domain.state is State.OFF, "an interrupted start is undone"
        await case.act(host)
        await host.settle()
        assert host.environment.domains.find("web").state is State.RUNNING
    elif case.ends_running:
        assert domain is not None
        assert domain.state is State.RUNNING, "what the guest's end demands is finished"
    else:
        assert domain is None
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("case", "step"), [(c, s) for c, s in STEPS if c.kind in (JobKind.CREATE, JobKind.START)])
async def test_a_cancelled_start_leaves_nothing(tmp_path: Path, case: Case, step: str, when: str) -> None:
    host = SimulatedHost(tmp_path)
    cancelling = []

    def cancel(job: Job) -> None:
        import asyncio

        cancelling.append(asyncio.ensure_future(host.engine.cancel(job.id)))

    await host.boot(Strike(case.kind, step, when, cancel))
    await case.prepare(host)
    await case.act(host)
    await host.settle()
    assert jobs_of(host, case.kind)[0].state is JobState.CANCELLED
    await host.assert_consistent()
    assert host.live_guests() == []
    await case.act(host)
    await host.settle()
    assert host.environment.domains.find("web").state is State.RUNNING
    await host.stop()


async def clean_up(host: SimulatedHost) -> None:
    """Whatever a failure left listed can still be destroyed, and then all is as before."""
    for domain in list(host.environment.domains):
        if domain.incarnation is not None:
            await destroy(host.environment, str(domain.uuid))
    await host.settle()
    assert host.live_guests() == []
    await host.assert_consistent()

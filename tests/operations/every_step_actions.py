"""What the cases of test_every_step do beforehand and ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.operations.appliance_kit import APPLIANCE, machine
from tests.operations.devices_kit import ONE, two_devices
from tests.operations.kit import SimulatedHost, config

from wirt.model.job import Job, JobState
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
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
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

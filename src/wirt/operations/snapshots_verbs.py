"""``wirt snapshot create``, ``revert`` and ``delete``: what can be known to be wrong is raised before there is a
job."""

from __future__ import annotations

from collections.abc import Iterator

from wirt.model.cpu import GivenCpu
from wirt.model.devices import DiskSpec
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, NameInUse, ResourceBusy
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.snapshots import KeptDisk, Snapshot, SnapshotTree, check_snapshot_name
from wirt.model.storage import Capability, VolumeRef
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.destroy import destroy
from wirt.operations.environment import Environment
from wirt.operations.given_memory import GIVEN, argument
from wirt.operations.jobs.step import JobKind
from wirt.operations.present import VCPUS
from wirt.operations.running import cpu_argument
from wirt.operations.snapshots_steps import live, written
from wirt.operations.volumes_domain import check_nothing_stands_on
from wirt.operations.volumes_steps import check_free
from wirt.plan.cpu import lacking, words
from wirt.plan.snapshots import kept_name

LIVE = (State.RUNNING, State.PAUSED)


async def create(
    environment: Environment, ref: str, name: str, *, memory: bool = False, description: str = ""
) -> Job:
    """All disks that the domain may write, at one instant; with ``memory`` the guest stands still while that is
    saved."""
    check_snapshot_name(name)
    domain = environment.domains.find(ref)
    tree = environment.snapshots.of(domain.uuid)
    if tree.get(name) is not None:
        raise NameInUse(
            f"domain {domain.name} has a snapshot {name}", hint=f"wirt snapshot delete {domain.name} {name}"
        )
    if not domain.persistent:
        raise IllegalState(
            f"domain {domain.name} is forgotten when it ends, and its snapshots would be left behind",
            hint="make it one that stays: wirt shutdown it, then wirt define FILE and wirt start",
        )
    check_settled(domain, tree)
    check_no_backup(environment, domain)
    _check_state(domain, memory=memory)
    disks = await disks_to_keep(environment, domain, name)
    if not disks and not memory:
        raise BadInput(f"domain {domain.name} has no disk that it may write, so there is nothing to keep")
    if domain.incarnation is not None and any(disk.layered for disk in disks):
        live(environment)
    arguments = {
        **_subject(domain, name),
        "disks": written(disks),
        "memory": memory,
        "description": description,
    }
    return await environment.jobs.submit(JobKind.SNAPSHOT_CREATE, domain.name, arguments)


async def revert(environment: Environment, ref: str, name: str, *, force: bool = False) -> Job:
    """The disks are as they were, and what they held since is gone; a snapshot with memory goes on from there.
    ``force`` ends a run first."""
    domain = environment.domains.find(ref)
    snapshot = environment.snapshots.find(domain, name)
    check_settled(domain, environment.snapshots.of(domain.uuid))
    check_no_backup(environment, domain)
    _check_disks(domain, snapshot)
    if snapshot.cpu is not None:
        await _check_cpu(environment, snapshot.cpu)
    for disk in snapshot.disks:
        await environment.pools.volume(VolumeRef.parse(disk.kept))
    if domain.incarnation is not None:
        if not force:
            raise IllegalState(
                f"domain {domain.name} is {domain.state}; what it did since {name} would be lost",
                hint=f"wirt shutdown {domain.name} first, or --force pulls the plug",
            )
        ended = await environment.jobs.wait((await destroy(environment, ref)).id)
        if ended.state is not JobState.DONE:
            raise IllegalState(f"domain {domain.name} could not be ended", hint="wirt jobs says why")
        domain = environment.domains.find(str(domain.uuid))
    arguments = {**_subject(domain, name), "disks": written(snapshot.disks)}
    if snapshot.memory is None:
        return await environment.jobs.submit(JobKind.SNAPSHOT_REVERT, domain.name, arguments)
    arguments |= {"memory": snapshot.memory, "paused": snapshot.paused}
    arguments |= {GIVEN: argument(snapshot.given), VCPUS: snapshot.vcpus}
    if snapshot.cpu is not None:
        arguments["cpu"] = cpu_argument(snapshot.cpu)
    return await environment.jobs.submit(JobKind.SNAPSHOT_RESUME, domain.name, arguments)


async def _check_cpu(environment: Environment, cpu: GivenCpu) -> None:
    """This host may have had another hypervisor then."""
    offer = (await environment.hypervisor.facts()).cpu
    lacks = () if offer is None else lacking(cpu, offer)
    if lacks:
        raise IllegalState(
            f"the guest in that snapshot has a CPU with {words(lacks)}, and this host can't give it that any more",
            hint="wirt cpu list shows what it can give",
        )


async def delete(environment: Environment, ref: str, name: str) -> Job:
    """The disks stay as they are; one whose removal has begun is removed to the end."""
    domain = environment.domains.find(ref)
    snapshot = environment.snapshots.find(domain, name)
    unfinished = environment.snapshots.of(domain.uuid).unfinished
    if unfinished and unfinished != name:
        check_settled(domain, environment.snapshots.of(domain.uuid))
    check_no_backup(environment, domain)
    if domain.incarnation is not None:
        live(environment)
    arguments = {**_subject(domain, name), "disks": written(snapshot.disks)}
    return await environment.jobs.submit(JobKind.SNAPSHOT_DELETE, domain.name, arguments)


def check_settled(domain: Domain, tree: SnapshotTree) -> None:
    """``IllegalState`` while a removal is half done: its images are no state to build on."""
    unfinished = tree.unfinished
    if unfinished:
        raise IllegalState(
            f"the removal of snapshot {unfinished} of domain {domain.name} did not come to its end",
            hint=f"wirt snapshot delete {domain.name} {unfinished}",
        )


def _subject(domain: Domain, name: str) -> dict[str, object]:
    return {"uuid": str(domain.uuid), "domid": domain.domid, "name": name}


def _check_state(domain: Domain, *, memory: bool) -> None:
    if domain.incarnation is not None and domain.state not in LIVE:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint="wait until it is off, or running")
    if memory and domain.incarnation is None:
        raise IllegalState(
            f"domain {domain.name} is off, and has no memory",
            hint="leave --memory out: its disks are all there is",
        )


def _check_disks(domain: Domain, snapshot: Snapshot) -> None:
    """With its memory the configuration of then comes back; without, that of now has to fit."""
    have = {disk.vdev: disk.volume for disk in domain.config.disks}
    for disk in snapshot.disks:
        if snapshot.memory is None and have.get(disk.vdev) != disk.volume:
            raise IllegalState(
                f"disk {disk.vdev} of domain {domain.name} was {disk.volume} in snapshot {snapshot.name}, "
                f"and is {have.get(disk.vdev) or 'not there'} now",
                hint=f"give it that disk again, or copy what was kept: wirt volume copy {disk.kept} POOL/VOLUME",
            )


async def disks_to_keep(environment: Environment, domain: Domain, name: str) -> tuple[KeptDisk, ...]:
    """Those that it may write, with the volumes that are to keep them."""
    taken: dict[str, set[str]] = {}
    disks = []
    for spec, ref in _writable(domain):
        pool = await environment.pools.open(ref.pool)
        layered = Capability.SNAPSHOT not in pool.capabilities
        if layered and Capability.LAYERS not in pool.capabilities:
            raise BadInput(
                f"{ref.pool} is a {pool.config.type} pool, which keeps no snapshots",
                hint="dir, nfs and lvmthin pools do; wirt volume copy makes a whole copy while the domain is off",
            )
        volume = await pool.find(ref.volume)
        if layered and not volume.path.startswith("/"):
            raise BadInput(
                f"{ref} is opened by QEMU itself, over the network; no new image can be put on it",
                hint="mount the pool with the kernel's NFS client",
            )
        if domain.incarnation is None:
            check_free(environment, ref, writes=True)
        await check_nothing_stands_on(environment, ref)
        names = taken.setdefault(ref.pool, {each.name for each in await pool.volumes()})
        kept = kept_name(ref.volume, name, names)
        names.add(kept)
        disks.append(KeptDisk(spec.vdev, str(ref), f"{ref.pool}/{kept}", layered))
    return tuple(disks)


def _writable(domain: Domain) -> Iterator[tuple[DiskSpec, VolumeRef]]:
    for disk in domain.config.disks:
        if not disk.writable or disk.cdrom:
            continue
        if disk.volume is None:
            raise BadInput(
                f"disk {disk.vdev} of domain {domain.name} is {disk.target}, which is in no storage pool",
                hint="put it into one: wirt volume import POOL/VOLUME FILE, and name that in the configuration",
            )
        if disk.specification == "shared":
            raise ResourceBusy(
                f"disk {disk.vdev} of domain {domain.name} is shared with others, who would go on in the old one"
            )
        yield disk, VolumeRef.parse(disk.volume)

"""A domain's volumes: taken before its run and let go of after it."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from wirt.model.devices import DiskSpec
from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, ResourceBusy
from wirt.model.storage import Holder, VolumeRef
from wirt.operations.environment import Environment


def volumes_of(disks: tuple[DiskSpec, ...], holder: Holder) -> dict[VolumeRef, Holder]:
    """What each volume among ``disks`` is held as, in the name of ``holder``; two entries of one volume are held
    as the one that asks for more."""
    wanted: dict[VolumeRef, Holder] = {}
    for disk in disks:
        if disk.volume is None:
            continue
        ref, writes = VolumeRef.parse(disk.volume), disk.writable and not disk.cdrom
        before = wanted.get(ref)
        wanted[ref] = Holder(
            host=holder.host,
            domain=holder.domain,
            epoch=holder.epoch,
            job=holder.job,
            writes=writes or (before is not None and before.writes),
            together=disk.specification == "shared",
        )
    return wanted


def holder_of(environment: Environment, domain: Domain) -> Holder:
    return Holder(environment.pools.holders.host, str(domain.uuid), domain.epoch)


def names_of(environment: Environment) -> Mapping[str, str]:
    """Of the domains, by UUID: for those who are told who has a volume."""
    return {str(domain.uuid): domain.name for domain in environment.domains}


async def claim_volumes(environment: Environment, domain: Domain) -> None:
    """All volumes of ``domain``, ready to be opened. ``ResourceBusy`` names who has one, or what stands on it:
    then none is taken. What the domain has already stays its own."""
    wanted = volumes_of(domain.config.disks, holder_of(environment, domain))
    if not wanted:
        return
    check_names_settled(environment, domain)
    for ref, holder in wanted.items():
        environment.pools.check_open_to_all(ref.pool)
        if holder.writes:
            await check_nothing_stands_on(environment, ref, domain.name)
    before = environment.pools.holders.held_by(str(domain.uuid))
    await environment.pools.holders.claim(wanted, names_of(environment))
    try:
        for ref in wanted:
            await environment.pools.activate(ref)
    except BaseException:
        new = tuple(ref for ref in wanted if ref not in before)
        await _release(environment, str(domain.uuid), new)
        raise


def check_names_settled(environment: Environment, domain: Domain) -> None:
    """``IllegalState`` if what a disk is now lies under the name that a snapshot's removal was to take away."""
    tree = environment.snapshots.of(domain.uuid)
    for disk in tree.disks():
        if disk.current:
            raise IllegalState(
                f"disk {disk.vdev} of domain {domain.name} is in {disk.kept}: a snapshot's removal did not end",
                hint=f"wirt snapshot delete {domain.name} {tree.unfinished}",
            )


async def release_volumes(environment: Environment, uuid: UUID) -> None:
    """Whatever the domain had. Those that nobody of this host has now are deactivated first: once the record is
    gone, another host may want it."""
    await _release(environment, str(uuid), environment.pools.holders.held_by(str(uuid)))


async def release_some(environment: Environment, uuid: str, refs: tuple[VolumeRef, ...]) -> None:
    """Volumes that a domain which goes on has no more."""
    held = environment.pools.holders.held_by(uuid)
    await _release(environment, uuid, tuple(ref for ref in refs if ref in held))


async def _release(environment: Environment, who: str, refs: tuple[VolumeRef, ...]) -> None:
    holders = environment.pools.holders
    for ref in refs:
        others = (each for each in holders.of(ref) if each.who != who and not each.template)
        if not any(each.host == holders.host for each in others):
            await environment.pools.deactivate(ref)
    if refs:
        await holders.release(who, refs)


async def release_forgotten(environment: Environment) -> None:
    """What is held on this host by a domain that does not run here, or by a job that is over: an undo that failed
    left it. While jobs are at work nothing is touched."""
    pools, jobs = environment.pools, environment.jobs.all()
    if any(not job.state.finished for job in jobs):
        return
    running = {str(each.uuid) for each in environment.domains if each.incarnation is not None or each.template}
    here = {holder.who: holder for _, holder in pools.holders if holder.host == pools.holders.host}
    for who, holder in here.items():
        if holder.domain not in running:
            await _release(environment, who, pools.holders.held_by(who))


async def check_nothing_stands_on(environment: Environment, ref: VolumeRef, domain: str | None = None) -> None:
    """``ResourceBusy`` if other volumes share blocks with this one, which must stay as it is then. ``domain`` is
    who wants to write it."""
    pool = await environment.pools.open(ref.pool)
    above = [volume.name for volume in await pool.volumes() if volume.backing == ref.volume]
    if above:
        more = f" and {len(above) - 3} more" if len(above) > 3 else ""
        raise ResourceBusy(
            f"volume {ref} is what {', '.join(above[:3])}{more} stand on, so nothing may write it",
            hint="give the domain a clone of it (wirt volume clone), or read-only access (ro)"
            + (f"; or keep it for clones: wirt template create {domain}" if domain is not None else ""),
        )

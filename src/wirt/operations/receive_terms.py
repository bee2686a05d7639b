"""What a host makes of a domain that another one offers it: everything that speaks against it, before anything is
done, and where its disks would be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from uuid import UUID

from wirt.config.xlcfg import load
from wirt.model.cpu import MOST_FEATURES, GivenCpu, is_feature, parse_choice
from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain, DomainConfig, Wanted
from wirt.model.errors import BadInput, NotFound, ResourceBusy, Shortage, WirtError
from wirt.model.memory import GivenMemory
from wirt.model.migration import Remark
from wirt.model.storage import VolumeRef
from wirt.operations.checks import check_disks_free, check_files
from wirt.operations.environment import Environment
from wirt.operations.pools import DEFAULT_POOL
from wirt.operations.receive_files import place_files
from wirt.operations.receive_layers import check_layers, place_layers, takes_layers
from wirt.operations.volumes_copy import renamed
from wirt.operations.volumes_steps import check_absent, check_can_create
from wirt.plan.launch import LaunchPlan
from wirt.plan.migration import Side, between
from wirt.wire.v1_incoming import Offer, OfferedDisk, PlacedFile, Placement

MOST_MIB, MOST_PADDING_KIB = 1 << 34, 1024


@dataclass(frozen=True, slots=True)
class Considered:
    """``domain`` as it would be here. ``plan`` is of what is here already; ``None`` if there can be none."""

    domain: Domain
    remarks: tuple[Remark, ...]
    placements: tuple[Placement, ...]
    plan: LaunchPlan | None
    files: tuple[PlacedFile, ...] = ()


async def consider(environment: Environment, offer: Offer) -> Considered:
    """``BadInput`` if the offer can't be understood."""
    domain, given = read(environment, offer), None if offer.offline else given_of(offer)
    remarks = list(_check_names(environment, domain))
    placements = []
    for disk in offer.disks:
        try:
            placement, found = await _place(environment, offer, disk)
        except WirtError as error:
            placement, found = None, [Remark(True, f"disk {disk.vdev}: {error.message}", error.hint)]
        remarks += found
        if placement is not None:
            placements.append(placement)
    placed, wrong = _moved(domain, offer, placements)
    files = await place_files(environment, offer, placed)
    placed, plan = files.domain, None
    remarks += files.remarks
    here = _with_what_is_here(placed, placements)
    remarks += _check_class(environment, here)
    try:
        check_files(environment, _with_files_of(here.config, files.here))
        await check_disks_free(environment, here.uuid, here.config)
        memory, vcpus = (None, None) if offer.offline else (memory_of(offer), offer.vcpus)
        plan = await environment.plan(here, 0, given=given, memory=memory, vcpus=vcpus)
    except WirtError as error:
        needed = offer.start or not offer.offline or not isinstance(error, Shortage | ResourceBusy)
        wrong.append(Remark(needed, error.message, error.hint))
    remarks += wrong
    if plan is not None and given is not None:
        version = tuple(offer.hypervisor_version)
        source = Side(offer.source, version, offer.accelerator, offer.machine, given)
        remarks += between(source, await side(environment, plan))
    if offer.course.postcopy and not offer.offline:
        remarks += await no_postcopy(environment)
    return Considered(placed, tuple(remarks), tuple(placements), plan, files.files)


def _check_class(environment: Environment, domain: Domain) -> list[Remark]:
    """A class is what each host says it is, so one that is not known here promises nothing."""
    name, host = domain.config.qos, environment.machine.name
    if name is None or environment.qos_classes.get(name) is not None:
        return []
    remedy = f"define it there: wirt qos-class define {name}; or wirt qos {domain.name} none"
    return [Remark(True, f"{host} has no class of service {name}", remedy)]


async def no_postcopy(environment: Environment) -> list[Remark]:
    """What keeps a guest from going over early, on this side."""
    if environment.live_migrations is None:
        return []
    why = await environment.live_migrations.no_postcopy()
    host = environment.machine.name
    return [] if why is None else [Remark(True, f"no post-copy on {host}: {why}", "leave --postcopy out")]


async def side(environment: Environment, plan: LaunchPlan) -> Side:
    facts = await environment.hypervisor.facts()
    given = GivenCpu(plan.cpu_model)
    name, accelerator = environment.machine.name, str(plan.accelerator)
    return Side(name, facts.version, accelerator, plan.machine, given, facts.cpu, plan.padding_kib)


def given_of(offer: Offer) -> GivenCpu:
    """The CPU that the guest has. ``BadInput`` if it can be none."""
    parse_choice(offer.cpu_model)
    if len(offer.cpu_features) > MOST_FEATURES or not all(map(is_feature, offer.cpu_features)):
        raise BadInput(f"the offer of {offer.name} tells of a CPU that could not be")
    return GivenCpu(offer.cpu_model, frozenset(offer.cpu_features), offer.cpu_identity[:200])


def memory_of(offer: Offer) -> GivenMemory:
    """What the guest's memory is. ``BadInput`` if it can't be."""
    sizes = (offer.memory_mib, offer.hotplug_mib)
    if not all(0 <= mib <= MOST_MIB for mib in sizes) or not 0 <= offer.padding_kib <= MOST_PADDING_KIB:
        raise BadInput(f"the offer of {offer.name} tells of memory that could not be")
    return GivenMemory(offer.memory_mib or None, offer.padding_kib, offer.free_page_reporting, offer.hotplug_mib)


def read(environment: Environment, offer: Offer) -> Domain:
    """The domain as it is on the source, with the epoch that it has here."""
    loaded = load(offer.text, file=f"<offer of {offer.source}>", cwd=PurePosixPath("/"))
    if loaded.config.name != offer.name:
        raise BadInput(f"the offer is of {offer.name}, and the configuration in it of {loaded.config.name}")
    return Domain(
        uuid=UUID(offer.uuid),
        config=loaded.config,
        text=offer.text,
        persistent=offer.persistent,
        wanted=Wanted.ON if offer.start or not offer.offline else Wanted.OFF,
        epoch=offer.epoch,
        created_at=offer.created_at or environment.clock.now(),
    )


def _check_names(environment: Environment, domain: Domain) -> list[Remark]:
    named, same = environment.domains.named(domain.name), environment.domains.get(domain.uuid)
    host = environment.machine.name
    if same is not None:
        return [Remark(True, f"{host} has a domain with the UUID {domain.uuid} already, {same.name}", None)]
    if named is not None or domain.name == "Domain-0":
        remedy = f"wirt rename {domain.name} OTHER, on either host"
        return [Remark(True, f"{host} has a domain called {domain.name} already", remedy)]
    return []


async def _place(
    environment: Environment, offer: Offer, disk: OfferedDisk
) -> tuple[Placement | None, list[Remark]]:
    if disk.volume is None and disk.path is None:
        return Placement(disk.vdev, shared=True), []
    if disk.copied:
        return await _place_copy(environment, disk)
    volume = None if disk.volume is None else VolumeRef.parse(disk.volume)
    path = disk.path
    if volume is not None:
        try:
            path = (await environment.pools.volume(volume)).path
        except NotFound as error:
            return None, [_elsewhere(environment, offer, disk, error.message)]
    shared = disk.proof is not None and await _sees(environment, path, disk.proof)
    if not shared and disk.writable:
        why = f"{disk.volume or disk.path} is not the same one on {environment.machine.name}"
        return None, [_elsewhere(environment, offer, disk, why)]
    # What is only read need not be the same, only there (check_files, or the pool, says so).
    remarks = []
    if not shared:
        what = f"disk {disk.vdev} is read only, and its content on {environment.machine.name} is not compared"
        remarks.append(Remark(False, what, None))
    return Placement(disk.vdev, shared=True, volume=disk.volume), remarks


async def _sees(environment: Environment, path: str | None, proof: str) -> bool:
    if path is None or environment.storage is None:
        return False
    return await environment.storage.sees_proof(path, proof)


def _elsewhere(environment: Environment, offer: Offer, disk: OfferedDisk, why: str) -> Remark:
    if disk.volume is None:
        remedy = (
            f"put it into a pool (wirt volume import, wirt disk-move), then move it along: "
            f"wirt migrate {offer.name} {environment.machine.name} --with-storage"
        )
    else:
        remedy = (
            f"wirt migrate {offer.name} {environment.machine.name} --with-storage takes it along; "
            "or keep it in a pool that both hosts have (nfs)"
        )
    return Remark(True, f"disk {disk.vdev}: {why}", remedy)


async def _place_copy(environment: Environment, disk: OfferedDisk) -> tuple[Placement, list[Remark]]:
    """In the pool that was asked for; else in the one of the same name, or in the default one."""
    ref = _target(environment, disk)
    environment.pools.check_open_to_all(ref.pool)
    pool = await environment.pools.open(ref.pool)
    check_can_create(pool, DiskFormat(disk.format) if DiskFormat(disk.format) in pool.formats else None)
    await check_absent(pool, ref.volume)
    check_layers(disk)
    remarks, layers = [], []
    if disk.layers and takes_layers(pool, disk):
        layers = await place_layers(environment, pool, disk)
    elif disk.layers:
        what = f"disk {disk.vdev} becomes one whole image: the {pool.config.type} pool {ref.pool} has no layers"
        remarks.append(Remark(False, what, "name another pool (--to-pool), or be content (--flatten)"))
    available = (await pool.usage()).available
    if available < disk.size:
        remarks.append(
            Remark(
                False,
                f"disk {disk.vdev} may grow to {disk.size} bytes, and pool {ref.pool} has {available} free",
                "make room, or name another pool: --to-pool",
            )
        )
    return Placement(disk.vdev, shared=False, volume=str(ref), layers=layers), remarks


def _target(environment: Environment, disk: OfferedDisk) -> VolumeRef:
    if disk.into is not None:
        return VolumeRef.parse(disk.into)
    if disk.volume is None:
        raise BadInput(f"disk {disk.vdev} is no volume of a pool, and can't be taken along")
    old = VolumeRef.parse(disk.volume)
    return old if old.pool in environment.pools.names() else VolumeRef(DEFAULT_POOL, old.volume)


def _moved(domain: Domain, offer: Offer, placements: list[Placement]) -> tuple[Domain, list[Remark]]:
    """With the names that its volumes have here."""
    was = {disk.vdev: disk.volume for disk in offer.disks}
    for placement in placements:
        old, new = was[placement.vdev], placement.volume
        if old is not None and new is not None and old != new:
            try:
                loaded = renamed(domain, VolumeRef.parse(old), VolumeRef.parse(new))
            except WirtError as error:
                return domain, [Remark(True, error.message, error.hint)]
            domain = replace(domain, config=loaded.config, text=loaded.text)
    return domain, []


def _with_files_of(config: DomainConfig, other: DomainConfig) -> DomainConfig:
    """What ``other`` starts from, instead of what ``config`` does."""
    return replace(config, kernel=other.kernel, ramdisk=other.ramdisk, firmware_path=other.firmware_path)


def _with_what_is_here(domain: Domain, placements: list[Placement]) -> Domain:
    """For a plan: what is to be copied is not there yet, and of what has no place it has been told."""
    shared = {placement.vdev for placement in placements if placement.shared}
    disks = tuple(disk for disk in domain.config.disks if disk.vdev in shared)
    return replace(domain, config=replace(domain.config, disks=disks))

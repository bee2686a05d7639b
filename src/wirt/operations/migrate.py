"""``wirt migrate``: a domain to another host. Here it is planned, and everything that speaks against it is
found before anything moves; ``migrate_steps`` does it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from wirt.model.cpu import GivenCpu
from wirt.model.devices import VifKind
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, WirtError
from wirt.model.job import Job
from wirt.model.lifecycle import State
from wirt.model.migration import Forecast, Remark
from wirt.model.storage import VolumeRef
from wirt.model.units import MIB
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.boot_files import offered_files
from wirt.operations.environment import Environment
from wirt.operations.given_memory import huge_pages
from wirt.operations.jobs.step import JobKind
from wirt.operations.memory_grants import most_of
from wirt.operations.migrate_layers import brings_nothing, flattened, offered_layers
from wirt.operations.moving import move_of, settled
from wirt.operations.present import vcpus_of_run
from wirt.operations.receipts import receipts
from wirt.operations.receive import live_of, peers_of
from wirt.operations.receive_terms import no_postcopy, side
from wirt.plan.migration import forecast, forecast_offline, leaving
from wirt.ports.hypervisor import given_cpu
from wirt.ports.peers import Peer
from wirt.wire.v1_incoming import Offer, OfferedCourse, OfferedDisk, Terms

SAMPLE_S = 0.25
"""For so long it is watched how fast a guest changes its memory."""
TERMS_S = 30.0
SLOWEST_READ = 20 * MIB
"""Bytes a second."""
POSTCOPY = ("auto", "never", "now")
LEAST_DOWNTIME_MS, MOST_DOWNTIME_MS = 1, 2_000_000
LONGEST_SHUTDOWN_S = 86400.0
LIVE = (State.RUNNING, State.PAUSED)


_TERMS = TypeAdapter(Terms)


@dataclass(frozen=True, slots=True)
class MoveWish:
    """``target`` as :meth:`wirt.ports.peers.Peers.reach` takes it. ``with_storage``: disks come along, into
    ``to_pool`` if one is named. ``keep``: what was copied stays here too. ``flatten``: each as one whole image.
    ``postcopy``: one of :data:`POSTCOPY`. ``offline``: it is off, or is shut down first, for which it has
    ``timeout_s``, and started there. ``batch`` names those that are moved by one command, ``at_once`` of them side
    by side."""

    target: str
    with_storage: bool = False
    to_pool: str | None = None
    bytes_per_s: int | None = None
    max_downtime_ms: int = 300
    compress: bool = False
    postcopy: str = "never"
    keep: bool = False
    offline: bool = False
    timeout_s: float = 120.0
    batch: str | None = None
    at_once: int | None = None
    flatten: bool = False


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What would be done. ``remarks``: both hosts'; any that ``blocks`` keeps it from being done."""

    offer: Offer
    terms: Terms
    remarks: tuple[Remark, ...]
    forecast: Forecast


async def plan_move(environment: Environment, ref: str, wish: MoveWish) -> MovePlan:
    """Ask both sides; nothing is done but a mark beside each shared disk for as long as it takes."""
    domain = _movable(environment, ref, wish)
    peer = await peers_of(environment).reach(wish.target)
    try:
        return await _plan(environment, domain, wish, peer)
    finally:
        await peer.close()


async def migrate(environment: Environment, ref: str, wish: MoveWish) -> Job:
    """``IllegalState`` with the first thing that blocks it, and its remedy."""
    planned = await plan_move(environment, ref, wish)
    blocking = [remark for remark in planned.remarks if remark.blocks]
    if blocking:
        more = f" (and {len(blocking) - 1} more: --dry-run shows all)" if len(blocking) > 1 else ""
        raise IllegalState(f"{blocking[0].what}{more}", hint=blocking[0].remedy)
    domain = _movable(environment, ref, wish)
    arguments: dict[str, Any] = {
        "uuid": planned.offer.uuid,
        "domid": domain.domid,
        "target": wish.target,
        "host": planned.terms.host,
        "handover": planned.offer.handover,
        "copies": [disk.volume for disk in planned.offer.disks if disk.copied],
        "wish": asdict(wish),
        "forecast": asdict(planned.forecast),
        "turns": planned.terms.takes_turns,
        "brings": planned.terms.brings_offline,
        "remarks": [asdict(remark) for remark in planned.remarks],
    }
    kind = JobKind.MIGRATE_OFFLINE if wish.offline else JobKind.MIGRATE
    return await environment.jobs.submit(kind, domain.name, arguments)


async def take_back(environment: Environment, ref: str) -> Job:
    """The other host is lost for good, as the caller swears, and so can't have the guest: it goes on here. If that
    is not so, two run."""
    domain = environment.domains.find(ref)
    move = move_of(domain)
    for job in environment.jobs.all():
        moves = job.kind in (JobKind.MIGRATE, JobKind.MIGRATE_OFFLINE) and not job.state.finished
        if moves and job.arguments["uuid"] == str(domain.uuid):
            environment.taken_back.add(job.arguments["handover"])
            return job
    if move is None or not move.leaves:
        raise IllegalState(f"domain {domain.name} is on its way to no other host")
    environment.taken_back.add(move.handover)
    return await conclude_move(environment, domain)


async def conclude_move(environment: Environment, domain: Domain) -> Job:
    """A move whose job could not bring it to an end: ask the other host how it ended, until it says so."""
    move = move_of(domain)
    assert move is not None and move.target is not None
    arguments: dict[str, Any] = {
        "uuid": str(domain.uuid),
        "domid": domain.domid,
        "target": move.target,
        "host": move.host,
        "handover": move.handover,
        "wish": asdict(MoveWish(move.target)),
        "copies": [],
        "conclude": True,
    }
    return await environment.jobs.submit(JobKind.MIGRATE, domain.name, arguments)


def _movable(environment: Environment, ref: str, wish: MoveWish) -> Domain:
    domain = environment.domains.find(ref)
    if wish.at_once is not None and wish.at_once < 1:
        raise BadInput(f"{wish.at_once} domains at once are none", hint="as in --at-once 2")
    if wish.offline:
        _check_offline(domain, wish)
    else:
        live_of(environment)
        _check_live(domain, wish)
    if wish.postcopy not in POSTCOPY:
        raise BadInput(f"--postcopy can't be {wish.postcopy}", hint=" or ".join(POSTCOPY))
    if not LEAST_DOWNTIME_MS <= wish.max_downtime_ms <= MOST_DOWNTIME_MS:
        raise BadInput(f"{wish.max_downtime_ms} ms is no downtime", hint="as in 300")
    if wish.to_pool is not None and not wish.with_storage:
        raise BadInput("a pool is named, and no disk comes along", hint="--with-storage")
    if wish.flatten and not wish.with_storage:
        raise BadInput("--flatten is about disks, and none comes along", hint="--with-storage")
    check_no_backup(environment, domain)
    return settled(domain)


def _check_live(domain: Domain, wish: MoveWish) -> None:
    if domain.incarnation is None:
        hint = f"wirt migrate --offline {domain.name} {wish.target} moves it as it is"
        raise IllegalState(f"domain {domain.name} is off", hint=hint)
    if domain.state not in LIVE:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt destroy {domain.name} ends it")


def _check_offline(domain: Domain, wish: MoveWish) -> None:
    if not 0 < wish.timeout_s <= LONGEST_SHUTDOWN_S:
        raise BadInput(f"{wish.timeout_s:g} s is no time for a shutdown", hint="as in --timeout 120")
    if domain.template:
        hint = f"wirt template to-domain {domain.name} makes it a domain again"
        raise IllegalState(f"{domain.name} is a template, on which others may stand", hint=hint)
    if domain.state is State.PAUSED:  # it would not notice its power button
        hint = f"wirt unpause {domain.name}, or leave --offline out"
        raise IllegalState(f"domain {domain.name} is paused", hint=hint)
    if domain.incarnation is not None and domain.state is not State.RUNNING:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt destroy {domain.name} ends it")


async def _plan(environment: Environment, domain: Domain, wish: MoveWish, peer: Peer) -> MovePlan:
    offer = await make_offer(environment, domain, wish, environment.new_uuid().hex)
    offer = await lay_proofs(environment, offer)
    sampling = asyncio.create_task(_dirty_rate(environment, domain, wish))
    try:
        user_cards = sum(vif.kind is VifKind.USER for vif in domain.config.vifs)
        remarks = list(leaving(domain, environment.snapshots.of(domain.uuid), user_cards=user_cards))
        remarks += await flattened(environment, offer)
        if wish.postcopy != "never" and not wish.offline:
            remarks += await no_postcopy(environment)
        if peer.name == environment.machine.name:
            remarks.append(Remark(True, f"{wish.target} is this host, {peer.name}", "name another one"))
        answer = await peer.call("POST", "/v1/incoming/terms", asdict(offer), deadline_s=_terms_s(offer))
        terms = _TERMS.validate_python(answer)
        dirty = await sampling
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        await take_proofs(environment, domain, offer.handover)
    remarks += _of_an_older_wirt(domain, wish, offer, terms)
    remarks += [Remark(each.blocks, each.what, each.remedy) for each in terms.remarks]
    return MovePlan(offer, terms, tuple(remarks), await _forecast(environment, domain, wish, terms.host, dirty))


def _of_an_older_wirt(domain: Domain, wish: MoveWish, offer: Offer, terms: Terms) -> list[Remark]:
    """What the other host does not know of, and would do wrong."""
    remarks, install = [], "install the same wirt on both hosts"

    def lacks(what: str, remedy: str = install, *, blocks: bool = True) -> None:
        remarks.append(Remark(blocks, f"{terms.host} has an older wirt, which {what}", remedy))

    if wish.offline and not terms.takes_offline:
        lacks("takes no domain that is off")
    elif wish.offline and not terms.brings_offline:
        remarks += brings_nothing(offer, terms)
    anew = f"{install}, or start {domain.name} anew"
    if offer.vcpus not in (None, domain.config.vcpus) and not terms.counts_vcpus:
        lacks("knows nothing of vCPUs that were plugged in or taken offline", anew)
    if not terms.keeps_memory:
        if offer.memory_mib not in (0, domain.config.most_mib):
            lacks("knows nothing of memory of another size than the configuration says", anew)
        if offer.free_page_reporting:
            off = f"{anew} with free_page_reporting = 0"
            lacks("knows nothing of balloons that report free pages, as this one does", off)
    if offer.hotplug_mib and not terms.plugs_memory:
        lacks("knows nothing of memory that is plugged in", f"{anew} without hotplug_memory")
    if offer.cpu_features and not terms.compares_cpus:
        lacks("compares no CPUs", blocks=False)
    return remarks


def _terms_s(offer: Offer) -> float:
    """The other host may have to read what it has, to see whether that is the same."""
    return TERMS_S + sum(layer.length for disk in offer.disks for layer in disk.layers) / SLOWEST_READ


async def _dirty_rate(environment: Environment, domain: Domain, wish: MoveWish) -> int | None:
    """``None`` if it can't be found out, or does not matter."""
    if wish.offline or domain.state is not State.RUNNING:
        return None
    try:
        return await live_of(environment).dirty_rate(domain.uuid, SAMPLE_S)
    except WirtError:
        return None


async def _forecast(
    environment: Environment, domain: Domain, wish: MoveWish, host: str, dirty: int | None
) -> Forecast:
    if wish.offline:
        return forecast_offline(domain.state is State.RUNNING)
    return forecast(
        _taken_bytes(environment, domain),
        dirty,
        wish.bytes_per_s or await _seen_link(environment, host),
        wish.max_downtime_ms / 1000,
        paused=domain.state is State.PAUSED,
        postcopy=wish.postcopy != "never",
    )


def _taken_bytes(environment: Environment, domain: Domain) -> int:
    """Of its memory, what the guest can have written to: the rest is zeros, which cost next to nothing. What its
    QEMU has beside is in it, since nobody can tell that apart; huge pages are not, so there all of it counts."""
    size = most_of(domain, None) * MIB
    counted = environment.accounting.last(domain.uuid)
    resident = counted.count.resident_bytes if counted is not None else 0
    in_pages = domain.incarnation is not None and huge_pages(domain.incarnation.notes) is not None
    return min(size, resident) if resident and not in_pages else size


async def _seen_link(environment: Environment, host: str) -> int | None:
    """What the way to ``host`` carried the last time."""
    for receipt in reversed(await receipts(environment)):
        if receipt.target == host and receipt.link_bytes_per_s:
            return receipt.link_bytes_per_s
    return None


async def make_offer(environment: Environment, domain: Domain, wish: MoveWish, handover: str) -> Offer:
    plan = await environment.plan(domain, domain.domid or 0, running=True)
    run = domain.incarnation if not wish.offline else None
    given = GivenCpu(plan.cpu_model) if run is None else given_cpu(run, plan.cpu_model)
    here = await side(environment, plan)
    vcpus = None if run is None else await vcpus_of_run(environment, domain)
    volumes = await environment.pools.resolve(domain.config.disks)
    disks = []
    for disk in domain.config.disks:
        volume = volumes.get(disk.target or "")
        copied = wish.with_storage and volume is not None and disk.writable and not disk.cdrom
        into, layers = None, []
        if copied and disk.volume is not None and not wish.flatten:
            ref, off = VolumeRef.parse(disk.volume), domain.incarnation is None
            layers = await offered_layers(environment, ref, off=off)
        if copied and wish.to_pool is not None and volume is not None:
            into = str(VolumeRef(wish.to_pool, volume.name))
        disks.append(
            OfferedDisk(
                vdev=disk.vdev,
                format=str(volume.format if volume is not None else disk.format),
                size=volume.size if volume is not None else 0,
                writable=disk.writable and not disk.cdrom,
                volume=disk.volume,
                path=disk.target if volume is None else None,
                copied=copied,
                into=into,
                layers=layers,
            )
        )
    return Offer(
        handover=handover,
        source=environment.machine.name,
        uuid=str(domain.uuid),
        name=domain.name,
        text=domain.text,
        persistent=domain.persistent,
        epoch=domain.epoch + 1,
        paused=domain.state is State.PAUSED,
        hypervisor=environment.hypervisor.name,
        hypervisor_version=list(here.version),
        accelerator=here.accelerator,
        machine=here.machine,
        cpu_model=given.model,
        padding_kib=plan.padding_kib,
        vcpus=vcpus,
        memory_mib=0 if wish.offline else plan.memory_mib,
        free_page_reporting=plan.reporting,
        hotplug_mib=0 if wish.offline else plan.hotplug_mib,
        disks=disks,
        course=OfferedCourse(
            bytes_per_s=wish.bytes_per_s,
            max_downtime_ms=wish.max_downtime_ms,
            xbzrle=wish.compress,
            auto_converge=wish.postcopy == "never",
            postcopy=wish.postcopy != "never",
        ),
        created_at=domain.created_at,
        cpu_features=sorted(given.features),
        cpu_identity=given.identity,
        offline=wish.offline,
        start=wish.offline and domain.incarnation is not None,
        files=await offered_files(environment, domain),
        tunnels=_tunnels(wish),
    )


def _tunnels(wish: MoveWish) -> bool:
    """Where time counts this host encrypts memory itself, which is quicker. Post-copy goes both ways; and where
    the rate is bounded nothing is gained, and the daemon is to take little."""
    return not wish.offline and wish.postcopy == "never" and wish.bytes_per_s is None


async def lay_proofs(environment: Environment, offer: Offer) -> Offer:
    """With a mark beside each disk that the other host has to have as well."""
    disks = []
    for disk in offer.disks:
        path = await _path(environment, disk)
        laid = path is not None and await environment.pools.storage.lay_proof(path, offer.handover)
        disks.append(replace(disk, proof=offer.handover if laid else None))
    return replace(offer, disks=disks)


async def take_proofs(environment: Environment, domain: Domain, handover: str) -> None:
    """The marks of that hand-over beside any disk of ``domain``."""
    volumes = await environment.pools.resolve(domain.config.disks)
    for disk in domain.config.disks:
        volume = volumes.get(disk.target or "")
        path = disk.target if volume is None else volume.path
        if path is not None:
            await environment.pools.storage.take_proof(path, handover)


async def _path(environment: Environment, disk: OfferedDisk) -> str | None:
    if disk.copied:
        return None
    if disk.volume is not None:
        return (await environment.pools.volume(VolumeRef.parse(disk.volume))).path
    return disk.path

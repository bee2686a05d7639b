"""What clones of a domain are to be: names, UUIDs, configurations and volumes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from uuid import UUID

from wirt.config.xlcfg import disk_entry, entries, load, name_fault, own_card, with_entries, with_value
from wirt.config.xlcfg.vdev import Bus, Vdev, parse_vdev
from wirt.model.devices import DiskFormat, DiskSpec, VifSpec, devids
from wirt.model.domain import Domain, DomainConfig, GuestType
from wirt.model.errors import BadInput, IllegalState, NameInUse
from wirt.model.storage import VolumeRef
from wirt.plan.launch import AHCI_PORTS
from wirt.plan.nics import generated_mac

MOST_CLONES = 200
"""Of one job, whose record holds all of them."""
SEED_SUFFIX = "-seed"
LONGEST_VOLUME = 120
TRIES = 100
_NOT_IN_VOLUMES = re.compile(r"[^A-Za-z0-9+_.-]")


@dataclass(frozen=True, slots=True)
class DiskCopy:
    """``source`` becomes ``target``, which is the disk ``vdev`` of the clone."""

    vdev: str
    source: VolumeRef
    target: VolumeRef


@dataclass(frozen=True, slots=True)
class ClonePlan:
    """``seed`` is the volume that tells the guest who it is. ``lost``: what of the source's cards only one card
    can have, and so is not in ``text``."""

    name: str
    uuid: UUID
    text: str
    disks: tuple[DiskCopy, ...]
    seed: VolumeRef | None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CloneWish:
    """``pool`` is that of the new volumes (``None``: each in that of its source). ``identity``: with a seed.
    ``alone``: cards, by devid, that meet no other domain's, and keep their addresses."""

    names: tuple[str, ...]
    pool: str | None = None
    identity: bool = True
    alone: frozenset[int] = frozenset()


@dataclass(slots=True)
class Taken:
    """Addresses of cards that there are already."""

    macs: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, domains: Collection[Domain]) -> Taken:
        return cls({mac for domain in domains for mac in macs_of(domain.config, domain.uuid)})


def clone_names(new: str, count: int | None) -> tuple[str, ...]:
    """``NEW``, or ``NEW-1`` to ``NEW-count``."""
    if count is not None and not 1 <= count <= MOST_CLONES:
        raise BadInput(f"{count} clones can't be made at once", hint=f"from 1 to {MOST_CLONES}")
    names = (new,) if count is None else tuple(f"{new}-{number}" for number in range(1, count + 1))
    for name in names:
        fault = name_fault(name)
        if fault is not None:
            raise BadInput(fault, hint="choose another name for the clone")
    return names


def plan_clones(source: Domain, wish: CloneWish, taken: Taken, uuids: Iterator[UUID]) -> tuple[ClonePlan, ...]:
    """``BadInput`` or ``IllegalState`` for what can't be cloned. No two cards have one address."""
    copied = copied_disks(source)
    plans = []
    for name in wish.names:
        uuid = _uuid(source.config, taken, uuids)
        disks = _targets(source, name, copied, wish.pool)
        seed = _seed(name, disks, wish.pool) if wish.identity else None
        plans.append(_plan(source, name, uuid, disks, seed, wish.alone))
    targets = [
        ref for plan in plans for ref in (*(disk.target for disk in plan.disks), plan.seed) if ref is not None
    ]
    if len(set(targets)) != len(targets):
        raise NameInUse("two of the new volumes would have one name", hint="choose a shorter or plainer name")
    return tuple(plans)


def copied_disks(source: Domain) -> tuple[DiskSpec, ...]:
    """Those that it writes. What it only reads (CDs, shared data) is shared with the clones."""
    writes = tuple(disk for disk in source.config.disks if disk.writable and not disk.cdrom)
    for disk in writes:
        if disk.volume is None:
            raise IllegalState(
                f"{disk.vdev} of {source.name} is {disk.target}, which is no volume of a pool",
                hint=f"wirt volume import POOL/NAME {disk.target}, and name that in its configuration; "
                "what it only reads (ro) may be anywhere",
            )
    return writes


def macs_of(config: DomainConfig, uuid: UUID) -> tuple[str, ...]:
    """Of its cards, said or generated."""
    numbered = zip(devids(config.vifs), config.vifs, strict=True)
    return tuple(vif.mac or generated_mac(uuid, devid) for devid, vif in numbered)


def _uuid(config: DomainConfig, taken: Taken, uuids: Iterator[UUID]) -> UUID:
    """One whose generated addresses nobody has; they are taken from then on."""
    for uuid in itertools.islice(uuids, TRIES):
        macs = {generated_mac(uuid, devid) for devid in devids(config.vifs)}
        if len(macs) == len(config.vifs) and not macs & taken.macs:
            taken.macs |= macs
            return uuid
    raise IllegalState("no MAC addresses are left that nobody has", hint="are all these domains still needed?")


def _targets(source: Domain, name: str, copied: Sequence[DiskSpec], pool: str | None) -> tuple[DiskCopy, ...]:
    """The first disk is called as the clone is, others also as the guest calls them."""
    found: dict[VolumeRef, DiskCopy] = {}
    for disk in copied:
        assert disk.volume is not None
        ref = VolumeRef.parse(disk.volume)
        called = volume_name(name, f"-{disk.vdev}" if found else "")
        found.setdefault(ref, DiskCopy(disk.vdev, ref, VolumeRef(pool or ref.pool, called)))
    return tuple(found.values())


def _seed(name: str, disks: Sequence[DiskCopy], pool: str | None) -> VolumeRef:
    where = pool or (disks[0].target.pool if disks else "default")
    return VolumeRef(where, volume_name(name, SEED_SUFFIX))


def volume_name(name: str, suffix: str) -> str:
    """A domain's name as one that a volume can have."""
    plain = _NOT_IN_VOLUMES.sub("-", name).lstrip("-.") or "clone"
    return plain[: LONGEST_VOLUME - len(suffix)] + suffix


def _plan(
    source: Domain,
    name: str,
    uuid: UUID,
    disks: tuple[DiskCopy, ...],
    seed: VolumeRef | None,
    alone: frozenset[int],
) -> ClonePlan:
    text = with_value(with_value(source.text, "name", name), "uuid", str(uuid))
    macs = [
        mac if devid in alone else None
        for devid, mac in zip(devids(source.config.vifs), macs_of(source.config, source.uuid), strict=True)
    ]
    text, lost = _with_own_cards(text, macs)
    expected = _disks(source.config, {copy.source: copy.target for copy in disks}, seed)
    text = _with_disks(text, source.config.disks, expected)
    config = load(text, file=name, cwd=PurePosixPath("/")).config
    vifs = tuple(map(_own, source.config.vifs, macs))
    if config != replace(source.config, name=name, uuid=uuid, disks=expected, vifs=vifs):
        raise IllegalState(
            f"the configuration of {source.name} is written in a way that can't be changed safely",
            hint="write it plainly: name, uuid, vif and disk once each",
        )
    return ClonePlan(name, uuid, text, disks, seed, lost)


def _own(vif: VifSpec, mac: str | None) -> VifSpec:
    forwards = tuple(replace(forward, host_port=0) for forward in vif.forwards)
    return replace(vif, mac=mac, ip=vif.ip if mac else (), vifname=None, forwards=forwards)


def _with_own_cards(text: str, macs: Sequence[str | None]) -> tuple[str, tuple[str, ...]]:
    changed, lost = {}, []
    for place, entry in enumerate(entries(text, "vif")):
        own, gone = own_card(entry, macs[place])
        if own != entry:
            changed[place] = own
        lost += [word for word in gone if not word.startswith("mac=")]
    return with_entries(text, "vif", changed), tuple(lost)


def _disks(
    config: DomainConfig, new: Mapping[VolumeRef, VolumeRef], seed: VolumeRef | None
) -> tuple[DiskSpec, ...]:
    """A format that an entry names would be the source's: the pool knows the clone's."""
    found = []
    old = seed_of(config) if seed is not None else None
    for disk in config.disks:
        target = new.get(VolumeRef.parse(disk.volume)) if disk.volume is not None else None
        if old is not None and disk == old and seed is not None:
            found.append(replace(disk, target=seed.stored, format=DiskFormat.RAW, format_given=False))
        elif target is not None:
            found.append(replace(disk, target=target.stored, format=DiskFormat.RAW, format_given=False))
        else:
            found.append(disk)
    if seed is not None and old is None:
        found.append(seed_disk(config, seed))
    return tuple(found)


def _with_disks(text: str, before: Sequence[DiskSpec], after: Sequence[DiskSpec]) -> str:
    changed = {
        place: disk_entry(new)
        for place, (old, new) in enumerate(zip(before, after[: len(before)], strict=True))
        if old != new
    }
    return with_entries(text, "disk", changed, [disk_entry(disk) for disk in after[len(before) :]])


def seed_of(config: DomainConfig) -> DiskSpec | None:
    """The seed that an earlier clone was given: its like is given to the next in its place."""
    found = (disk for disk in config.disks if disk.volume is not None and disk.volume.endswith(SEED_SUFFIX))
    return next((disk for disk in found if disk.cdrom or not disk.writable), None)


def seed_disk(config: DomainConfig, seed: VolumeRef) -> DiskSpec:
    """A CD of a guest with firmware, as long as there is a port for one; else a disk that can't be written."""
    used = {vdev for disk in config.disks if (vdev := parse_vdev(disk.vdev)) is not None}
    drives = [letter for number, letter in enumerate("abcd") if Vdev(Bus.HD, number) not in used]
    emulated = sum(disk.cdrom or disk.vdev.startswith(("hd", "sd")) for disk in config.disks)
    if config.type is GuestType.HVM and drives and emulated < AHCI_PORTS:
        name, cdrom = f"hd{drives[-1]}", True
    else:
        letters = [letter for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz") if _free(used, number)]
        if not letters:
            raise IllegalState("no disk is left for the seed", hint="--no-identity clones without one")
        name, cdrom = f"xvd{letters[-1]}", False
    return DiskSpec(name, seed.stored, DiskFormat.RAW, writable=False, cdrom=cdrom, removable=cdrom)


def _free(used: set[Vdev], number: int) -> bool:
    return all((vdev.bus, vdev.disk) != (Bus.XVD, number) for vdev in used)

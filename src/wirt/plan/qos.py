"""What a domain has in the end: what its configuration says itself, then what its class of service says. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from wirt.config.xlcfg.diskqos import words_of
from wirt.config.xlcfg.rate import rate_text
from wirt.model.devices import DiskSpec, VifSpec, devids
from wirt.model.diskqos import DiskQos, Measure, in_force
from wirt.model.domain import DomainConfig
from wirt.model.qos import QosClass
from wirt.plan.launch import DEFAULT_WEIGHT
from wirt.plan.networks_shares import DEFAULT_WEIGHT as DEFAULT_NETWORK_WEIGHT
from wirt.plan.shares import DEFAULT_DISK_WEIGHT


class Origin(StrEnum):
    """Who has said it; ``UNASKED``: nobody."""

    OWN = "own"
    CLASS = "class"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True)
class Held:
    """One thing that a domain is held to, or has: ``what`` (``weight``, ``disk xvda iops``), its value in words,
    and who has said it."""

    what: str
    value: str
    origin: Origin


def effective(config: DomainConfig, qos: QosClass | None) -> DomainConfig:
    """``config`` with what ``qos`` adds to it. Of disks, limits of requests and limits of bytes are each the
    disk's own as soon as it, or its group, says one of them."""
    if qos is None:
        return config
    own = in_force((disk.vdev, disk.qos) for disk in config.disks)
    return replace(
        config,
        cpu_weight=_first(config.cpu_weight, qos.weight),
        cap=_first(config.cap, None if qos.cap is None else min(qos.cap, _most_cap(config))),
        disk_weight=_first(config.disk_weight, qos.disk_weight),
        network_weight=_first(config.network_weight, qos.network_weight),
        disks=tuple(_disk(disk, own[disk.vdev], qos.disk) for disk in config.disks),
        vifs=tuple(_card(vif, qos) for vif in config.vifs),
        memory_guarantee_mib=_first(
            config.memory_guarantee_mib,
            None if qos.guarantee_mib is None else min(qos.guarantee_mib, config.most_mib),
        ),
    )


def guaranteed_mib(config: DomainConfig) -> int:
    """What ballooning leaves it, of what :func:`effective` gave."""
    return config.memory_mib if config.memory_guarantee_mib is None else config.memory_guarantee_mib


def remarks(config: DomainConfig, qos: QosClass) -> tuple[str, ...]:
    """What of the class a domain can't have because of what it is."""
    found = []
    if qos.cap is not None and config.cap is None and qos.cap > _most_cap(config):
        found.append(f"a cap of {qos.cap} is more than its vCPUs could use: it is {_most_cap(config)}")
    guarantee = qos.guarantee_mib if config.memory_guarantee_mib is None else None
    if guarantee is not None and guarantee > config.most_mib:
        found.append(f"class {qos.name} guarantees {guarantee} MiB, and it can have {config.most_mib} at most")
    return tuple(found)


def held(config: DomainConfig, qos: QosClass | None) -> tuple[Held, ...]:
    """All that a class can speak of, in its order, with where it comes from."""
    after = effective(config, qos)
    rows = [
        _row("weight", config.cpu_weight, after.cpu_weight, DEFAULT_WEIGHT),
        _row("cap", config.cap, after.cap, 0),
        _row("disk-weight", config.disk_weight, after.disk_weight, DEFAULT_DISK_WEIGHT),
        _row("network-weight", config.network_weight, after.network_weight, DEFAULT_NETWORK_WEIGHT),
        _row("memory-guarantee", config.memory_guarantee_mib, after.memory_guarantee_mib, config.memory_mib),
    ]
    own = in_force((disk.vdev, disk.qos) for disk in config.disks)
    for disk in after.disks:
        said = words_of(own[disk.vdev].own)
        for word, value in words_of(disk.qos.own).items():
            origin = Origin.OWN if said.get(word) == value else Origin.CLASS
            rows.append(Held(f"disk {disk.vdev} {word}", value, origin))
    for devid, vif, before in zip(devids(after.vifs), after.vifs, config.vifs, strict=True):
        for word, rate, was in (("rate", vif.rate, before.rate), ("rate-in", vif.rate_in, before.rate_in)):
            if rate is not None:
                origin = Origin.CLASS if was is None else Origin.OWN
                rows.append(Held(f"card {devid} {word}", rate_text(rate), origin))
    return tuple(rows)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _most_cap(config: DomainConfig) -> int:
    return 100 * (config.maxvcpus or config.vcpus)


def _disk(disk: DiskSpec, own: DiskQos, of_class: DiskQos) -> DiskSpec:
    """CDs are not limited."""
    return disk if disk.cdrom else replace(disk, qos=_merged(own, of_class))


def _merged(own: DiskQos, of_class: DiskQos) -> DiskQos:
    said = {limit.measure.counts_bytes for limit in own.limits}
    added = [limit for limit in of_class.limits if limit.measure.counts_bytes not in said]
    limits = {limit.measure: limit for limit in (*own.limits, *added)}
    bursts = any(limit.burst is not None for limit in own.limits)
    return DiskQos(
        tuple(limits[measure] for measure in Measure if measure in limits),
        own.burst_s if bursts or not added else of_class.burst_s,
        own.group,
    )


def _card(vif: VifSpec, qos: QosClass) -> VifSpec:
    return replace(
        vif,
        rate=qos.rate if vif.rate is None else vif.rate,
        rate_in=qos.rate_in if vif.rate_in is None else vif.rate_in,
    )


def _row(what: str, own: int | None, after: int | None, unasked: int) -> Held:
    if after is None:
        return Held(what, str(unasked), Origin.UNASKED)
    return Held(what, str(after), Origin.CLASS if own is None else Origin.OWN)

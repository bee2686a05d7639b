"""How the store writes things down: versioned records of their own, so that the model may change freely.

A domain's configuration is kept as its xl.cfg text: a form that people can read and that its manual page
versions.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from pathlib import PurePosixPath
from typing import Any, TypeVar
from uuid import UUID

from wirt.config.security import parse_rule, write_rule
from wirt.config.xlcfg import load
from wirt.model.domain import Domain, Incarnation, Wanted
from wirt.model.errors import CorruptState, WirtError
from wirt.model.job import Job, JobError, JobState, StepRecord, StepState
from wirt.model.network import DhcpRange, Network, NetworkConfig, NetworkMode, Vxlan
from wirt.model.security import SecurityGroup
from wirt.model.storage import Holder, PoolConfig, PoolType, StoragePool, VolumeRef
from wirt.ports.store import Entry

T = TypeVar("T")

VERSION = 1
PREFIX = "wirt/v1"
DOMAINS = f"{PREFIX}/domains/"
NAMES = f"{PREFIX}/names/"
INCARNATIONS = f"{PREFIX}/incarnations/"
JOBS = f"{PREFIX}/jobs/"
SECURITY_GROUPS = f"{PREFIX}/security-groups/"
NETWORKS = f"{PREFIX}/networks/"
POOLS = f"{PREFIX}/pools/"
VOLUMES = f"{PREFIX}/volumes/"


def domain_key(uuid: UUID) -> str:
    return f"{DOMAINS}{uuid}"


def name_key(name: str) -> str:
    """Names are hex-coded: a name may hold what a key may not."""
    return f"{NAMES}{name.encode(errors='surrogateescape').hex()}"


def incarnation_key(uuid: UUID) -> str:
    return f"{INCARNATIONS}{uuid}"


def domid_key(host: str) -> str:
    return f"{PREFIX}/hosts/{host}/last-domid"


def backing_key(image: str) -> str:
    """By the image's real path, which may be longer than a key."""
    return f"{PREFIX}/backing/{hashlib.sha256(os.fsencode(image)).hexdigest()}"


def job_key(job_id: str) -> str:
    return f"{JOBS}{job_id}"


def security_group_key(name: str) -> str:
    return f"{SECURITY_GROUPS}{name}"


def network_key(name: str) -> str:
    return f"{NETWORKS}{name}"


def pool_key(name: str) -> str:
    return f"{POOLS}{name}"


def volume_key(volume: VolumeRef) -> str:
    return f"{VOLUMES}{volume}"


def write_domain(domain: Domain) -> bytes:
    return write_record(
        {
            "uuid": str(domain.uuid),
            "text": domain.text,
            "persistent": domain.persistent,
            "wanted": str(domain.wanted),
            "epoch": domain.epoch,
            "created_at": domain.created_at,
            "created_by": domain.created_by,
            "template": domain.template,
            "saved": domain.saved,
        }
    )


def read_domain(entry: Entry) -> Domain:
    def build(data: dict[str, Any]) -> Domain:
        return Domain(
            uuid=UUID(data["uuid"]),
            config=load(data["text"], file=f"store:{entry.key}", cwd=PurePosixPath("/")).config,
            text=data["text"],
            persistent=bool(data["persistent"]),
            wanted=Wanted(data["wanted"]),
            epoch=int(data["epoch"]),
            created_at=float(data["created_at"]),
            created_by=str(data["created_by"]),
            template=bool(data.get("template", False)),
            saved=data.get("saved"),
            revision=entry.modified,
        )

    return read_record(entry, build)


def write_incarnation(incarnation: Incarnation) -> bytes:
    """The state is not written: it is observed."""
    return write_record(
        {
            "domain": str(incarnation.domain),
            "domid": incarnation.domid,
            "host": incarnation.host,
            "epoch": incarnation.epoch,
            "hypervisor": incarnation.hypervisor,
            "started_at": incarnation.started_at,
            "pid": incarnation.pid,
            "started_ticks": incarnation.started_ticks,
            "notes": incarnation.notes,
        }
    )


def read_incarnation(entry: Entry) -> Incarnation:
    def build(data: dict[str, Any]) -> Incarnation:
        return Incarnation(
            domain=UUID(data["domain"]),
            domid=int(data["domid"]),
            host=str(data["host"]),
            epoch=int(data["epoch"]),
            hypervisor=str(data["hypervisor"]),
            started_at=float(data["started_at"]),
            pid=data["pid"],
            started_ticks=data["started_ticks"],
            notes={str(key): str(value) for key, value in data["notes"].items()},
        )

    return read_record(entry, build)


def write_job(job: Job) -> bytes:
    data = asdict(job)
    data["v"] = VERSION
    return json.dumps(data).encode()


def read_job(entry: Entry) -> Job:
    def build(data: dict[str, Any]) -> Job:
        steps = tuple(StepRecord(step["name"], StepState(step["state"])) for step in data.pop("steps"))
        error = data.pop("error")
        return Job(
            **{**data, "state": JobState(data["state"])},
            steps=steps,
            error=JobError(**error) if error is not None else None,
        )

    return read_record(entry, build)


def write_security_group(group: SecurityGroup) -> bytes:
    """Its rules as people write them, a form that their syntax versions."""
    rules = [write_rule(rule) for rule in group.rules]
    return write_record({"name": group.name, "rules": rules, "description": group.description})


def read_security_group(entry: Entry) -> SecurityGroup:
    def build(data: dict[str, Any]) -> SecurityGroup:
        rules = tuple(parse_rule(rule) for rule in data["rules"])
        return SecurityGroup(str(data["name"]), rules, str(data["description"]))

    return read_record(entry, build)


def network_values(config: NetworkConfig) -> dict[str, Any]:
    """JSON values."""

    def text(value: object) -> str | None:
        return None if value is None else str(value)

    return {
        "name": config.name,
        "mode": str(config.mode),
        "bridge": config.bridge,
        "address": text(config.address),
        "address6": text(config.address6),
        "dhcp": [str(config.dhcp.first), str(config.dhcp.last)] if config.dhcp is not None else None,
        "advertise": config.advertise,
        "dns": config.dns,
        "domain": config.domain,
        "uplink": config.uplink,
        "vlan": config.vlan,
        "vxlan": asdict(config.vxlan) if config.vxlan is not None else None,
        "mtu": config.mtu,
        "vlan_filtering": config.vlan_filtering,
        "shared": config.shared,
        "share": config.share,
    }


def network_of_values(data: dict[str, Any]) -> NetworkConfig:
    address, address6, dhcp, vxlan = (data[name] for name in ("address", "address6", "dhcp", "vxlan"))
    return NetworkConfig(
        name=str(data["name"]),
        mode=NetworkMode(data["mode"]),
        bridge=str(data["bridge"]),
        address=IPv4Interface(address) if address is not None else None,
        address6=IPv6Interface(address6) if address6 is not None else None,
        dhcp=DhcpRange(*(IPv4Address(end) for end in dhcp)) if dhcp is not None else None,
        advertise=bool(data["advertise"]),
        dns=bool(data["dns"]),
        domain=data["domain"],
        uplink=data["uplink"],
        vlan=data["vlan"],
        vxlan=Vxlan(**{**vxlan, "peers": tuple(vxlan["peers"])}) if vxlan is not None else None,
        mtu=data["mtu"],
        vlan_filtering=bool(data["vlan_filtering"]),
        shared=bool(data["shared"]),
        share=data.get("share"),
    )


def write_network(network: Network) -> bytes:
    return write_record(
        {
            "config": network_values(network.config),
            "created_at": network.created_at,
            "created_by": network.created_by,
            "leaving": network.leaving,
        }
    )


def read_network(entry: Entry) -> Network:
    def build(data: dict[str, Any]) -> Network:
        return Network(
            config=network_of_values(data["config"]),
            created_at=float(data["created_at"]),
            created_by=str(data["created_by"]),
            leaving=bool(data["leaving"]),
            revision=entry.modified,
        )

    return read_record(entry, build)


def pool_values(config: PoolConfig) -> dict[str, Any]:
    """JSON values."""
    return {**asdict(config), "type": str(config.type)}


def pool_of_values(data: dict[str, Any]) -> PoolConfig:
    source = data["source"]
    return PoolConfig(
        name=str(data["name"]),
        type=PoolType(data["type"]),
        target=str(data["target"]),
        source=None if source is None else str(source),
        options=str(data["options"]),
    )


def write_pool(pool: StoragePool) -> bytes:
    return write_record(
        {
            "config": pool_values(pool.config),
            "created_at": pool.created_at,
            "created_by": pool.created_by,
            "leaving": pool.leaving,
        }
    )


def read_pool(entry: Entry) -> StoragePool:
    def build(data: dict[str, Any]) -> StoragePool:
        return StoragePool(
            config=pool_of_values(data["config"]),
            created_at=float(data["created_at"]),
            created_by=str(data["created_by"]),
            leaving=bool(data["leaving"]),
            revision=entry.modified,
        )

    return read_record(entry, build)


def write_backing(image: str, chain: tuple[str, ...]) -> bytes:
    """What an image stands on, by real paths, the file right below it first."""
    return write_record({"image": image, "chain": list(chain)})


def read_backing(entry: Entry) -> tuple[str, ...]:
    return read_record(entry, lambda data: tuple(str(each) for each in data["chain"]))


def write_holders(holders: Iterable[Holder]) -> bytes:
    return write_record({"holders": [asdict(holder) for holder in holders]})


def read_holders(entry: Entry) -> tuple[Holder, ...]:
    return read_record(entry, lambda data: tuple(Holder(**holder) for holder in data["holders"]))


def write_number(number: int) -> bytes:
    return str(number).encode()


def write_record(data: dict[str, Any]) -> bytes:
    return json.dumps({"v": VERSION, **data}).encode()


def read_record(entry: Entry, build: Callable[[dict[str, Any]], T]) -> T:
    """``CorruptState``, naming the key, for whatever can't be understood; a newer version is told apart."""
    try:
        data = json.loads(entry.value)
        version = data.pop("v")
        if version > VERSION:
            raise CorruptState(
                f"{entry.key} was written by a newer wirt (record version {version})",
                hint="run that wirt, or restore the state of before",
            )
        return build(data)
    except CorruptState:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, WirtError) as error:
        raise CorruptState(
            f"the record {entry.key} can't be read: {error}",
            hint="nothing was changed; restore state.db from a copy, or report this",
        ) from error

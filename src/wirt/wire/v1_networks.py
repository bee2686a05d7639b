"""The API's types of networks, version 1. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """The words of ``wirt network create``. ``address`` and ``dhcp`` may be ``none``; what is ``None`` gets its
    default. ``peers`` are VXLAN's."""

    name: str
    mode: str | None = None
    bridge: str | None = None
    address: str | None = None
    address6: str | None = None
    dhcp: str | None = None
    dns: bool | None = None
    domain: str | None = None
    uplink: str | None = None
    vlan: int | None = None
    vni: int | None = None
    local: str | None = None
    peers: list[str] = field(default_factory=list)
    port: int | None = None
    mtu: int | None = None
    vlan_filtering: bool = False
    share: str | None = None
    """What the way out carries, as in ``1Gb/s``."""


@dataclass(frozen=True, slots=True)
class NetworkProblem:
    """``network`` is empty for what concerns all."""

    network: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Network:
    """``state``: ``up``; ``amiss``, with ``problems``; ``unused``: the default network, whose bridge is made
    with the first card; ``leaving``: it is being destroyed. ``dhcp`` is ``FIRST-LAST``; ``advertise``: guests
    choose IPv6 addresses in ``address6``'s network. ``own_bridge`` false: the bridge is not wirt's to change.
    ``vifs`` counts the cards of running domains."""

    name: str
    mode: str
    bridge: str
    state: str
    vifs: int
    address: str | None = None
    address6: str | None = None
    dhcp: str | None = None
    advertise: bool = False
    dns: bool = False
    domain: str | None = None
    uplink: str | None = None
    vlan: int | None = None
    vni: int | None = None
    local: str | None = None
    peers: list[str] = field(default_factory=list)
    port: int | None = None
    mtu: int | None = None
    vlan_filtering: bool = False
    share: str | None = None
    own_bridge: bool = True
    problems: list[NetworkProblem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NetworkList:
    networks: list[Network]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class NetworkDevice:
    """A device that the network needs. ``kind`` and ``mtu`` are ``None`` for one that is not there."""

    name: str
    kind: str | None
    state: str
    mtu: int | None
    addresses: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """A card of a domain in the network, ``domid`` and ``tap`` while it runs."""

    domain: str
    domid: int | None
    index: int
    mac: str
    tap: str | None
    addresses: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lease:
    """``until``: seconds since the epoch, ``None`` for ever."""

    mac: str
    address: str
    name: str | None
    until: float | None


@dataclass(frozen=True, slots=True)
class NetworkMended:
    """``network`` is empty for what concerns all."""

    at: float
    network: str
    what: str


@dataclass(frozen=True, slots=True)
class NetworkDetail:
    """``server`` is the process ID of its dnsmasq. ``mended``: what the daemon found amiss and mended lately."""

    network: Network
    devices: list[NetworkDevice]
    vifs: list[NetworkCard]
    leases: list[Lease]
    server: int | None
    mended: list[NetworkMended]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class NetworkAction:
    """``action`` is its kind, ``network`` empty for what concerns all."""

    network: str
    action: str
    sentence: str


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What would be done, in this order, and what no action can mend. ``config`` is that of a network which
    would be created."""

    actions: list[NetworkAction]
    problems: list[NetworkProblem]
    config: Network | None = None
    api: str = VERSION

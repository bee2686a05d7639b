"""Networks that guests are plugged into: the durable record of a bridge and of what leads out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface


class NetworkMode(StrEnum):
    """``isolated``: guests reach each other and the host. ``nat``: and the world, under the host's address.
    ``routed``: and the world, under their own. ``bridge``: they share ``uplink``, a card of the host (with
    ``vlan``: one tagged network on it). ``vxlan``: an Ethernet over the hosts' own network, as wide as
    ``peers``."""

    ISOLATED = "isolated"
    NAT = "nat"
    ROUTED = "routed"
    BRIDGE = "bridge"
    VXLAN = "vxlan"


FORWARDED = frozenset({NetworkMode.NAT, NetworkMode.ROUTED})
"""Modes in which the host forwards what guests send."""


@dataclass(frozen=True, slots=True)
class DhcpRange:
    """Both ends belong to it."""

    first: IPv4Address
    last: IPv4Address

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Vxlan:
    """RFC 7348. ``vni`` from 1 to 16777215. ``peers`` are the other hosts' addresses, ``local`` this host's;
    ``port`` is UDP's."""

    vni: int
    local: str
    peers: tuple[str, ...] = ()
    port: int = 4789


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """``bridge`` is the device's name. ``address`` is the host's own in it, with the network's prefix; ``dhcp``
    and ``dns`` are served to the guests by wirt (dnsmasq). ``advertise``: so are IPv6 router advertisements
    (RFC 4861), from which guests take addresses in ``address6``'s network.

    ``shared``: the bridge is not this network's alone. Of mode ``bridge`` it is somebody else's, who made it and
    looks after it: cards are put into it and nothing about it is changed. Of the network ``default`` it is one
    that every wirt of this host uses.
    """

    name: str
    mode: NetworkMode
    bridge: str
    address: IPv4Interface | None = None
    address6: IPv6Interface | None = None
    dhcp: DhcpRange | None = None
    advertise: bool = False
    dns: bool = False
    domain: str | None = None
    uplink: str | None = None
    vlan: int | None = None
    vxlan: Vxlan | None = None
    mtu: int | None = None
    vlan_filtering: bool = False
    """Cards with ``vlan=`` may be plugged into it."""
    shared: bool = False
    share: int | None = None
    """What its way out carries in each direction, in bytes a second, shared among its guests by their weights."""

    @property
    def served(self) -> bool:
        """Whether it needs a server of wirt's."""
        return self.dhcp is not None or self.advertise or self.dns

    @property
    def foreign(self) -> bool:
        """Whether the bridge is somebody else's."""
        return self.shared and self.mode is NetworkMode.BRIDGE


DEFAULT_NETWORK = "default"
"""The network of cards that name none. It needs no ``create``: its bridge is made with the first card."""


@dataclass(frozen=True, slots=True)
class Network:
    """The durable record. ``leaving``: it is being destroyed, and nobody may join it. ``created_by`` is the job;
    ``revision`` the store's."""

    config: NetworkConfig
    created_at: float = 0.0
    created_by: str = ""
    leaving: bool = False
    revision: int = 0

    @property
    def name(self) -> str:
        return self.config.name


@dataclass(frozen=True, slots=True)
class Lease:
    """An address that a guest got by DHCP. ``until``: seconds since the epoch, ``None`` for ever. ``name`` as
    configured, never as the guest says."""

    mac: str
    address: str
    name: str | None
    until: float | None

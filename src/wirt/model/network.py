"""Networks that guests are plugged into: the durable record of a bridge and of what leads out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface


class NetworkMode(StrEnum):
    """``isolated``: guests reach each other and the host. ``nat``: and the world, under the host's address.
    ``routed``: and the world, under their own. ``bridge``: they share ``uplink``, a card of the host (with ``vlan``:
    one tagged network on it). ``vxlan``: an Ethernet over the hosts' own network, as wide as ``peers``."""

    ISOLATED = "isolated"
    NAT = "nat"
    ROUTED = "routed"
    BRIDGE = "bridge"
    VXLAN = "vxlan"


@dataclass(frozen=True, slots=True)
class DhcpRange:
    """Both ends belong to it."""

    first: IPv4Address
    last: IPv4Address


@dataclass(frozen=True, slots=True)
class Vxlan:
    """RFC 7348. ``vni`` from 1 to 16777215. ``peers`` are the other hosts' addresses, ``local`` this host's; ``port``
    is UDP's."""

    vni: int
    local: str
    peers: tuple[str, ...] = ()
    port: int = 4789


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """``bridge`` is the device's name. ``address`` is the host's own in it, with the network's prefix; ``dhcp`` and
    ``dns`` are served to the guests by wirt (dnsmasq)."""

    name: str
    mode: NetworkMode
    bridge: str
    address: IPv4Interface | None = None
    address6: IPv6Interface | None = None
    dhcp: DhcpRange | None = None
    dns: bool = False
    domain: str | None = None
    uplink: str | None = None
    vlan: int | None = None
    vxlan: Vxlan | None = None
    mtu: int | None = None
    vlan_filtering: bool = False
    """Cards with ``vlan=`` may be plugged into it."""

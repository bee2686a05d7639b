"""The host's networks as they are: what is observed, in the planner's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

Interface = IPv4Interface | IPv6Interface
IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class VxlanState:
    vni: int
    local: str
    port: int
    peers: frozenset[str] = frozenset()
    """Where frames go whose receiver's place is not known (head-end replication)."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """A network device. ``kind`` is the kernel's name for its driver; ``master`` the bridge that it is a port of,
    ``parent`` the device that a VLAN is on. ``filtering``: of a bridge that tells VLANs apart."""

    name: str
    index: int
    kind: str | None
    mac: str
    up: bool = False
    mtu: int = 1500
    master: str | None = None
    parent: str | None = None
    vlan: int | None = None
    vxlan: VxlanState | None = None
    filtering: bool = False
    addresses: frozenset[Interface] = frozenset()


@dataclass(frozen=True, slots=True)
class ServerState:
    """The dnsmasq of one network. ``config`` and ``hosts`` are the texts that it was given, ``device`` the
    number of the bridge that it listens on. ``pid`` is ``None`` for one that has died."""

    network: str
    config: str
    hosts: str
    device: int
    pid: int | None


Setting = tuple[str, str, str]
"""Family, device and name of a value under /proc/sys/net/FAMILY/conf/DEVICE."""


@dataclass(frozen=True, slots=True)
class FabricState:
    """``sysctls`` has what was asked for and the kernel knows. ``ways_out`` are the devices of default routes, by
    family. ``rules`` is wirt's own packet filter table as canonical text, ``None`` if there is none."""

    links: dict[str, LinkState] = field(default_factory=dict)
    sysctls: dict[Setting, str] = field(default_factory=dict)
    routes: tuple[tuple[IpNetwork, str], ...] = ()
    ways_out: tuple[tuple[str, str], ...] = ()
    rules: str | None = None
    servers: dict[str, ServerState] = field(default_factory=dict)
    sharing: dict[str, str] = field(default_factory=dict)
    """By device whose way out wirt shares, what of (:attr:`~wirt.plan.networks_shares.Sharing.digest`); empty for
    one that is half there."""

    def forwards(self, family: str) -> bool:
        """Whether the host forwards for everybody: then it is a router by its administrator's will."""
        return self.sysctls.get((family, "all", "forwarding")) == "1"

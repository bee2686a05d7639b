"""The fabric port on this machine."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from ipaddress import IPv4Network, IPv6Address, ip_network
from pathlib import Path

from wirt.model.errors import Unavailable
from wirt.model.network import Lease, NetworkConfig, Vxlan
from wirt.network import dnsmasq, fabric_links, fabric_rules, sharing, sysctl, taps
from wirt.network.fabric_links import FabricLinks, open_fabric_links
from wirt.plan import networks_actions as actions
from wirt.plan.networks import device_mac
from wirt.plan.networks_actions import Action
from wirt.plan.networks_state import FabricState, IpNetwork, LinkState, Setting

_DEADLINE_S = 30.0
_SYSCTLS = (
    ("ipv4", "forwarding"),
    ("ipv6", "forwarding"),
    ("ipv6", "force_forwarding"),
    ("ipv6", "disable_ipv6"),
    ("ipv6", "accept_ra"),
)
_MODULES = {"vxlan": "vxlan", "vlan": "8021q", "bridge": "bridge"}

Opener = Callable[[], AbstractAsyncContextManager[FabricLinks]]


class HostFabric:
    """All in the network namespace of the calling process. ``tag`` tells this home from others; ``directory``
    is for the servers' files. ``links`` opens the routing socket."""

    def __init__(self, tag: str, directory: Path, *, links: Opener = open_fabric_links) -> None:
        self._tag = tag
        self._links = links
        self._servers = dnsmasq.Servers(directory)

    async def check(self, network: NetworkConfig) -> None:
        if not taps.can_make_taps():
            raise Unavailable("this user may not make network devices", hint="run wirtd as root")
        if network.foreign:
            return
        if not fabric_rules.installed():
            raise Unavailable("nft is not installed", hint="apt-get install nftables")
        if network.share is not None and not sharing.installed():
            raise Unavailable("tc is not installed, which shares a way out", hint="apt-get install iproute2")
        if network.served and not dnsmasq.installed():
            hint = "apt-get install dnsmasq-base; or do without: --no-dhcp --no-dns"
            raise Unavailable("dnsmasq is not installed, which serves DHCP and DNS", hint=hint)
        async with asyncio.timeout(_DEADLINE_S), self._links() as links:
            await self._try_kinds(links, network)

    async def _try_kinds(self, links: FabricLinks, network: NetworkConfig) -> None:
        """Whether the kernel makes such devices is known for certain only once it has: a bridge that nobody
        sees, and on it what the network needs."""
        bridge, other = f"wt{os.getpid()}", f"wu{os.getpid()}"
        kind = "bridge"
        try:
            mac, filtering = device_mac(self._tag, bridge), network.vlan_filtering
            await links.make_bridge(bridge, mac, mtu=None, filtering=filtering)
            if network.vlan is not None:
                kind = "vlan"
                await links.make_vlan(other, device_mac(self._tag, other), bridge, network.vlan)
            elif network.vxlan is not None:
                kind = "vxlan"
                # Of another number and port: the real one may be there, and there can't be two.
                await links.make_vxlan(other, device_mac(self._tag, other), Vxlan(1, network.vxlan.local, (), 1))
        except OSError as error:
            raise _lacking(kind, network, error) from error
        finally:
            for name in (other, bridge):
                with suppress(OSError):
                    await links.delete(links.index(name))

    async def observe(self, devices: frozenset[str] | None = None) -> FabricState:
        ways_out, routes = _routes()
        try:
            async with asyncio.timeout(_DEADLINE_S), self._links() as links:
                out = frozenset(device for _, device in ways_out)
                found = await links.states(None if devices is None else devices | out)
                found |= {} if devices is None else await links.states(self._own_of(found, devices | out))
                shared = await sharing.observe(links, self._tag)
        except OSError as error:
            raise Unavailable(f"the kernel does not tell its devices: {fabric_links.refusal(error)}") from error
        except TimeoutError as error:
            raise Unavailable(f"the kernel did not tell its devices within {_DEADLINE_S:.0f} s") from error
        return FabricState(
            links=found,
            sysctls=_sysctls(found.values()),
            routes=routes,
            ways_out=ways_out,
            rules=await fabric_rules.current_rules(self._tag),
            servers=self._servers.states(),
            sharing=shared,
        )

    def _own_of(self, found: dict[str, LinkState], asked: frozenset[str]) -> frozenset[str]:
        """Bridges and what leads out of them that nobody asked for, and that may be left from before: their names
        begin as wirt's do."""
        names = (name for _, name in socket.if_nameindex() if name[:3] in ("br-", "vx-", "vl-"))
        return frozenset(name for name in names if name not in found and name not in asked)

    async def apply(self, action: Action) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await self._apply(action)
        except OSError as error:
            raise Unavailable(f"can't {action}: {fabric_links.refusal(error)}", hint=_hint(error)) from error
        except TimeoutError as error:
            message = f"can't {action}: it took longer than {_DEADLINE_S:.0f} s"
            raise Unavailable(message, hint="try again") from error

    async def _apply(self, action: Action) -> None:
        match action:
            case actions.SetRules():
                await fabric_rules.set_rules(action.rules, self._tag)
            case actions.SetSysctl():
                sysctl.ensure(action.family, action.device, action.setting, action.value)
            case actions.StartServer():
                async with self._links() as links:
                    index = links.index(action.device)
                await self._servers.start(action.network, index, action.config, action.hosts)
            case actions.ReloadServer():
                await self._servers.reload(action.network, action.hosts)
            case actions.StopServer():
                await self._servers.stop(action.network)
            case actions.SetSharing() | actions.EndSharing():
                async with self._links() as links:
                    await sharing.apply(links, action, self._tag)
            case _:
                async with self._links() as links:
                    await _apply_link(links, action)

    async def leases(self, network: str) -> tuple[Lease, ...]:
        return self._servers.leases(network)

    def changes(self) -> AsyncIterator[None]:
        return fabric_links.changes()


async def _apply_link(links: FabricLinks, action: Action) -> None:
    match action:
        case actions.AddBridge():
            await links.make_bridge(action.name, action.mac, mtu=action.mtu, filtering=action.filtering)
        case actions.AddVlan():
            await links.make_vlan(action.name, action.mac, action.uplink, action.vlan)
        case actions.AddVxlan():
            await links.make_vxlan(action.name, action.mac, action.vxlan)
        case actions.DeleteDevice():
            link = (await links.states(frozenset({action.name}))).get(action.name)
            if link is not None and link.mac == action.mac:
                await links.delete(link.index)
        case actions.AddPeer():
            await links.add_peer(action.name, action.peer)
        case actions.RemovePeer():
            await links.remove_peer(action.name, action.peer)
        case _:
            await _change_link(links, action)


async def _change_link(links: FabricLinks, action: Action) -> None:
    match action:
        case actions.SetMtu():
            await links.change(action.name, mtu=action.mtu)
        case actions.SetFiltering():
            await links.filter_vlans(action.name)
        case actions.JoinBridge():
            await links.join(action.name, action.bridge)
            if action.vlans is not None:
                await links.set_vlans(links.index(action.name), action.vlans)
        case actions.SetUp():
            await links.change(action.name, state="up")
        case actions.AddAddress():
            await links.add_ip(action.name, action.address)
        case _:
            raise AssertionError(action)


def _sysctls(links: Iterable[LinkState]) -> dict[Setting, str]:
    found: dict[Setting, str] = {}
    names = ["all", *(link.name for link in links if link.kind != "tun")]
    for name in names:
        for family, setting in _SYSCTLS:
            value = sysctl.read(family, name, setting)
            if value is not None:
                found[family, name, setting] = value
    return found


def _routes() -> tuple[tuple[tuple[str, str], ...], tuple[tuple[IpNetwork, str], ...]]:
    """The devices of default routes by family, and the networks that are routed somewhere (proc(5), net/route;
    ipv6_route). From files, which cost less than the routing socket."""
    out: list[tuple[str, str]] = []
    routes: list[tuple[IpNetwork, str]] = []
    for line in _lines("route")[1:]:
        words = line.split()
        flags = int(words[3], 16)
        if flags & 0x1 and not flags & 0x200:  # RTF_UP, RTF_REJECT
            address, mask = (int.from_bytes(bytes.fromhex(words[n]), "little") for n in (1, 7))
            network = IPv4Network((address, mask.bit_count()))
            routes.append((network, words[0]))
            if network.prefixlen == 0:
                out.append(("ipv4", words[0]))
    for line in _lines("ipv6_route"):
        words = line.split()
        flags, device = int(words[8], 16), words[9]
        if flags & 0x1 and not flags & 0x80000200 and device != "lo":  # ... RTF_LOCAL
            network6 = ip_network((IPv6Address(bytes.fromhex(words[0])), int(words[1], 16)))
            if not network6.is_link_local and not network6.is_multicast:
                routes.append((network6, device))
                if network6.prefixlen == 0:
                    out.append(("ipv6", device))
    return tuple(dict.fromkeys(out)), tuple(dict.fromkeys(routes))


def _lines(name: str) -> list[str]:
    try:
        return Path("/proc/thread-self/net", name).read_text().splitlines()
    except OSError:
        return []


def _lacking(kind: str, network: NetworkConfig, error: OSError) -> Unavailable:
    reason = fabric_links.refusal(error)
    if kind == "bridge" and network.vlan_filtering and error.errno == errno.EOPNOTSUPP:
        hint = "it needs CONFIG_BRIDGE_VLAN_FILTERING; without, give each VLAN a network of its own (--vlan)"
        return Unavailable(f"this kernel's bridges can't tell VLANs apart: {reason}", hint=hint)
    needed = _MODULES[kind]
    return Unavailable(f"this kernel makes no device of kind {kind}: {reason}", hint=f"modprobe {needed}")


def _hint(error: OSError) -> str | None:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "run wirtd as root"
    if error.errno == errno.EROFS:
        return "mount /proc/sys writable"
    return None

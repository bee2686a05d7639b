"""From networks as they should be and as they are to what is to be done about it.

A device is wirt's own if its address is the one that its name and the home give it (:func:`device_mac`): it is
made with that address, so there is no moment in which it would not be told from others. Nothing else is ever
changed, with two exceptions that are asked for by name: an uplink is put into its bridge, and a guest's tap
that has lost its bridge is put back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wirt.model.network import FORWARDED, NetworkConfig, NetworkMode
from wirt.plan.networks_actions import (
    Action,
    AddAddress,
    AddBridge,
    AddPeer,
    AddVlan,
    AddVxlan,
    DeleteDevice,
    EndSharing,
    JoinBridge,
    ReloadServer,
    RemovePeer,
    SetFiltering,
    SetMtu,
    SetRules,
    SetSharing,
    SetSysctl,
    SetUp,
    StartServer,
    StopServer,
)
from wirt.plan.networks_rules import rules_of, ways_out
from wirt.plan.networks_services import Guest, configuration, told_of
from wirt.plan.networks_shares import Share, sharing_of
from wirt.plan.networks_state import FabricState, Interface, LinkState, Setting
from wirt.plan.vlans import VlanMembership

LONGEST_DEVICE = 15
"""IFNAMSIZ, less its end."""


@dataclass(frozen=True, slots=True)
class Port:
    """The tap of a running guest's card, and the bridge that it was plugged into."""

    tap: str
    bridge: str
    vlans: VlanMembership | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """``tag`` is the home's. ``leaving`` are networks of before whose settings of the host's own devices are to be
    taken back."""

    tag: str
    networks: tuple[NetworkConfig, ...]
    guests: tuple[Guest, ...] = ()
    ports: tuple[Port, ...] = ()
    leaving: tuple[NetworkConfig, ...] = ()
    shares: Mapping[str, tuple[Share, ...]] = field(default_factory=dict)
    """Of the guests that run, by network."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What no action can mend, with what a person can do about it. ``blocks``: nothing is done for the network."""

    network: str
    message: str
    hint: str
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class FabricPlan:
    """``actions`` in the order in which they are safe."""

    actions: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def home_tag(home: str) -> str:
    """What tells the homes of one host apart: in names of tables, and in devices' addresses."""
    return hashlib.blake2s(home.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def device_mac(tag: str, name: str) -> str:
    """The address of wirt's own device ``name``, locally administered."""
    return fixed_mac(f"{tag} {name}")


def fixed_mac(seed: str) -> str:
    """A locally administered address: a bridge without one of its own takes its ports' lowest, and the guests'
    neighbour tables would go stale with each guest that comes or goes."""
    digest = hashlib.blake2s(seed.encode(), digest_size=6).digest()
    return bytes([digest[0] & 0xFC | 0x02, *digest[1:]]).hex(":")


def device_name(prefix: str, name: str, tag: str) -> str:
    """``prefix`` and the network's name where that is a device's name, else a name made from it."""
    plain = f"{prefix}-{name}"
    if len(plain) <= LONGEST_DEVICE:
        return plain
    return f"{prefix}-{hashlib.blake2s(f'{tag} {name}'.encode(), digest_size=5).hexdigest()}"


def mac_of_bridge(network: NetworkConfig, tag: str) -> str:
    """A shared bridge has the same address whichever wirt makes it."""
    return fixed_mac(network.bridge) if network.shared else device_mac(tag, network.bridge)


def lower_device(network: NetworkConfig, tag: str) -> str | None:
    """The device of wirt's own that leads out of the bridge."""
    if network.mode is NetworkMode.VXLAN:
        return device_name("vx", network.name, tag)
    return device_name("vl", network.name, tag) if network.vlan is not None else None


def devices_of(network: NetworkConfig, tag: str) -> tuple[str, ...]:
    """All that the network needs to be there, the bridge first."""
    lower = lower_device(network, tag)
    return tuple(name for name in (network.bridge, lower, network.uplink) if name is not None)


def sysctls_of(network: NetworkConfig) -> dict[Setting, str]:
    """Of its own bridge. Forwarding is switched on for it alone, not for the host."""
    if network.foreign:
        return {}
    bridge, forwarded = network.bridge, network.mode in FORWARDED
    wanted = {("ipv4", bridge, "forwarding"): "1" if forwarded and network.address is not None else "0"}
    if network.address6 is None:
        return {**wanted, ("ipv6", bridge, "disable_ipv6"): "1"}
    # Without accept_ra a guest can't make itself the host's router; forwarding alone says "I am one" to the guests
    # (RFC 4861, the R flag), and force_forwarding forwards.
    wanted |= {("ipv6", bridge, "disable_ipv6"): "0", ("ipv6", bridge, "accept_ra"): "0"}
    wanted |= {("ipv6", bridge, name): "1" if forwarded else "0" for name in ("forwarding", "force_forwarding")}
    return wanted


def plan(wanted: Wanted, state: FabricState) -> FabricPlan:
    """Empty if all is as wanted. A network with a problem that concerns its devices is left as it is."""
    problems = [problem for network in wanted.networks for problem in _obstacles(network, wanted, state)]
    blocked = {problem.network for problem in problems}
    able = [network for network in wanted.networks if network.name not in blocked]
    actions: list[Action] = []
    actions += _stop_servers(wanted, state)
    actions += _delete_devices(wanted, state)
    # Before the devices: whatever comes up is never without its rules.
    actions += _set_rules(wanted, state)
    for network in able:
        actions += _make(network, wanted, state)
    actions += _set_ways_out(wanted, state)
    actions += _share(able, wanted, state)
    for network in able:
        actions += _serve(network, wanted, state)
    problems += [problem for network in able for problem in _wishes_unmet(network, wanted, state)]
    return FabricPlan(tuple(actions), tuple(problems))


def _obstacles(network: NetworkConfig, wanted: Wanted, state: FabricState) -> Iterator[Problem]:
    bridge = state.links.get(network.bridge)
    if network.foreign:
        if bridge is None or bridge.kind != "bridge":
            yield Problem(
                network.name, f"there is no bridge {network.bridge}", "it is not wirt's: make it again", True
            )
        return
    kinds = {network.bridge: "bridge"}
    lower = lower_device(network, wanted.tag)
    if lower is not None:
        kinds[lower] = "vxlan" if network.mode is NetworkMode.VXLAN else "vlan"
    for name, kind in kinds.items():
        link = state.links.get(name)
        if link is not None and (link.kind != kind or not _is_own(link, network, wanted.tag)):
            hint = f"see what it is (ip -d link show {name}); rename or remove it, or destroy this network"
            yield Problem(network.name, f"{name} is another's device", hint, True)
    if network.uplink is not None and network.mode is NetworkMode.BRIDGE:
        yield from _uplink_obstacles(network, state)


def _uplink_obstacles(network: NetworkConfig, state: FabricState) -> Iterator[Problem]:
    assert network.uplink is not None
    uplink = state.links.get(network.uplink)
    if uplink is None:
        yield Problem(
            network.name, f"the uplink {network.uplink} is gone", "plug it in again; wirt will notice", True
        )
    elif network.vlan is None and uplink.master not in (None, network.bridge):
        message = f"the uplink {network.uplink} is in the bridge {uplink.master}"
        yield Problem(network.name, message, f"ip link set {network.uplink} nomaster", True)


def _is_own(link: LinkState, network: NetworkConfig, tag: str) -> bool:
    return (network.shared and link.name == network.bridge) or link.mac == device_mac(tag, link.name)


def _stop_servers(wanted: Wanted, state: FabricState) -> Iterator[Action]:
    served = {network.name for network in wanted.networks if network.served}
    yield from (StopServer(name) for name in sorted(state.servers) if name not in served)


def _delete_devices(wanted: Wanted, state: FabricState) -> Iterator[Action]:
    """Ports before their bridge."""
    needed = {name for network in wanted.networks for name in devices_of(network, wanted.tag)}
    owners = {name: each.name for each in wanted.leaving for name in devices_of(each, wanted.tag)}
    mine = [
        link
        for link in state.links.values()
        if link.kind in ("bridge", "vlan", "vxlan")
        and link.name not in needed
        and link.mac == device_mac(wanted.tag, link.name)
    ]
    for link in sorted(mine, key=lambda each: (each.kind == "bridge", each.name)):
        yield DeleteDevice(owners.get(link.name, ""), link.name, link.mac)


def _set_rules(wanted: Wanted, state: FabricState) -> Iterator[Action]:
    rules = rules_of(wanted.networks, state, wanted.tag)
    if rules != state.rules:
        yield SetRules("", rules)


def _make(network: NetworkConfig, wanted: Wanted, state: FabricState) -> Iterator[Action]:
    if not network.foreign:
        yield from _make_bridge(network, wanted, state)
        yield from _make_lower(network, wanted, state)
    for port in wanted.ports:
        tap = state.links.get(port.tap)
        # One in another bridge was put there on purpose; one in none has lost its bridge.
        lost = tap is not None and tap.kind == "tun" and tap.master is None
        if port.bridge == network.bridge and lost:
            yield JoinBridge(network.name, port.tap, network.bridge, port.vlans)
            yield SetUp(network.name, port.tap)


def _make_bridge(network: NetworkConfig, wanted: Wanted, state: FabricState) -> Iterator[Action]:
    name, bridge = network.bridge, state.links.get(network.bridge)
    if bridge is None:
        mac = mac_of_bridge(network, wanted.tag)
        yield AddBridge(network.name, name, mac, network.mtu, network.vlan_filtering)
    else:
        if network.mtu is not None and bridge.mtu != network.mtu:
            yield SetMtu(network.name, name, network.mtu)
        if network.vlan_filtering and not bridge.filtering:
            yield SetFiltering(network.name, name)
    if bridge is None or not network.shared:  # an administrator's own keeps its settings
        yield from _settings(network.name, sysctls_of(network), state, made=bridge is None)
    addresses: frozenset[Interface] = bridge.addresses if bridge else frozenset()
    for address in (network.address, network.address6):
        if address is not None and address not in addresses:
            yield AddAddress(network.name, name, address)
    if bridge is None or not bridge.up:
        yield SetUp(network.name, name)


def _settings(
    network: str, wanted: dict[Setting, str], state: FabricState, *, made: bool = False
) -> Iterator[Action]:
    """Those that the kernel has and that differ. Of a device that is ``made`` just now, all: one that the kernel
    does not know is passed over when it is set."""
    for (family, device, setting), value in wanted.items():
        known = state.sysctls.get((family, device, setting))
        if made or (known is not None and known != value):
            yield SetSysctl(network, family, device, setting, value)


def _make_lower(network: NetworkConfig, wanted: Wanted, state: FabricState) -> Iterator[Action]:
    """What leads out of the bridge, and is a port of it."""
    lower = lower_device(network, wanted.tag)
    port = lower or (network.uplink if network.mode is NetworkMode.BRIDGE else None)
    if port is None:
        return
    link = state.links.get(port)
    if lower is not None:
        if link is not None and not _as_wished(link, network):
            yield DeleteDevice(network.name, lower, link.mac)
            link = None
        yield from _make_own(network, lower, link, wanted, state)
    # A bridge that has gone has let go of its ports.
    if link is None or link.master != network.bridge or network.bridge not in state.links:
        yield JoinBridge(network.name, port, network.bridge)
    if link is None or not link.up:
        yield SetUp(network.name, port)


def _make_own(
    network: NetworkConfig, lower: str, link: LinkState | None, wanted: Wanted, state: FabricState
) -> Iterator[Action]:
    if link is None:
        yield _add_lower(network, lower, device_mac(wanted.tag, lower))
    if network.uplink is not None and not state.links[network.uplink].up:
        yield SetUp(network.name, network.uplink)
    if network.mtu is not None and (link is None or link.mtu != network.mtu):
        yield SetMtu(network.name, lower, network.mtu)
    # The host says nothing through it by itself.
    yield from _settings(network.name, {("ipv6", lower, "disable_ipv6"): "1"}, state, made=link is None)
    if network.vxlan is not None:
        known = link.vxlan.peers if link is not None and link.vxlan is not None else frozenset()
        peers = set(network.vxlan.peers)
        yield from (RemovePeer(network.name, lower, peer) for peer in sorted(known - peers))
        yield from (AddPeer(network.name, lower, peer) for peer in sorted(peers - known))


def _as_wished(link: LinkState, network: NetworkConfig) -> bool:
    if network.vxlan is not None:
        has, wants = link.vxlan, network.vxlan
        return has is not None and (has.vni, has.local, has.port) == (wants.vni, wants.local, wants.port)
    return (link.parent, link.vlan) == (network.uplink, network.vlan)


def _add_lower(network: NetworkConfig, name: str, mac: str) -> Action:
    if network.vxlan is not None:
        return AddVxlan(network.name, name, mac, network.vxlan)
    assert network.uplink is not None
    assert network.vlan is not None
    return AddVlan(network.name, name, mac, network.uplink, network.vlan)


def _set_ways_out(wanted: Wanted, state: FabricState) -> Iterator[Action]:
    """Answers come in where the way out is, and are forwarded only if that device forwards. A host that
    forwards for everybody does so already, and then it stays that way."""
    own = [network for network in wanted.networks if not network.foreign]
    for family, setting in (("ipv4", "forwarding"), ("ipv6", "force_forwarding")):
        if state.forwards(family):
            continue
        needed = ways_out(own, state, family)
        unneeded = ways_out(wanted.leaving, state, family) - needed if wanted.leaving else frozenset()
        settings = {(family, device, setting): "1" for device in sorted(needed)}
        settings |= {(family, device, setting): "0" for device in sorted(unneeded)}
        yield from _settings("", settings, state)


def _share(able: Sequence[NetworkConfig], wanted: Wanted, state: FabricState) -> Iterator[Action]:
    """Of networks that can't be looked after now, what is there stays."""
    needed: set[str] = set()
    for network in wanted.networks:
        shares = wanted.shares.get(network.name, ())
        sharing = sharing_of(network, lower_device(network, wanted.tag), shares)
        if sharing is None:
            continue
        needed.add(sharing.device)
        if network in able and state.sharing.get(sharing.device) != sharing.digest:
            yield SetSharing(network.name, sharing)
    owners = {name: each.name for each in wanted.leaving for name in devices_of(each, wanted.tag)}
    for device in sorted(set(state.sharing) - needed):
        yield EndSharing(owners.get(device, ""), device)


def _serve(network: NetworkConfig, wanted: Wanted, state: FabricState) -> Iterator[Action]:
    if not network.served:
        return
    server, bridge = state.servers.get(network.name), state.links.get(network.bridge)
    config, hosts = configuration(network), told_of(network, wanted.guests)
    good = server is not None and server.pid is not None and server.config == config
    if not good or server is None or bridge is None or server.device != bridge.index:
        yield StartServer(network.name, network.bridge, config, hosts)
    elif server.hosts != hosts:
        yield ReloadServer(network.name, hosts)


def _wishes_unmet(network: NetworkConfig, wanted: Wanted, state: FabricState) -> Iterator[Problem]:
    """What leaves the devices as they should be, and the guests without something."""
    yield from _unforwarded(network, state)
    for port in wanted.ports:
        tap = state.links.get(port.tap)
        if port.bridge == network.bridge and tap is not None and tap.master not in (None, network.bridge):
            hint = f"if that was no purpose: ip link set {port.tap} master {network.bridge}"
            yield Problem(network.name, f"the tap {port.tap} is in the bridge {tap.master}", hint)


def _unforwarded(network: NetworkConfig, state: FabricState) -> Iterator[Problem]:
    if network.mode not in FORWARDED:
        return
    if network.address6 is not None and not can_forward6(state):
        yield Problem(network.name, NO_FORWARDING6, HINT_FORWARDING6)
    families = {family for family, _ in state.ways_out}
    if network.uplink is None and network.address is not None and "ipv4" not in families:
        yield Problem(
            network.name, "the host has no default route, so guests get no further", "ip route add default"
        )
    elif network.uplink is not None and network.uplink not in state.links:
        yield Problem(network.name, f"the uplink {network.uplink} is gone", "plug it in again; wirt will notice")


NO_FORWARDING6 = "this kernel forwards IPv6 for the whole host or not at all, and for this host it does not"
HINT_FORWARDING6 = (
    "if it may be a router: sysctl net.ipv6.conf.all.forwarding=1 (and accept_ra=2 on a card that is"
    " configured by router advertisements)"
)


def can_forward6(state: FabricState) -> bool:
    """Linux 6.17 can for single devices (force_forwarding); before, only for all."""
    return state.forwards("ipv6") or ("ipv6", "all", "force_forwarding") in state.sysctls


def watched(networks: Iterable[NetworkConfig], ports: Sequence[Port], tag: str) -> frozenset[str]:
    """The devices whose state a plan looks at."""
    names = {name for network in networks for name in devices_of(network, tag)}
    return frozenset(names | {port.tap for port in ports})

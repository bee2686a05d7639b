"""The fabric port in memory: actions change a state as the kernel would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from wirt.model.errors import Unavailable, WirtError
from wirt.model.network import Lease, NetworkConfig
from wirt.plan import networks_actions as actions
from wirt.plan.networks_actions import Action
from wirt.plan.networks_state import FabricState, LinkState, ServerState, VxlanState

_BY_DEFAULT = {
    ("ipv4", "forwarding"): "0",
    ("ipv6", "forwarding"): "0",
    ("ipv6", "force_forwarding"): "0",
    ("ipv6", "disable_ipv6"): "0",
    ("ipv6", "accept_ra"): "1",
}


class FakeFabric:
    """One host's. What tests and simulations arrange or look at is public: ``state``, the kinds of device that the
    kernel ``lacks``, ``failures`` (raised by the next actions, one each), ``done``."""

    def __init__(self, state: FabricState | None = None) -> None:
        self.state = state or bare_host()
        self.lacks: set[str] = set()
        self.failures: list[WirtError] = []
        self.done: list[Action] = []
        self.given: dict[str, tuple[Lease, ...]] = {}
        self._news = asyncio.Event()
        self._pid = 1000
        self._left = -1
        self._failure: WirtError | None = None

    async def check(self, network: NetworkConfig) -> None:
        kinds = {"vlan": network.vlan is not None, "vxlan": network.vxlan is not None}
        kinds |= {"vlan-filtering": network.vlan_filtering, "dnsmasq": network.served}
        for kind, needed in kinds.items():
            if needed and kind in self.lacks:
                raise Unavailable(f"this kernel makes no device of kind {kind}", hint=f"modprobe {kind}")

    async def observe(self, devices: frozenset[str] | None = None) -> FabricState:
        return self.state

    async def apply(self, action: Action) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self._left -= 1
        if self._left == -1 and self._failure is not None:
            raise self._failure
        self.state = self.after(self.state, action)
        self.done.append(action)

    async def leases(self, network: str) -> tuple[Lease, ...]:
        return self.given.get(network, ())

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await self._news.wait()
            self._news.clear()
            yield

    def arrange(self, state: FabricState) -> None:
        """Somebody else changes something."""
        self.state = state
        self._news.set()

    def fail_in(self, actions: int, failure: WirtError | None) -> None:
        """After so many more actions, one fails."""
        self._left, self._failure = actions, failure

    def after(self, state: FabricState, action: Action) -> FabricState:
        match action:
            case actions.SetRules():
                return replace(state, rules=action.rules)
            case actions.SetSysctl():
                return _set(state, action)
            case actions.StartServer():
                self._pid += 1
                device = _there(state, action.device).index
                server = ServerState(action.network, action.config, action.hosts, device, self._pid)
                return replace(state, servers={**state.servers, action.network: server})
            case actions.ReloadServer():
                server = replace(state.servers[action.network], hosts=action.hosts)
                return replace(state, servers={**state.servers, action.network: server})
            case actions.StopServer():
                left = {name: each for name, each in state.servers.items() if name != action.network}
                return replace(state, servers=left)
            case actions.SetSharing():
                name = _there(state, action.sharing.device).name
                return replace(state, sharing={**state.sharing, name: action.sharing.digest})
            case actions.EndSharing():
                kept = {device: digest for device, digest in state.sharing.items() if device != action.device}
                return replace(state, sharing=kept)
            case actions.DeleteDevice():
                link = state.links.get(action.name)
                return without(state, action.name) if link is not None and link.mac == action.mac else state
            case _:
                return _link_after(state, action)


def bare_host() -> FabricState:
    """A card with an address, by which the world is reached, and one that is free."""
    from ipaddress import ip_interface, ip_network

    addresses = frozenset({ip_interface("192.0.2.10/24")})
    links = {
        "lo": LinkState(
            "lo", 1, None, "00:00:00:00:00:00", up=True, addresses=frozenset({ip_interface("127.0.0.1/8")})
        ),
        "eth0": LinkState("eth0", 2, None, "52:54:00:00:00:01", up=True, addresses=addresses),
        "eth1": LinkState("eth1", 3, None, "52:54:00:00:00:02", up=True),
    }
    state = FabricState(
        links=links,
        routes=((ip_network("0.0.0.0/0"), "eth0"), (ip_network("192.0.2.0/24"), "eth0")),
        ways_out=(("ipv4", "eth0"), ("ipv6", "eth0")),
    )
    for name in ("all", *links):
        state = _with_sysctls(state, name)
    return state


def without(state: FabricState, name: str) -> FabricState:
    """As when a device is removed: its ports have no master, what was on it is gone too."""
    gone = {name} | {each.name for each in state.links.values() if each.kind == "vlan" and each.parent == name}
    links = {
        each.name: replace(each, master=None) if each.master in gone else each
        for each in state.links.values()
        if each.name not in gone
    }
    sysctls = {key: value for key, value in state.sysctls.items() if key[1] not in gone}
    return replace(state, links=links, sysctls=sysctls)


def with_link(state: FabricState, link: LinkState) -> FabricState:
    fresh = link.name not in state.links
    state = replace(state, links={**state.links, link.name: link})
    return _with_sysctls(state, link.name) if fresh else state


def _with_sysctls(state: FabricState, name: str) -> FabricState:
    fresh = {(family, name, setting): value for (family, setting), value in _BY_DEFAULT.items()}
    return replace(state, sysctls={**state.sysctls, **fresh})


def _set(state: FabricState, action: actions.SetSysctl) -> FabricState:
    key = (action.family, action.device, action.setting)
    return replace(state, sysctls={**state.sysctls, key: action.value}) if key in state.sysctls else state


def _there(state: FabricState, name: str) -> LinkState:
    if name not in state.links:
        raise Unavailable(f"there is no device {name}")
    return state.links[name]


def _link_after(state: FabricState, action: Action) -> FabricState:
    index = 1 + max((link.index for link in state.links.values()), default=0)
    match action:
        case actions.AddBridge():
            link = LinkState(
                action.name, index, "bridge", action.mac, mtu=action.mtu or 1500, filtering=action.filtering
            )
        case actions.AddVlan():
            parent = _there(state, action.uplink)
            link = LinkState(
                action.name, index, "vlan", action.mac, mtu=parent.mtu, parent=parent.name, vlan=action.vlan
            )
        case actions.AddVxlan():
            vxlan = VxlanState(action.vxlan.vni, action.vxlan.local, action.vxlan.port)
            link = LinkState(action.name, index, "vxlan", action.mac, vxlan=vxlan)
        case _:
            return _changed(state, action)
    return state if action.name in state.links else with_link(state, link)


def _changed(state: FabricState, action: Action) -> FabricState:
    assert not isinstance(
        action,
        actions.StopServer
        | actions.SetRules
        | actions.ReloadServer
        | actions.StartServer
        | actions.SetSharing
        | actions.EndSharing,
    )
    link = _there(state, action.name)  # type: ignore[union-attr]
    match action:
        case actions.SetMtu():
            link = replace(link, mtu=action.mtu)
        case actions.SetFiltering():
            link = replace(link, filtering=True)
        case actions.JoinBridge():
            link = replace(link, master=_there(state, action.bridge).name)
        case actions.SetUp():
            link = replace(link, up=True)
        case actions.AddAddress():
            link = replace(link, addresses=link.addresses | {action.address})
        case actions.AddPeer() | actions.RemovePeer():
            assert link.vxlan is not None
            peers = link.vxlan.peers - {action.peer}
            peers |= {action.peer} if isinstance(action, actions.AddPeer) else set()
            link = replace(link, vxlan=replace(link.vxlan, peers=frozenset(peers)))
    return with_link(state, link)

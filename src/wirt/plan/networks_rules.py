"""Who may reach whom through the host, as an nftables table of the family inet (nft(8), libnftables-json(5)).

Frames between guests of one network don't come here: their bridge forwards them, and packet filters of the family
bridge watch over that. What comes here is what the host itself would route. Other programs' tables stay as they
are; since a packet must be accepted by every table, what is dropped here stays dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from wirt.model.network import FORWARDED, NetworkConfig, NetworkMode
from wirt.plan.networks_state import FabricState, IpNetwork

Json = dict[str, Any]

_CHAINS = (
    ("input", "filter", "input", 0),
    ("forward", "filter", "forward", 0),
    ("postrouting", "nat", "postrouting", 100),
)
_TO_THE_HOST_ITSELF = ("224.0.0.0/4", "255.255.255.255/32", "fe80::/10", "ff00::/8")
"""Multicast, broadcast and link-local: what ARP's and DHCP's successors, and neighbour discovery, are sent to."""


def table_name(tag: str) -> str:
    """``tag`` tells the homes of one host apart."""
    return f"wirt-networks-{tag}"


def rules_of(networks: Sequence[NetworkConfig], state: FabricState, tag: str) -> str | None:
    """The whole table as canonical text (what :func:`canonical` makes of the kernel's); ``None`` if no network
    needs it."""
    own = [network for network in networks if not network.foreign]
    if all(network.shared and network.vxlan is None for network in own):
        return None
    table = table_name(tag)
    rules: list[Json] = []
    for network in own:
        rules += [_rule(table, "input", *rule) for rule in _into_the_tunnel(network, own)]
    for network in own:
        if not network.shared:
            rules += [_rule(table, "input", *rule) for rule in _to_the_host(network)]
    for network in own:
        rules += [_rule(table, "forward", *rule) for rule in _through_the_host(network, own)]
    rules += [_rule(table, "forward", *rule) for rule in _confined(own, state)]
    for network in own:
        rules += [_rule(table, "postrouting", *rule) for rule in _masqueraded(network)]
    chains = [
        _chain(table, name, kind, hook, priority)
        for name, kind, hook, priority in _CHAINS
        if kind != "nat" or any(rule["rule"]["chain"] == name for rule in rules)
    ]
    return _text([{"table": {"family": "inet", "name": table}}, *chains, *rules])


def canonical(listing: Json) -> str:
    """``nft -j list table`` without what the kernel adds (handles, versions)."""
    objects = []
    for entry in listing["nftables"]:
        for kind, value in entry.items():
            if kind != "metainfo":
                objects.append({kind: {name: each for name, each in value.items() if name != "handle"}})
    return _text(objects)


def transaction(rules: str | None, tag: str) -> str:
    """What makes ``rules`` the whole table, whatever it is now, for ``nft -j -f -``: all of it or nothing."""
    table = {"table": {"family": "inet", "name": table_name(tag)}}
    commands: list[Json] = [{"add": table}, {"delete": table}]
    if rules is not None:
        commands += [{"add": each} for each in json.loads(rules)]
    return json.dumps({"nftables": commands})


def _to_the_host(network: NetworkConfig) -> Iterator[tuple[Json, ...]]:
    """A guest of a network that leads nowhere reaches the host by the host's address in that network, and by
    none of its others: Linux would answer to any."""
    if network.mode in FORWARDED:
        return
    here = [str(each.network) for each in (network.address, network.address6) if each is not None]
    if here:
        for target in (*here, *_TO_THE_HOST_ITSELF):
            yield _from(network.bridge), _address("daddr", "==", ip_network(target)), _ACCEPT
    yield _from(network.bridge), _DROP


def _into_the_tunnel(network: NetworkConfig, others: Sequence[NetworkConfig]) -> Iterator[tuple[Json, ...]]:
    """The kernel unpacks whatever comes to a VXLAN's port, from anyone: a guest that can reach an address of the
    host would be a port of it. Its own guests have the bridge; through other bridges only peers come in."""
    vxlan = network.vxlan
    if vxlan is None:
        return
    # The number stands 4 bytes into UDP's payload (RFC 7348, 5).
    packed = (_match(_UDP_PORT, "==", vxlan.port), _match(_VXLAN_NUMBER, "==", vxlan.vni))
    for other in others:
        if not other.shared or other is network:
            yield _from(other.bridge), *packed, _DROP
    strangers = (_address("saddr", "!=", ip_network(peer)) for peer in sorted(vxlan.peers))
    yield _match({"meta": {"key": "iifkind"}}, "==", "bridge"), *packed, *strangers, _DROP


def _through_the_host(network: NetworkConfig, others: Sequence[NetworkConfig]) -> Iterator[tuple[Json, ...]]:
    bridge = network.bridge
    # Where br_netfilter is loaded, what stays within a bridge comes here too.
    yield _from(bridge), _to(bridge), _ACCEPT
    if network.mode not in FORWARDED:
        yield _from(bridge), _DROP
        yield _to(bridge), _DROP
        return
    yield from _senders(network)
    if network.mode is NetworkMode.NAT:
        if network.uplink is not None:
            yield _from(bridge), _to(network.uplink, "!="), _DROP
        yield _to(bridge), _ANSWERS, _ACCEPT
        yield _to(bridge), _DROP
        return
    friends = [each.bridge for each in others if each.mode is NetworkMode.ROUTED and each is not network]
    for other in others:
        if other.bridge not in (bridge, *friends):
            yield _from(other.bridge), _to(bridge), _DROP
    if network.uplink is not None:
        for friend in friends:
            yield _from(bridge), _to(friend), _ACCEPT
            yield _from(friend), _to(bridge), _ACCEPT
        yield _from(bridge), _to(network.uplink, "!="), _DROP
        yield _to(bridge), _from(network.uplink, "!="), _DROP


def _senders(network: NetworkConfig) -> Iterator[tuple[Json, ...]]:
    """Nobody sends under an address that is not of this network."""
    for address, protocol in ((network.address, "ipv4"), (network.address6, "ipv6")):
        if address is None:
            yield _from(network.bridge), _protocol(protocol), _DROP
        else:
            yield _from(network.bridge), _address("saddr", "!=", address.network), _DROP


def _confined(networks: Sequence[NetworkConfig], state: FabricState) -> Iterator[tuple[Json, ...]]:
    """A way out must forward what comes back. Where the host is no router otherwise, it shall not become one
    between its other cards: what begins outside may go to bridges only, which have rules of their own."""
    bridges, begins = ({"meta": {"key": "oifkind"}}, "!=", "bridge"), ({"ct": {"key": "state"}}, "in", "new")
    for family in ("ipv4", "ipv6"):
        for device in sorted(ways_out(networks, state, family)):
            if not state.forwards(family):
                yield _from(device), _protocol(family), _match(*bridges), _match(*begins), _DROP


def ways_out(networks: Sequence[NetworkConfig], state: FabricState, family: str) -> frozenset[str]:
    """The devices through which guests reach the world, and through which it answers."""
    devices = set()
    for network in networks:
        address = network.address if family == "ipv4" else network.address6
        if network.mode in FORWARDED and address is not None:
            default = {device for of, device in state.ways_out if of == family}
            devices |= {network.uplink} if network.uplink is not None else default
    return frozenset(devices) - {network.bridge for network in networks}


def _masqueraded(network: NetworkConfig) -> Iterator[tuple[Json, ...]]:
    if network.mode is not NetworkMode.NAT:
        return
    for address in (network.address, network.address6):
        if address is not None:
            out = _to(network.uplink) if network.uplink is not None else _to(network.bridge, "!=")
            yield _address("saddr", "==", address.network), out, {"masquerade": None}


_UDP_PORT: Json = {"payload": {"protocol": "udp", "field": "dport"}}
_VXLAN_NUMBER: Json = {"payload": {"base": "th", "offset": 96, "len": 24}}
_ACCEPT: Json = {"accept": None}
_DROP: Json = {"drop": None}


def _match(left: Json, operator: str, right: object) -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


_ANSWERS = _match({"ct": {"key": "state"}}, "in", ["established", "related"])


def _protocol(family: str) -> Json:
    return _match({"meta": {"key": "nfproto"}}, "==", family)


def _from(device: str, operator: str = "==") -> Json:
    return _match({"meta": {"key": "iifname"}}, operator, device)


def _to(device: str, operator: str = "==") -> Json:
    return _match({"meta": {"key": "oifname"}}, operator, device)


def _address(field: str, operator: str, network: IpNetwork) -> Json:
    left: Json = {"payload": {"protocol": "ip" if network.version == 4 else "ip6", "field": field}}
    address = str(network.network_address)
    if network.prefixlen == network.max_prefixlen:
        return _match(left, operator, address)
    return _match(left, operator, {"prefix": {"addr": address, "len": network.prefixlen}})


def _chain(table: str, name: str, kind: str, hook: str, priority: int) -> Json:
    body = {"family": "inet", "table": table, "name": name, "type": kind, "hook": hook, "prio": priority}
    return {"chain": {**body, "policy": "accept"}}


def _rule(table: str, chain: str, *expression: Json) -> Json:
    return {"rule": {"family": "inet", "table": table, "chain": chain, "expr": list(expression)}}


def _text(objects: list[Json]) -> str:
    return json.dumps(objects, sort_keys=True, separators=(",", ":"))

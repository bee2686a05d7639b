"""Addresses of a new network: those that were asked for, checked, or free ones."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from typing import TYPE_CHECKING

from wirt.model.errors import ConfigError
from wirt.model.network import FORWARDED, DhcpRange, NetworkConfig, NetworkMode
from wirt.plan.networks import HINT_FORWARDING6, NO_FORWARDING6, can_forward6
from wirt.plan.networks_state import FabricState, Interface, IpNetwork, LinkState

if TYPE_CHECKING:
    from wirt.plan.networks_wishes import Wish

_LIKELY_FREE = (IPv4Network("10.220.0.0/14"), IPv4Network("172.26.0.0/16"), IPv4Network("192.168.192.0/18"))
"""Where networks without an address get one: private (RFC 1918), and rarely chosen by people and by others'
programs."""


def addresses_of(
    wish: Wish, mode: NetworkMode, shared: bool, others: Sequence[NetworkConfig], state: FabricState
) -> tuple[IPv4Interface | None, IPv6Interface | None]:
    if shared and (wish.address or wish.address6) not in (None, "none"):
        hint = f"give {wish.bridge} an address where it is configured"
        raise ConfigError("the bridge is not wirt's, and stays as it is", key="address", hint=hint)
    address6 = _interface6(wish.address6, mode, others, state) if wish.address6 not in (None, "none") else None
    if wish.address == "none":
        if mode in FORWARDED and address6 is None:
            raise ConfigError(f"mode {mode} needs an address", key="address", hint="as in --address 10.5.0.1/24")
        return None, address6
    if wish.address is not None:
        return _interface4(wish.address, others, state), address6
    if mode is NetworkMode.ROUTED and address6 is None:
        hint = "one that the routers around send here, as in --address 192.0.2.1/28"
        raise ConfigError("a routed network needs an address", key="address", hint=hint)
    chosen = mode is NetworkMode.NAT or (mode is NetworkMode.ISOLATED and address6 is None)
    return (_free_network(others, state) if chosen else None), address6


def _interface4(text: str, others: Sequence[NetworkConfig], state: FabricState) -> IPv4Interface:
    try:
        found = IPv4Interface(text)
    except ValueError as error:
        hint = "the host's address in the network, with prefix, as in 10.5.0.1/24"
        raise ConfigError(f"{text} is no IPv4 address with a prefix", key="address", hint=hint) from error
    network = found.network
    if "/" not in text or network.prefixlen > 30:
        hint = f"as in {found.ip}/24; at least /30 leaves room for a guest"
        raise ConfigError(f"{text} has no prefix that leaves room for guests", key="address", hint=hint)
    if found.ip in (network.network_address, network.broadcast_address):
        hint = f"as in {network.network_address + 1}/{network.prefixlen}"
        raise ConfigError(f"{found.ip} is the network or broadcast address of {network}", key="address", hint=hint)
    if found.ip.is_loopback or found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_reserved:
        raise ConfigError(f"{found.ip} can't be a host's address", key="address", hint="as in 10.5.0.1/24")
    _check_free(network, "address", others, state)
    return found


def _interface6(
    text: str | None, mode: NetworkMode, others: Sequence[NetworkConfig], state: FabricState
) -> IPv6Interface:
    try:
        found = IPv6Interface(text or "")
    except ValueError as error:
        hint = "the host's address in the network, with prefix, as in fd5a:1::1/64"
        raise ConfigError(f"{text} is no IPv6 address with a prefix", key="address6", hint=hint) from error
    if found.network.prefixlen != 64:
        hint = f"as in {found.ip}/64"
        raise ConfigError(
            "guests choose their addresses in a /64 (RFC 4862), and in no other network", key="address6", hint=hint
        )
    if found.ip.is_loopback or found.ip.is_multicast or found.ip.is_link_local or found.ip.is_unspecified:
        raise ConfigError(f"{found.ip} can't be a host's address", key="address6", hint="as in fd5a:1::1/64")
    if mode in FORWARDED and not can_forward6(state):
        raise ConfigError(NO_FORWARDING6, key="address6", hint=HINT_FORWARDING6)
    _check_free(found.network, "address6", others, state)
    return found


def _check_free(network: IpNetwork, key: str, others: Sequence[NetworkConfig], state: FabricState) -> None:
    for where, taken in _taken(others, state):
        if taken.version == network.version and taken.overlaps(network):
            raise ConfigError(f"{network} overlaps with {taken}, {where}", key=key, hint="choose another")


def _taken(others: Sequence[NetworkConfig], state: FabricState) -> list[tuple[str, IpNetwork]]:
    """Networks that the host knows, each with where: of a way to everywhere nothing is said."""
    found: list[tuple[str, IpNetwork]] = []
    for other in others:
        both = (other.address, other.address6)
        found += [(f"network {other.name}", each.network) for each in both if each is not None]
    for link in sorted(state.links.values(), key=lambda each: each.index):
        found += [(f"an address of {link.name}", each.network) for each in sorted_addresses(link)]
    found += [(f"a route through {device}", network) for network, device in state.routes if network.prefixlen]
    return found


def sorted_addresses(link: LinkState) -> list[Interface]:
    return sorted((each for each in link.addresses if not each.ip.is_link_local), key=str)


def _free_network(others: Sequence[NetworkConfig], state: FabricState) -> IPv4Interface:
    taken = [network for _, network in _taken(others, state) if isinstance(network, IPv4Network)]
    for space in _LIKELY_FREE:
        for network in space.subnets(new_prefix=24):
            if not any(network.overlaps(each) for each in taken):
                return IPv4Interface(f"{network.network_address + 1}/24")
    raise ConfigError("no private network is free", key="address", hint="choose one, as in --address 10.5.0.1/24")


def dhcp_of(wish: Wish, mode: NetworkMode, address: IPv4Interface | None) -> DhcpRange | None:
    if wish.dhcp == "none" or mode is NetworkMode.BRIDGE:
        return None
    if wish.dhcp is not None and wish.dhcp != "auto":
        return _range(wish.dhcp, address)
    if address is None or (wish.dhcp is None and mode is NetworkMode.VXLAN):
        return None
    network, own = address.network, address.ip
    first, last = network.network_address + 1, network.broadcast_address - 1
    below, above = int(own) - int(first), int(last) - int(own)
    return DhcpRange(first, own - 1) if below > above else DhcpRange(own + 1, last)


def _range(text: str, address: IPv4Interface | None) -> DhcpRange:
    if address is None:
        raise ConfigError("DHCP needs an address of the host", key="dhcp", hint="--address 10.5.0.1/24")
    network = address.network
    hint = f"as in {network.broadcast_address - 2}-{network.broadcast_address - 1}"
    first, _, last = text.partition("-")
    try:
        found = DhcpRange(IPv4Address(first.strip()), IPv4Address(last.strip()))
    except ValueError as error:
        raise ConfigError(f"{text} is no range of addresses", key="dhcp", hint=hint) from error
    for end in (found.first, found.last):
        if end not in network or end in (network.network_address, network.broadcast_address):
            raise ConfigError(f"{end} is no guest's address in {network}", key="dhcp", hint=hint)
    if found.first > found.last:
        raise ConfigError(f"{text} ends before it begins", key="dhcp", hint=f"{found.last}-{found.first}")
    if found.first <= address.ip <= found.last:
        raise ConfigError(f"{address.ip} is in {text}, and is the host's own", key="dhcp", hint=hint)
    return found

"""From what someone asks of a new network to its configuration: defaults filled in, contradictions refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from wirt.config.xlcfg.rate import parse_rate
from wirt.config.xlcfg.spec import SpecError
from wirt.model.errors import ConfigError, NameInUse, ResourceBusy
from wirt.model.network import DEFAULT_NETWORK, FORWARDED, NetworkConfig, NetworkMode, Vxlan
from wirt.plan.networks import LONGEST_DEVICE, device_name, lower_device
from wirt.plan.networks_addresses import addresses_of, dhcp_of, sorted_addresses
from wirt.plan.networks_shares import LEAST_SHARE, MOST_SHARE, can_share
from wirt.plan.networks_state import FabricState, Interface, LinkState

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_DEVICE = re.compile(r"(?!\.{1,2}\Z)[^\s/:%,]+")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,190}}\Z){_LABEL}(\.{_LABEL})*")
_MOST_VNI = 2**24 - 1
_MTU = range(576, 65536)
_LEAST_MTU6 = 1280  # RFC 8200, 5
_VXLAN_COSTS = {4: 50, 6: 70}


@dataclass(frozen=True, slots=True)
class Wish:
    """The words of ``wirt network create``. ``address``: ``none`` keeps the host out. ``dhcp``: ``FIRST-LAST``,
    ``none``, or nothing for the default; ``dns`` likewise."""

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
    peers: tuple[str, ...] = ()
    port: int | None = None
    mtu: int | None = None
    vlan_filtering: bool = False
    share: str | None = None


def config_of(wish: Wish, others: Sequence[NetworkConfig], state: FabricState, tag: str) -> NetworkConfig:
    """``others`` are the networks that there are, the default one included; ``state`` has all devices.
    ``ConfigError`` with the key, ``NameInUse``, ``ResourceBusy``."""
    _check_name(wish.name, others)
    mode = _mode(wish)
    _check_fits(wish, mode)
    bridge, shared = _bridge(wish, mode, others, state, tag)
    address, address6 = addresses_of(wish, mode, shared, others, state)
    vxlan = _vxlan(wish, others, state)
    config = NetworkConfig(
        name=wish.name,
        mode=mode,
        bridge=bridge,
        address=address,
        address6=address6,
        dhcp=dhcp_of(wish, mode, address),
        advertise=address6 is not None and wish.dhcp != "none" and mode is not NetworkMode.BRIDGE,
        dns=_dns(wish, mode, address or address6),
        domain=_domain(wish),
        uplink=_uplink(wish, mode, others, state),
        vlan=_vlan(wish),
        vxlan=vxlan,
        mtu=_mtu(wish, vxlan, address6),
        vlan_filtering=wish.vlan_filtering,
        shared=shared,
        share=_share(wish, mode, foreign=shared and mode is NetworkMode.BRIDGE),
    )
    _check_lower(config, state, tag)
    return config


def _check_name(name: str, others: Sequence[NetworkConfig]) -> None:
    if _NAME.fullmatch(name) is None:
        hint = "1 to 40 letters, digits, dots, hyphens and underscores, the first a letter or a digit"
        raise ConfigError(f"{name!r} can't be a network's name", key="name", hint=hint)
    if name == DEFAULT_NETWORK or any(other.name == name for other in others):
        raise NameInUse(
            f"there is a network {name} already", hint=f"choose another name; wirt network info {name}"
        )


def _mode(wish: Wish) -> NetworkMode:
    if wish.mode is None:
        return NetworkMode.VXLAN if wish.vni is not None else NetworkMode.NAT
    if wish.mode not in tuple(NetworkMode):
        raise ConfigError(f"there is no mode {wish.mode}", key="mode", hint=", ".join(NetworkMode))
    return NetworkMode(wish.mode)


def _check_fits(wish: Wish, mode: NetworkMode) -> None:
    """What is said for another mode is a misunderstanding, and not passed over."""
    if mode is not NetworkMode.VXLAN:
        said = {"vni": wish.vni, "local": wish.local, "peer": wish.peers or None, "port": wish.port}
        for key, value in said.items():
            if value is not None:
                raise ConfigError(f"it is for mode vxlan, and this is {mode}", key=key, hint="--mode vxlan")
    if wish.vlan is not None and (mode is not NetworkMode.BRIDGE or wish.uplink is None):
        hint = "--mode bridge --uplink CARD --vlan N"
        raise ConfigError("a VLAN is one of an uplink, in mode bridge", key="vlan", hint=hint)
    if wish.uplink is not None and mode in (NetworkMode.ISOLATED, NetworkMode.VXLAN):
        raise ConfigError(f"mode {mode} has no uplink", key="uplink", hint="--mode nat, routed or bridge")
    if mode is NetworkMode.BRIDGE and wish.dhcp not in (None, "none"):
        hint = "guests get their addresses from whoever gives them out on the uplink; leave --dhcp out"
        raise ConfigError("a second DHCP server would harm the network behind the bridge", key="dhcp", hint=hint)


def _bridge(
    wish: Wish, mode: NetworkMode, others: Sequence[NetworkConfig], state: FabricState, tag: str
) -> tuple[str, bool]:
    """Its name, and whether it is somebody else's."""
    if wish.bridge is None:
        if mode is NetworkMode.BRIDGE and wish.uplink is None:
            hint = (
                "--uplink CARD puts a card of the host into a new bridge; --bridge DEVICE takes one that is there"
            )
            raise ConfigError("of mode bridge, either an uplink or a bridge is needed", key="mode", hint=hint)
        plain, hashed = (device_name("br", name, tag) for name in (wish.name, f"{wish.name} of {tag}, hashed"))
        taken = plain in state.links or any(other.bridge == plain for other in others)
        return hashed if taken else plain, False
    _check_device(wish.bridge, "bridge")
    for other in others:
        if other.bridge == wish.bridge:
            raise ResourceBusy(f"{wish.bridge} is the bridge of network {other.name}", hint="choose another name")
    link = state.links.get(wish.bridge)
    if mode is NetworkMode.BRIDGE and wish.uplink is None:
        if link is None or link.kind != "bridge":
            known = ", ".join(sorted(each.name for each in state.links.values() if each.kind == "bridge"))
            what = "is no bridge" if link else "is not there"
            hint = f"bridges here: {known or 'none'}; with --uplink CARD wirt makes one"
            raise ConfigError(f"{wish.bridge} {what}", key="bridge", hint=hint)
        return wish.bridge, True
    if link is not None:
        hint = "choose another name; a bridge that is there is taken with --mode bridge and no --uplink"
        raise ResourceBusy(f"there is a device {wish.bridge} already", hint=hint)
    return wish.bridge, False


def _check_device(name: str, key: str) -> None:
    if _DEVICE.fullmatch(name) is None or len(name.encode(errors="surrogateescape")) > LONGEST_DEVICE:
        hint = f"1 to {LONGEST_DEVICE} characters without space, comma, /, : or %"
        raise ConfigError(f"{name!r} can't be a network device's name", key=key, hint=hint)


def _dns(wish: Wish, mode: NetworkMode, address: Interface | None) -> bool:
    if wish.dns and address is None:
        raise ConfigError("DNS needs an address of the host", key="dns", hint="--address 10.5.0.1/24")
    if wish.dns is not None:
        return wish.dns
    return address is not None and mode in (NetworkMode.ISOLATED, *FORWARDED)


def _domain(wish: Wish) -> str | None:
    if wish.domain is not None and _DOMAIN.fullmatch(wish.domain) is None:
        raise ConfigError(f"{wish.domain} is no domain name", key="domain", hint="as in lan or lab.example.org")
    return wish.domain


def _uplink(wish: Wish, mode: NetworkMode, others: Sequence[NetworkConfig], state: FabricState) -> str | None:
    if wish.uplink is None:
        return None
    _check_device(wish.uplink, "uplink")
    link = state.links.get(wish.uplink)
    if link is None:
        near = get_close_matches(wish.uplink, state.links, n=1)
        known = ", ".join(
            sorted(name for name, each in state.links.items() if each.kind != "tun" and name != "lo")
        )
        hint = f"did you mean {near[0]}? There are: {known}" if near else f"there are: {known or 'none'}"
        raise ConfigError(f"there is no device {wish.uplink}", key="uplink", hint=hint)
    if link.name == "lo" or link.kind == "tun" or any(other.bridge == link.name for other in others):
        raise ConfigError(f"{link.name} can't be an uplink", key="uplink", hint="name a card of the host")
    if mode is NetworkMode.BRIDGE:
        if wish.mtu is not None and wish.mtu > link.mtu:
            hint = f"--mtu {link.mtu}, or where the host's network is configured, give {link.name} a larger one"
            raise ConfigError(f"{link.name} carries at most {link.mtu} bytes", key="mtu", hint=hint)
        _check_free_uplink(wish, link, others)
    return link.name


def _check_free_uplink(wish: Wish, link: LinkState, others: Sequence[NetworkConfig]) -> None:
    for other in others:
        if other.uplink == link.name and other.mode is NetworkMode.BRIDGE and other.vlan == wish.vlan:
            which = f"VLAN {wish.vlan} of {link.name}" if wish.vlan is not None else link.name
            raise ResourceBusy(f"{which} is the uplink of network {other.name}", hint="use that network")
    if wish.vlan is not None:
        return
    if link.kind == "bridge":
        hint = f"--mode bridge --bridge {link.name} plugs guests into it"
        raise ConfigError(f"{link.name} is a bridge itself", key="uplink", hint=hint)
    if link.master is not None:
        hint = f"--mode bridge --bridge {link.master} plugs guests into it"
        raise ResourceBusy(f"{link.name} is in {link.master} already", hint=hint)
    addresses = ", ".join(str(each) for each in sorted_addresses(link))
    if addresses:
        raise ResourceBusy(
            f"{link.name} has {addresses}; as a bridge's port it would no longer answer to that, and the host"
            " would be cut off",
            hint=f"where the host's network is configured, make a bridge with {link.name} in it that has the"
            " address, and say --bridge BRIDGE instead of --uplink; or take a card without one, --vlan N, or"
            " --mode nat",
        )


def _vlan(wish: Wish) -> int | None:
    if wish.vlan is not None and not 1 <= wish.vlan <= 4094:
        raise ConfigError(f"there is no VLAN {wish.vlan}", key="vlan", hint="1 to 4094 (IEEE 802.1Q)")
    return wish.vlan


def _vxlan(wish: Wish, others: Sequence[NetworkConfig], state: FabricState) -> Vxlan | None:
    if wish.vni is None and (wish.mode != NetworkMode.VXLAN):
        return None
    if wish.vni is None or not 1 <= wish.vni <= _MOST_VNI:
        what = "a VXLAN needs a number" if wish.vni is None else f"there is no VXLAN {wish.vni}"
        raise ConfigError(what, key="vni", hint=f"1 to {_MOST_VNI} (RFC 7348), the same on all hosts")
    if wish.local is None:
        raise ConfigError("this host's own address is needed", key="local", hint="--local, as the peers know it")
    local = _ip(wish.local, "local")
    own = {each.ip for link in state.links.values() for each in link.addresses}
    if local not in own:
        known = ", ".join(sorted(str(ip) for ip in own if not (ip.is_loopback or ip.is_link_local)))
        raise ConfigError(f"{local} is no address of this host", key="local", hint=f"there are: {known or 'none'}")
    peers = []
    for text in wish.peers:
        peer = _ip(text, "peer")
        if peer.version != local.version or peer == local or peer in peers or peer.is_multicast:
            hint = f"the other hosts' addresses, each once, of the family of {local}"
            raise ConfigError(f"{peer} can't be a peer of {local}", key="peer", hint=hint)
        peers.append(peer)
    port = 4789 if wish.port is None else wish.port
    if not 1 <= port <= 65535:
        raise ConfigError(f"there is no UDP port {port}", key="port", hint="1 to 65535; VXLAN's own is 4789")
    for other in others:
        if other.vxlan is not None and (other.vxlan.vni, other.vxlan.port) == (wish.vni, port):
            raise ResourceBusy(f"network {other.name} has the VNI {wish.vni} already", hint="choose another")
    return Vxlan(wish.vni, str(local), tuple(str(peer) for peer in peers), port)


def _ip(text: str, key: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise ConfigError(f"{text} is no IP address", key=key, hint="as in 192.0.2.1") from error


def _mtu(wish: Wish, vxlan: Vxlan | None, address6: IPv6Interface | None) -> int | None:
    if wish.mtu is None:
        return None if vxlan is None else 1500 - _VXLAN_COSTS[ip_address(vxlan.local).version]
    if wish.mtu not in _MTU:
        raise ConfigError(
            f"no network has an MTU of {wish.mtu}", key="mtu", hint="576 to 65535; Ethernet's is 1500"
        )
    if address6 is not None and wish.mtu < _LEAST_MTU6:
        raise ConfigError("IPv6 needs an MTU of 1280 or more", key="mtu", hint="--mtu 1280")
    return wish.mtu


def _share(wish: Wish, mode: NetworkMode, *, foreign: bool) -> int | None:
    if wish.share is None:
        return None
    if not can_share(mode, foreign=foreign):
        what = "a bridge of somebody else's" if foreign else f"a network of mode {mode}"
        hint = "--mode nat, routed or vxlan, or --mode bridge --uplink CARD"
        raise ConfigError(f"{what} has no way out that wirt knows", key="share", hint=hint)
    try:
        rate = parse_rate(wish.share, 0).bytes_per_s
    except SpecError as error:
        raise ConfigError(error.message, key="share", hint="as in 1Gb/s or 100MB/s") from error
    if not LEAST_SHARE <= rate <= MOST_SHARE:
        hint = f"from {LEAST_SHARE}B/s to {MOST_SHARE}B/s"
        raise ConfigError(f"{wish.share} can't be shared", key="share", hint=hint)
    return rate


def _check_lower(config: NetworkConfig, state: FabricState, tag: str) -> None:
    lower = lower_device(config, tag)
    if lower is not None and lower in state.links:
        hint = f"see what it is: ip -d link show {lower}; rename it, or choose another name for the network"
        raise ResourceBusy(f"there is a device {lower} already, which this network would make", hint=hint)


def default_network(bridge: str, address: IPv4Interface) -> NetworkConfig:
    """What cards that name no network are plugged into."""
    return NetworkConfig(DEFAULT_NETWORK, NetworkMode.ISOLATED, bridge, address=address, shared=True)

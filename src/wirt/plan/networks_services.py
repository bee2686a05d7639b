"""DHCP, DNS and router advertisements for guests: dnsmasq's configuration (dnsmasq(8)) as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from wirt.model.network import FORWARDED, NetworkConfig

LEASE_S = 3600
MOST_LEASES = 1000

PLACE = "/mnt"
"""Where dnsmasq sees its directory: in a mount namespace of its own, since it may not look into a home."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A card of a domain, running or not. ``addresses`` are those that its configuration gives it."""

    network: str
    domain: str
    mac: str
    addresses: tuple[str, ...] = ()


def configuration(network: NetworkConfig) -> str:
    """What it reads once, at its start."""
    lines = [
        f"interface={network.bridge}",
        "except-interface=lo",
        # Bound to the bridge alone, also when its address comes later: other servers of the host stay undisturbed.
        "bind-dynamic",
        "pid-file=",
        "no-hosts",
        "log-facility=-",
        "quiet-dhcp",
        "quiet-dhcp6",
        "quiet-ra",
        f"dhcp-leasefile={PLACE}/leases",
        f"dhcp-hostsfile={PLACE}/hosts",
        f"addn-hosts={PLACE}/names",
        f"dhcp-lease-max={MOST_LEASES}",
        # A guest could claim another's name.
        "dhcp-ignore-names",
    ]
    lines += _dns(network) + _dhcp(network) + _advertisements(network)
    return "\n".join(lines) + "\n"


def _dns(network: NetworkConfig) -> list[str]:
    if not network.dns:
        return ["port=0"]
    lines = ["domain-needed", "bogus-priv"]
    if network.domain is not None:
        lines += [f"domain={network.domain}", f"local=/{network.domain}/", "expand-hosts"]
    if network.mode not in FORWARDED:
        lines.append("no-resolv")  # it leads nowhere, and names would
    return lines


def _dhcp(network: NetworkConfig) -> list[str]:
    if network.dhcp is None or network.address is None:
        return []
    mask = network.address.network.netmask
    lines = [
        f"dhcp-range={network.dhcp.first},{network.dhcp.last},{mask},{LEASE_S}",
        "dhcp-authoritative",
        f"dhcp-option=option:router,{network.address.ip}" if network.mode in FORWARDED else "dhcp-option=3",
        f"dhcp-option=option:dns-server,{network.address.ip}" if network.dns else "dhcp-option=6",
    ]
    if network.mtu is not None:
        lines.append(f"dhcp-option=option:mtu,{network.mtu}")
    return lines


def _advertisements(network: NetworkConfig) -> list[str]:
    if not network.advertise or network.address6 is None:
        return []
    prefix = network.address6.network
    lines = ["enable-ra", f"dhcp-range={prefix.network_address},ra-stateless,{prefix.prefixlen},{LEASE_S}"]
    if network.mode not in FORWARDED:
        lines.append(f"ra-param={network.bridge},0,0")  # an address, and no way out
    lines.append("dhcp-option=option6:dns-server,[::]" if network.dns else "dhcp-option=option6:dns-server")
    return lines


def hosts_of(network: NetworkConfig, guests: Sequence[Guest]) -> str:
    """What it reads anew when told to: for each card its MAC, its address if it has one, its domain's name."""
    lines = []
    for guest in sorted(guests, key=lambda each: (each.domain, each.mac)):
        if guest.network != network.name:
            continue
        fixed = [str(each) for each in _addresses(network, guest) if isinstance(each, IPv4Address)]
        name = [guest.domain] if _is_host_name(guest.domain) else []
        if fixed or name:
            lines.append(",".join([guest.mac, *fixed[:1], *name]))
    return "".join(f"{line}\n" for line in lines)


def names_of(network: NetworkConfig, guests: Sequence[Guest]) -> str:
    """Names of addresses that are fixed, in the form of hosts(5)."""
    lines = [
        f"{address} {guest.domain}"
        for guest in guests
        if guest.network == network.name and _is_host_name(guest.domain)
        for address in _addresses(network, guest)
    ]
    return "".join(f"{line}\n" for line in sorted(set(lines)))


def told_of(network: NetworkConfig, guests: Sequence[Guest]) -> str:
    """Both files in one text, as they are compared: the second follows after an empty line."""
    return f"{hosts_of(network, guests)}\n{names_of(network, guests)}"


def _addresses(network: NetworkConfig, guest: Guest) -> list[object]:
    """Of a card that has some, those that belong to the network."""
    found: list[object] = []
    for text in guest.addresses:
        address = ip_address(text.partition("/")[0])
        for own in (network.address, network.address6):
            if own is not None and address.version == own.version and address in own.network:
                found.append(address)
    return found


def _is_host_name(text: str) -> bool:
    """RFC 1123. A domain of another name has its address all the same, and no name in DNS."""
    letters = text.replace("-", "").replace(".", "")
    labels = text.split(".")
    return (
        0 < len(text) <= 253
        and letters.isascii()
        and letters.isalnum()
        and all(0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-" for label in labels)
    )

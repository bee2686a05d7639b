"""Anti-spoofing: what a guest may say about itself.

Every port is a handful of elements in shared sets, keyed by the tap's device number (which, unlike its name, is
never given again). What holds of a
guest's frames:

- Its source is the card's MAC, also in ARP, in the link-layer options of ND, and as DHCP's ``chaddr``.
- With ``ip=``: IPv4 and IPv6 sources, ARP senders and ND targets are its addresses and the link-local address that
  its MAC gives (RFC 4291, appendix A), and nothing but IPv4, IPv6 and ARP is sent. 0.0.0.0 may ask for an address
  by DHCP and probe it by ARP (RFC 5227), :: may do duplicate address detection and report multicast groups.
- Reverse ARP only announces the card itself, as a hypervisor does in the name of a guest that has moved (QEMU,
  net/announce.c): switches learn from it where the guest is.
- No DHCP or DHCPv6 answers, router advertisements, redirects, multicast queries; no VLAN tags unless the port is a
  trunk.
- ND is neither fragmented (RFC 6980) nor behind extension headers, and a fragmented packet shows its whole header
  chain in its first fragment (RFC 7112).
- Bridge control frames (01:80:c2:00:00:0x: spanning tree, LLDP, pause, 802.1X; and Cisco's) never leave any guest.
  The bridge's hooks don't see all of these, so the tap's own ingress stops them.

Not seen by nft: an ND option behind the first one, so ND messages have the one option that is theirs, or none.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from wirt.plan.filters_nft import (
    DROP,
    ETHER_TYPE,
    L4,
    PROTOCOL,
    RETURN,
    Chain,
    Element,
    Hook,
    Part,
    Rule,
    Table,
    among,
    concat,
    goto,
    jump,
    masked,
    match,
    meta,
    network,
    payload,
    rule,
    transport,
)
from wirt.plan.policy import PortPolicy

_IIF = meta("iif")
_TAGS = ("8021q", "8021ad", 0x9100)
_UNSPECIFIED4, _UNSPECIFIED6, _BROADCAST4 = "0.0.0.0", "::", "255.255.255.255"
# ICMPv6 types (RFC 4861, RFC 2710, RFC 3810).
_ROUTER_SOLICIT, _ROUTER_ADVERT, _NEIGHBOUR_SOLICIT, _NEIGHBOUR_ADVERT, _REDIRECT = 133, 134, 135, 136, 137
_MLD_QUERY, _MLD_REPORT, _MLD_DONE, _MLD2_REPORT = 130, 131, 132, 143
_IGMP_QUERY = 0x11
_RARP = 0x8035
_ANNOUNCEMENT = hex(0x0001_0800_0604_0003)
"""Ethernet, IPv4, their lengths, "request reverse" (RFC 903)."""
_LENGTH = payload("ip6", "length")
_ICMP6_TYPE = payload("icmpv6", "type")
_FRAGMENT = {"exthdr": {"name": "frag"}}
_FRAGMENT_OFFSET = {"exthdr": {"name": "frag", "field": "frag-off"}}
_CHADDR, _TARGET, _OPTION, _SOLICIT_OPTION = transport(36, 6), transport(8, 16), transport(24, 8), transport(8, 8)


def shared() -> Part:
    chains = {
        "from-guest": (
            rule(match(concat(_IIF, payload("ether", "saddr")), "@macs", "!="), DROP),
            rule(among(ETHER_TYPE, _TAGS), match(_IIF, "@trunks", "!="), DROP),
            rule(among(PROTOCOL, _TAGS), DROP),  # a second tag, of which the first has been taken off
            rule(match(PROTOCOL, "arp"), goto("spoof-arp")),
            rule(match(PROTOCOL, "ip"), goto("spoof-ip4")),
            rule(match(PROTOCOL, "ip6"), goto("spoof-ip6")),
            rule(match(PROTOCOL, _RARP), goto("spoof-rarp")),
            rule(match(_IIF, "@pinned"), DROP),
        ),
        "spoof-arp": _arp(),
        "spoof-rarp": (
            rule(
                match(network(0, 8), _ANNOUNCEMENT),
                match(concat(_IIF, network(8, 6)), "@announcers"),
                match(concat(_IIF, network(18, 6)), "@announcers"),
                RETURN,
            ),
            rule(DROP),
        ),
        "spoof-ip4": _ip4(),
        "spoof-ip6": _ip6(),
        "spoof-nd": (
            rule(match(payload("ip6", "nexthdr"), "icmpv6", "!="), DROP),
            rule(match(_ICMP6_TYPE, _ROUTER_SOLICIT), match(_LENGTH, 8), RETURN),
            rule(
                *(match(_ICMP6_TYPE, _ROUTER_SOLICIT), match(_LENGTH, 16)),
                *(match(concat(_IIF, _SOLICIT_OPTION), "@rs-options"), RETURN),
            ),
            rule(match(_ICMP6_TYPE, _ROUTER_SOLICIT), DROP),
            rule(
                *(match(_ICMP6_TYPE, _NEIGHBOUR_ADVERT), match(_IIF, "@pinned")),
                *(match(concat(_IIF, _TARGET), "@nd-targets", "!="), DROP),
            ),
            rule(match(_LENGTH, 24), RETURN),
            rule(match(_LENGTH, 32), match(concat(_IIF, _OPTION), "@nd-options"), RETURN),
            rule(  # duplicate address detection with a nonce (RFC 7527)
                *(match(_ICMP6_TYPE, _NEIGHBOUR_SOLICIT), match(_LENGTH, 32)),
                *(match(payload("ip6", "saddr"), _UNSPECIFIED6), match(transport(24, 1), 14), RETURN),
            ),
            rule(DROP),
        ),
        "spoof-fragment6": (
            rule(match(_FRAGMENT_OFFSET, 0, "!="), RETURN),
            rule(match(L4, "icmpv6"), among(_ICMP6_TYPE, range(_ROUTER_SOLICIT, _REDIRECT + 1), no=True), RETURN),
            rule(among(L4, ("tcp", "udp")), match(transport(0, 4), 0, "!="), RETURN),
            rule(among(L4, ("icmpv6", "tcp", "udp", 0, 43, 44, 60), no=True), RETURN),
            rule(DROP),
        ),
    }
    return Part(
        chains={name: Chain(rules) for name, rules in chains.items()},
        tables={
            "macs": Table(("iface_index", "ether_addr")),
            "trunks": Table(("iface_index",)),
            "pinned": Table(("iface_index",)),
            "senders": Table(("iface_index", "ether_addr", "ipv4_addr")),
            "addresses4": Table(("iface_index", "ipv4_addr")),
            "addresses6": Table(("iface_index", "ipv6_addr")),
        },
    )


def _arp() -> tuple[Rule, ...]:
    """Ethernet and IPv4 (RFC 826); 1 asks, 2 answers. Reverse ARP has other operations."""
    return (
        rule(match(payload("arp", "htype"), 1, "!="), DROP),
        rule(match(payload("arp", "ptype"), "ip", "!="), DROP),
        rule(match(payload("arp", "hlen"), 6, "!="), DROP),
        rule(match(payload("arp", "plen"), 4, "!="), DROP),
        rule(among(payload("arp", "operation"), ("request", "reply"), no=True), DROP),
        rule(match(concat(_IIF, payload("arp", "saddr ether")), "@macs", "!="), DROP),
        rule(match(_IIF, "@pinned", "!="), RETURN),
        rule(
            match(concat(_IIF, payload("arp", "saddr ether"), payload("arp", "saddr ip")), "@senders", "!="),
            DROP,
        ),
    )


def _ip4() -> tuple[Rule, ...]:
    asks = (match(payload("udp", "sport"), 68), match(payload("udp", "dport"), 67))
    return (
        rule(match(payload("udp", "dport"), 68), DROP),
        rule(match(payload("igmp", "type"), _IGMP_QUERY), DROP),
        rule(*asks, match(concat(_IIF, _CHADDR), "@dhcp-macs", "!="), DROP),
        rule(match(_IIF, "@pinned", "!="), RETURN),
        rule(match(concat(_IIF, payload("ip", "saddr")), "@addresses4"), RETURN),
        rule(
            match(payload("ip", "saddr"), _UNSPECIFIED4), match(payload("ip", "daddr"), _BROADCAST4), *asks, RETURN
        ),
        rule(DROP),
    )


def _ip6() -> tuple[Rule, ...]:
    solicits = (_ROUTER_SOLICIT, _NEIGHBOUR_SOLICIT, _NEIGHBOUR_ADVERT)
    unaddressed = (_ROUTER_SOLICIT, _NEIGHBOUR_SOLICIT, _MLD_REPORT, _MLD_DONE, _MLD2_REPORT)
    return (
        rule(match(_FRAGMENT, True), jump("spoof-fragment6")),
        rule(match(payload("udp", "dport"), 546), DROP),
        rule(among(_ICMP6_TYPE, (_ROUTER_ADVERT, _REDIRECT, _MLD_QUERY)), DROP),
        rule(among(_ICMP6_TYPE, solicits), jump("spoof-nd")),
        rule(match(_IIF, "@pinned", "!="), RETURN),
        rule(match(concat(_IIF, payload("ip6", "saddr")), "@addresses6"), RETURN),
        rule(match(payload("ip6", "saddr"), _UNSPECIFIED6), among(_ICMP6_TYPE, unaddressed), RETURN),
        rule(DROP),
    )


def port(index: int, tap: str, policy: PortPolicy) -> Part:
    """What makes the device ``index`` a guest's. Raw bits are written in hexadecimal: nft takes no JSON integer
    beyond 63 bits."""
    guards = {f"port-{index}": control_frames(tap)}
    if not policy.antispoof:
        return Part(guards=guards)
    mac = int(policy.mac.replace(":", ""), 16)
    source, target = hex(1 << 56 | 1 << 48 | mac), hex(2 << 56 | 1 << 48 | mac)
    elements = [
        Element("from", (index,), "from-guest"),
        Element("macs", (index, policy.mac)),
        Element("dhcp-macs", (index, hex(mac))),
        Element("announcers", (index, hex(mac))),
        Element("nd-options", (index, source)),
        Element("nd-options", (index, target)),
        Element("rs-options", (index, source)),
    ]
    if policy.trunk:
        elements.append(Element("trunks", (index,)))
    four, six = _addresses(policy)
    if four or six:
        six = (*six, link_local(policy.mac))
        elements.append(Element("pinned", (index,)))
        elements += (Element("senders", (index, policy.mac, str(ip))) for ip in (*four, _UNSPECIFIED4))
        elements += (Element("addresses4", (index, str(ip))) for ip in four)
        elements += (Element("addresses6", (index, str(ip))) for ip in six)
        elements += (Element("nd-targets", (index, hex(int(ip)))) for ip in six)
    return Part(guards=guards, elements=frozenset(elements))


def control_frames(tap: str) -> Chain:
    return Chain(_CONTROL_FRAMES, Hook("ingress", -300, device=tap))


_DESTINATION = payload("ether", "daddr")
_CONTROL_FRAMES = (
    rule(match(masked(_DESTINATION, "ff:ff:ff:ff:ff:f0"), "01:80:c2:00:00:00"), DROP),
    rule(match(masked(_DESTINATION, "ff:ff:ff:ff:ff:fe"), "01:00:0c:cc:cc:cc"), DROP),
)


def _addresses(policy: PortPolicy) -> tuple[tuple[IPv4Address, ...], tuple[IPv6Address, ...]]:
    parsed = [ip_address(address) for address in policy.addresses]
    four = tuple(ip for ip in parsed if isinstance(ip, IPv4Address))
    six = tuple(ip for ip in parsed if isinstance(ip, IPv6Address))
    return four, six


def link_local(mac: str) -> IPv6Address:
    """The address that a card gives itself, from its MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 0x02, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)

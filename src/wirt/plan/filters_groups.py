"""Security groups: allow lists with answers, without connection tracking (of which bridges may have none).

What the guest opens is remembered, and answers to it come in. What the groups let in needs no memory unless they
also limit what goes out, and then has one of its own: strangers who use that up can't shut out the answers to the
guest. What either costs, and how much of it a port may have: :mod:`wirt.plan.filters_flows`.

- TCP: two to three minutes from the last segment, and for more than two hours (RFC 5382, REQ-5) from each that
  answers a SYN or carries the last of what was written (PSH), until FIN or RST. A connection that was open before
  its rules were (groups added to a running guest, a guest that has moved here) is taken up with its guest's next
  segment.
- UDP two to three minutes (RFC 4787, REQ-5). ICMP and other protocols at least 20 s and ten minutes, by addresses
  alone.
- A port beyond its bounds: what is new passes without being remembered, so gets no answers; what is known ends
  with its time unless that can be renewed. No other port notices.
- Fragments behind the first one have no ports. They pass for 20 s at least after a first fragment of that protocol
  between the same two was let through; without its first, no fragment becomes a packet. Fragments that arrive
  before it, and those that would overwrite TCP's flags (RFC 3128), are dropped.
- ARP, ND, MLD, IGMP, DHCP, and ICMP's errors (unreachable, too big, time exceeded, bad parameter) pass always.
  What is neither IP nor ARP passes never, nor do VLAN tags unless the port is a trunk.

A group's rules are there once, and so are those of each combination of groups. A port is entries in shared sets
and has no rules of its own: for each set that a rule names the kernel goes through all of them (Linux,
net/netfilter/nf_tables_api.c, ``nft_set_lookup``).

A member of a group is known by its MAC on this host, and by its ``ip=`` everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from wirt.model.errors import NotFound
from wirt.model.security import Allow, Direction, PortRange, Protocol, SecurityGroup
from wirt.plan.filters_flows import IN, IP, IP6, OUT, VERSIONS, WITH_PORTS, Flows, Pairs, Way
from wirt.plan.filters_nft import (
    ACCEPT,
    DROP,
    ETHER_TYPE,
    L4,
    PROTOCOL,
    RETURN,
    Chain,
    Element,
    Json,
    Part,
    Rule,
    Table,
    among,
    dispatch,
    goto,
    jump,
    masked,
    match,
    payload,
    rule,
)
from wirt.plan.policy import PortPolicy

_OPENED, _SERVED, _PAIRS = Flows("opened"), Flows("served"), Pairs()

_ICMP, _ICMP6 = payload("icmp", "type"), payload("icmpv6", "type")
_ERRORS, _ERRORS6 = (3, 11, 12), (1, 2, 3, 4)
_ANSWERS, _ANSWERS6 = (0, 14), (129,)
_OTHERS = among(L4, (*WITH_PORTS, "icmp", "icmpv6"), no=True)
_NEIGHBOURS = (130, 131, 132, 133, 134, 135, 136, 137, 143)
_MORE4 = match(masked(payload("ip", "frag-off"), 0x2000), 0, "!=")
_OFFSET4 = masked(payload("ip", "frag-off"), 0x1FFF)
_LATER4 = match(_OFFSET4, 0, "!=")
_OFFSET6 = {"exthdr": {"name": "frag", "field": "frag-off"}}
_LATER6, _FIRST6 = match(_OFFSET6, 0, "!="), match(_OFFSET6, 0)


def shared() -> Part:
    chains = {
        "leave-in": _entry(IN),
        "enter-out": _entry(OUT),
        "known-in": tuple(_OPENED.known(IN)),
        "known-out": tuple(_SERVED.known(OUT)),
        "opened": (_portless("pair-out"), *_OPENED.start(OUT), rule(goto("pass-out"))),
        "admitted": (
            rule(match(IN.device, "@limited", "!="), goto("pass-in")),
            *(_portless("pair-in"), *_SERVED.start(IN), rule(goto("pass-in"))),
        ),
        **{f"pass-{way.name}": (*_fragments(way), rule(ACCEPT)) for way in (IN, OUT)},
        **{f"pair-{way.name}": (*_pairs(way), rule(goto(f"pass-{way.name}"))) for way in (IN, OUT)},
        **{f"later-{way.name}": _later(way) for way in (IN, OUT)},
    }
    return Part(
        chains={name: Chain(rules) for name, rules in chains.items()},
        tables={
            **{name: Table(("iface_index",), verdicts=True) for name in ("in", "out")},
            **{name: Table(("iface_index",)) for name in ("grouped", "limited")},
            **_OPENED.tables(),
            **_SERVED.tables(),
            **_PAIRS.tables(),
        },
    )


def _portless(chain: str) -> Rule:
    return rule(among(L4, WITH_PORTS, no=True), goto(chain))


def _entry(way: Way) -> tuple[Rule, ...]:
    ports = {"in": ((67, 68), (547, 546)), "out": ((68, 67), (546, 547))}[way.name]
    known = () if way is IN else (match(way.device, "@limited"),)
    return (
        rule(match(way.device, "@grouped", "!="), RETURN),
        rule(among(ETHER_TYPE, ("8021q", "8021ad")), match(way.device, "@trunks", "!="), DROP),
        rule(match(PROTOCOL, "arp"), ACCEPT),
        rule(among(PROTOCOL, (IP, IP6), no=True), DROP),
        rule(_LATER4, goto(f"later-{way.name}")),
        rule(_LATER6, goto(f"later-{way.name}")),
        rule(among(_ICMP6, _NEIGHBOURS), ACCEPT),
        rule(match(L4, "igmp"), ACCEPT),
        rule(among(_ICMP, _ERRORS), ACCEPT),
        rule(among(_ICMP6, _ERRORS6), ACCEPT),
        *(rule(match(payload("udp", "sport"), a), match(payload("udp", "dport"), b), ACCEPT) for a, b in ports),
        *_known_pairs(way),
        rule(*known, among(L4, WITH_PORTS), jump(f"known-{way.name}")),
        rule(dispatch(way.device, way.name)),
        rule(DROP),
    )


def _known_pairs(way: Way) -> Iterable[Rule]:
    """Of ICMP only what answers a question."""
    answers = {IP: among(_ICMP, _ANSWERS), IP6: among(_ICMP6, _ANSWERS6)}
    for version, digit, _ in VERSIONS:
        for kind in (answers[version], _OTHERS):
            yield rule(kind, _PAIRS.known(way, version, digit), goto(f"pass-{way.name}"))


def _later(way: Way) -> tuple[Rule, ...]:
    return (
        rule(match(L4, "tcp"), match(_OFFSET4, 1), DROP),
        *(rule(_PAIRS.known(way, version, digit), ACCEPT) for version, digit, _ in VERSIONS),
        rule(DROP),
    )


def _fragments(way: Way) -> Iterable[Rule]:
    """With a first fragment, those to come."""
    for (version, digit, _), first in zip(VERSIONS, (_MORE4, _FIRST6), strict=True):
        yield _PAIRS.start(way, version, digit, Pairs.FRAGMENT_S, first)


def _pairs(way: Way) -> Iterable[Rule]:
    for version, digit, _ in VERSIONS:
        yield _PAIRS.start(way, version, digit, Pairs.ICMP_S, among(L4, ("icmp", "icmpv6")))
        yield _PAIRS.start(way, version, digit, Pairs.OTHER_S, _OTHERS)


def group(wanted: SecurityGroup, groups: Mapping[str, SecurityGroup], elsewhere: Sequence[str] = ()) -> Part:
    """``elsewhere`` are addresses of members that are on other hosts. ``NotFound``: it allows a group that is not
    among ``groups``."""
    name = wanted.name
    for allow in wanted.rules:
        if allow.group is not None and allow.group not in groups:
            raise NotFound(
                f"the security group {name} allows the group {allow.group}, which does not exist",
                hint=_known(groups),
            )
    incoming = [allow for allow in wanted.rules if allow.direction is Direction.IN]
    outgoing = [allow for allow in wanted.rules if allow.direction is Direction.OUT]
    return Part(
        chains={
            f"group-{name}-in": Chain(tuple(_allowed(incoming, "s", "dport", goto("admitted")))),
            f"group-{name}-out": Chain(tuple(_allowed(outgoing, "d", "dport", goto("opened")))),
            f"group-{name}-answers": Chain(tuple(_allowed(incoming, "d", "sport", goto("pass-out")))),
        },
        tables={
            f"members-{name}-mac": Table(("ether_addr",)),
            f"members-{name}-4": Table(("ipv4_addr",)),
            f"members-{name}-6": Table(("ipv6_addr",)),
        },
        elements=frozenset(_member(name, address) for address in elsewhere),
    )


def _member(name: str, address: str) -> Element:
    return Element(f"members-{name}-{ip_network(address).version}", (str(ip_network(address).network_address),))


def _allowed(allows: Iterable[Allow], end: str, port: str, verdict: Json) -> Iterable[Rule]:
    """``end`` is where the peer stands in a frame: s(ource) or d(estination)."""
    for allow in allows:
        for peer in _peers(allow, end):
            yield rule(*peer, *_service(allow, port), verdict)


def _peers(allow: Allow, end: str) -> list[tuple[Json, ...]]:
    """Alternatives."""
    if allow.group is not None:
        members = f"@members-{allow.group}-"
        return [
            (match(payload("ether", f"{end}addr"), f"{members}mac"),),
            (match(payload(IP, f"{end}addr"), f"{members}4"),),
            (match(payload(IP6, f"{end}addr"), f"{members}6"),),
        ]
    if not allow.peers:
        return [()]
    networks = [ip_network(peer, strict=False) for peer in allow.peers]
    four = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return [*_networks(IP, end, list(four)), *_networks(IP6, end, list(six))]


def _networks(version: str, end: str, networks: Sequence[IPv4Network | IPv6Network]) -> list[tuple[Json, ...]]:
    if not networks:
        return []
    if any(network.prefixlen == 0 for network in networks):
        return [(match(PROTOCOL, version),)]
    prefixes = [{"prefix": {"addr": str(n.network_address), "len": n.prefixlen}} for n in networks]
    return [(among(payload(version, f"{end}addr"), prefixes),)]


def _service(allow: Allow, port: str) -> tuple[Json, ...]:
    ports = [{"range": [each.first, each.last]} for each in _merged(allow.ports)]
    if allow.protocol is Protocol.ICMP:
        return (among(L4, ("icmp", "icmpv6")),)
    if not ports:
        return () if allow.protocol is Protocol.ANY else (match(L4, str(allow.protocol)),)
    protocols = WITH_PORTS if allow.protocol is Protocol.ANY else (str(allow.protocol),)
    return among(L4, protocols), among(payload("th", port), ports)


def _merged(ports: Sequence[PortRange]) -> list[PortRange]:
    """Without overlaps, which nft refuses."""
    merged: list[PortRange] = []
    for each in sorted(ports, key=lambda ports: ports.first):
        if merged and each.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return merged


def port(index: int, policy: PortPolicy, groups: Mapping[str, SecurityGroup]) -> Part:
    """What puts the device ``index`` into ``policy``'s groups. ``NotFound``."""
    for name in policy.groups:
        if name not in groups:
            raise NotFound(f"there is no security group {name}", hint=_known(groups))
    limited = limits(policy.groups, groups)
    elements = [
        Element("grouped", (index,)),
        Element("in", (index,), chain_of(policy.groups, "in")),
        Element("out", (index,), chain_of(policy.groups, "out" if limited else "answers")),
    ]
    if limited:
        elements.append(Element("limited", (index,)))
    return Part(elements=frozenset([*elements, *_membership(policy)]))


def limits(names: Sequence[str], groups: Mapping[str, SecurityGroup]) -> bool:
    """Whether they say what may go out."""
    return any(allow.direction is Direction.OUT for name in names for allow in groups[name].rules)


def chain_of(names: Sequence[str], suffix: str) -> str:
    return f"groups-{'+'.join(names)}-{suffix}"


def combination(names: Sequence[str], groups: Mapping[str, SecurityGroup]) -> Part:
    """The chains of all ports that are in just these groups."""
    limited = limits(names, groups)
    incoming = (*(rule(jump(f"group-{name}-in")) for name in names), rule(DROP))
    outgoing = (*(rule(jump(f"group-{name}-out")) for name in names), rule(DROP))
    answers = (*(rule(jump(f"group-{name}-answers")) for name in names), rule(goto("opened")))
    chains = {chain_of(names, "in"): Chain(incoming)}
    chains[chain_of(names, "out" if limited else "answers")] = Chain(outgoing if limited else answers)
    return Part(chains=chains)


def _known(groups: Mapping[str, SecurityGroup]) -> str:
    names = ", ".join(sorted(groups)) or "none"
    return f"security groups here: {names}; make it: wirt security-group create NAME"


def _membership(policy: PortPolicy) -> frozenset[Element]:
    members: list[Element] = []
    for name in policy.groups:
        members.append(Element(f"members-{name}-mac", (policy.mac,)))
        members += (_member(name, address) for address in policy.addresses)
    return frozenset(members)

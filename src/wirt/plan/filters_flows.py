"""What ports in security groups remember of their traffic, in sets that all of them share and frames fill.

Keys begin with the guest's device number, so that no port finds what another remembers. No port can spend
another's room either: whatever is learned, or renewed, takes one of its port's own tokens (:class:`Tokens`), and a
flow is renewed once in a while instead of with each frame (what was renewed lately is in a set of its own,
``young`` and ``held``). So no more entries of a port live than tokens were given in one entry's time:

- 35,192 flows (8,192 and 150 a second for 180 s), as many long ones (8,192 and 3 a second for 9,000 s), and 29,884
  marks that they are renewed; all that twice if the groups limit what goes out. IPv4 and IPv6 have their tokens
  together. About 150 bytes each; a guest that does its worst costs the host 15 MB, or 30.
- 45,200 pairs of addresses (200 and 50 a second for 900 s), and 15,200 marks.

Sets hold what 1,400 ports can fill at their worst. What a port that is gone had learned goes with its time.

The kernel has 16 bits for the number of entries that it makes room for at first (Linux, linux/rhashtable-types.h,
``nelem_hint``): a size that is a multiple of 65,536 makes room for none, and every other size for some, at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wirt.plan.filters_nft import (
    L4,
    PROTOCOL,
    Json,
    Rule,
    Table,
    at_most,
    concat,
    forget,
    goto,
    learn,
    masked,
    match,
    meta,
    payload,
    rule,
)

IP, IP6 = "ip", "ip6"
WITH_PORTS = ("tcp", "udp")
VERSIONS = ((IP, "4", "ipv4_addr"), (IP6, "6", "ipv6_addr"))

_ROOM, _PORTS = 1 << 26, 1 << 16
_SHORT_S, _YOUNG_S = 180, 60
_LONG_S, _HELD_S = 9000, 1500

_FLAGS = payload("tcp", "flags")
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_CLOSING = match(masked(_FLAGS, _FIN | _RST), 0, "!=")
_OPENING = match(masked(_FLAGS, _SYN | _ACK), _SYN)
_CARRYING = match(masked(_FLAGS, _FIN | _RST | _ACK), _ACK), match(masked(_FLAGS, _SYN | _PSH), 0, "!=")


@dataclass(frozen=True, slots=True)
class Tokens:
    """``burst`` at once, for each port. A port that has taken none for ``full_s`` has all of them again, and its
    entry may go."""

    table: str
    per_second: int
    burst: int

    @property
    def full_s(self) -> int:
        return self.burst // self.per_second + 60

    def take(self, way: Way) -> Json:
        return at_most(self.table, way.device, self.per_second, self.burst)

    def declared(self) -> dict[str, Table]:
        return {self.table: Table(("iface_index",), size=_PORTS, timeout_s=self.full_s)}


class Way:
    """In or out, as the guest sees it."""

    def __init__(self, name: str) -> None:
        outgoing = name == "out"
        self.name = name
        self.device = meta("iif" if outgoing else "oif")
        self.here, self.there = ("s", "d") if outgoing else ("d", "s")

    def flow(self, version: str) -> Json:
        """The guest's end first. nft 1.0.6 keeps the types of five items, and mixes up those of six."""
        ends = (self.here, self.there)
        items = (item for end in ends for item in (payload(version, f"{end}addr"), payload("th", f"{end}port")))
        return concat(self.device, *items)

    def pair(self, version: str) -> Json:
        addresses = (payload(version, f"{end}addr") for end in (self.here, self.there))
        return concat(self.device, L4, *addresses)


IN, OUT = Way("in"), Way("out")


class Flows:
    """TCP connections and exchanges of UDP, of which the first frame went one way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._starts = Tokens(f"{name}-starts", 150, 8192)
        self._holds = Tokens(f"{name}-holds", 3, 8192)

    def tables(self) -> dict[str, Table]:
        brief = {"": _SHORT_S, "-young": _YOUNG_S}
        times = {"tcp": {**brief, "-long": _LONG_S, "-held": _HELD_S}, "udp": brief}
        tables = self._starts.declared() | self._holds.declared()
        for _, digit, address in VERSIONS:
            types = ("iface_index", address, "inet_service", address, "inet_service")
            for protocol in WITH_PORTS:
                for suffix, time_s in times[protocol].items():
                    name = f"{self.name}-{protocol}{digit}{suffix}"
                    tables[name] = Table(types, size=_ROOM, timeout_s=time_s)
        return tables

    def known(self, way: Way) -> Iterable[Rule]:
        """Lets pass what is remembered, renews it, and goes on with the rest."""
        last = goto(f"pass-{way.name}")
        for version, digit, _ in VERSIONS:
            yield from self._lasting(way, version, f"{self.name}-tcp{digit}")
            for protocol in WITH_PORTS:
                key, name = way.flow(version), f"{self.name}-{protocol}{digit}"
                is_short = match(L4, protocol), match(key, f"@{name}")
                yield rule(match(L4, protocol), match(key, f"@{name}-young"), last)
                yield rule(*is_short, *self._renew(way, name, key), last)
                yield rule(*is_short, last)

    def _lasting(self, way: Way, version: str, name: str) -> Iterable[Rule]:
        """TCP's own."""
        key = way.flow(version)
        is_short, is_long = match(key, f"@{name}"), match(key, f"@{name}-long")
        stale, loose = match(key, f"@{name}-young", "!="), match(key, f"@{name}-held", "!=")
        hold = self._holds.take(way), learn(f"{name}-held", key, _HELD_S), learn(f"{name}-long", key, _LONG_S)
        yield rule(_CLOSING, is_long, stale, *self._renew(way, name, key))
        yield rule(_CLOSING, is_long, is_short, forget(f"{name}-long", key))
        yield rule(*_CARRYING, loose, is_short, *hold)
        yield rule(*_CARRYING, loose, is_long, *hold)
        yield rule(match(L4, "tcp"), is_long, goto(f"pass-{way.name}"))

    def _renew(self, way: Way, name: str, key: Json) -> tuple[Json, Json, Json]:
        return self._starts.take(way), learn(f"{name}-young", key, _YOUNG_S), learn(name, key, _SHORT_S)

    def start(self, way: Way) -> Iterable[Rule]:
        """The same, and the rest is remembered from now on, if there is a token."""
        for version, digit, _ in VERSIONS:
            yield rule(_OPENING, forget(f"{self.name}-tcp{digit}-held", way.flow(version)))
        yield from self.known(way)
        for version, digit, _ in VERSIONS:
            for protocol in WITH_PORTS:
                renew = self._renew(way, f"{self.name}-{protocol}{digit}", way.flow(version))
                yield rule(*(match(PROTOCOL, version), match(L4, protocol)), *renew, goto(f"pass-{way.name}"))


class Pairs:
    """Who exchanges what has no ports. ``OTHER_S`` is the longest time."""

    OTHER_S, ICMP_S, FRAGMENT_S = 900, 30, 30

    def __init__(self) -> None:
        self._tokens = Tokens("learners", 50, 200)

    def tables(self) -> dict[str, Table]:
        tables = self._tokens.declared()
        for _, digit, address in VERSIONS:
            types = ("iface_index", "inet_proto", address, address)
            tables[f"pairs{digit}"] = Table(types, size=_ROOM, timeout_s=self.OTHER_S)
            tables[f"pairs{digit}-young"] = Table(types, size=_ROOM, timeout_s=self.OTHER_S // 3)
        return tables

    def known(self, way: Way, version: str, digit: str) -> Json:
        return match(way.pair(version), f"@pairs{digit}")

    def start(self, way: Way, version: str, digit: str, time_s: int, *when: Json) -> Rule:
        """Remembered for two thirds of ``time_s`` at least."""
        pair, young = way.pair(version), f"pairs{digit}-young"
        renew = learn(young, pair, time_s // 3), learn(f"pairs{digit}", pair, time_s)
        return rule(*when, match(pair, f"@{young}", "!="), self._tokens.take(way), *renew)

"""Rules of security groups as people write them: ``DIRECTION:PROTOCOL[:PORTS][:from=PEERS | :to=PEERS]``.

::

    in:tcp:22,80-90:from=10.0.0.0/8     in:icmp      in:tcp:5432:from=group:db-clients
    out:udp:53:to=192.0.2.1,2001:db8::1  out:any     in:any:from=group:web

``from=`` belongs to ``in``, ``to=`` to ``out``, and either ends the rule: IPv6 addresses have colons of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from wirt.model.errors import BadInput
from wirt.model.security import Allow, Direction, PortRange, Protocol, group_name_fault

T = TypeVar("T", bound=StrEnum)

SYNTAX = "DIRECTION:PROTOCOL[:PORTS][:from=PEERS|:to=PEERS], as in in:tcp:22,80-90:from=10.0.0.0/8"
LONGEST_RULE = 2000
MOST_PARTS = 64
"""Of port ranges, and of networks, in one rule."""

_PEERS_WORD = {Direction.IN: "from=", Direction.OUT: "to="}
_WITH_PORTS = (Protocol.TCP, Protocol.UDP)
_GROUP = "group:"


class RuleError(BadInput):
    """A rule is wrong at ``column``, which counts from 1."""

    def __init__(self, rule: str, column: int, message: str) -> None:
        shown = rule if len(rule) <= 120 else f"{rule[:117]}..."
        super().__init__(f"the rule {shown!r}, column {column}: {message}", hint=f"a rule is {SYNTAX}")
        self.column = column


def parse_rule(text: str) -> Allow:
    """``RuleError`` says where ``text`` is no rule, and what was expected there."""
    if len(text) > LONGEST_RULE:
        raise RuleError(text, LONGEST_RULE + 1, f"a rule has at most {LONGEST_RULE} characters")
    head, peers_at, peers_text = _split(text)
    words = list(_positioned(head, ":", 0))
    direction = _one_of(text, words[0], Direction, "the direction")
    if len(words) < 2:
        raise RuleError(text, len(text) + 1, f"expected : and the protocol ({', '.join(Protocol)})")
    protocol = _one_of(text, words[1], Protocol, "the protocol")
    ports = _ports(text, words[2], protocol) if len(words) > 2 else ()
    if len(words) > 3:
        raise RuleError(text, words[3][0] + 1, f"expected {_PEERS_WORD[direction]}PEERS or the end of the rule")
    peers, group = _peers(text, peers_at, peers_text, direction)
    return Allow(direction, protocol, ports, peers, group)


def write_rule(rule: Allow) -> str:
    """``rule`` in its one canonical form; :func:`parse_rule` reads it back."""
    words = [str(rule.direction), str(rule.protocol)]
    if rule.ports:
        words.append(",".join(_range(each) for each in rule.ports))
    peers = f"{_GROUP}{rule.group}" if rule.group is not None else ",".join(rule.peers)
    return ":".join(words) + (f":{_PEERS_WORD[rule.direction]}{peers}" if peers else "")


def _split(text: str) -> tuple[str, int, str | None]:
    """What is before ``:from=`` or ``:to=``, and where that begins and ends."""
    found = [at for at in (text.find(f":{word}") for word in _PEERS_WORD.values()) if at >= 0]
    return (text[: min(found)], min(found) + 1, text[min(found) + 1 :]) if found else (text, len(text), None)


def _positioned(text: str, separator: str, start: int) -> Iterator[tuple[int, str]]:
    """The words of ``text`` with their places, counted from 0."""
    for word in text.split(separator):
        yield start, word
        start += len(word) + len(separator)


def _one_of(text: str, place: tuple[int, str], kind: type[T], what: str) -> T:
    at, word = place
    try:
        return kind(word)
    except ValueError:
        said = f"not {word[:40]!r}" if word else "which is missing"
        raise RuleError(text, at + 1, f"expected {what} ({', '.join(kind)}), {said}") from None


def _ports(text: str, place: tuple[int, str], protocol: Protocol) -> tuple[PortRange, ...]:
    at, words = place
    if protocol not in _WITH_PORTS:
        raise RuleError(text, at + 1, f"{protocol} has no ports: only tcp and udp do")
    ranges = sorted(
        (_port_range(text, *each) for each in _bounded(text, at, words, "ranges of ports")), key=_first
    )
    merged: list[PortRange] = []
    for each in ranges:
        if merged and each.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return tuple(merged)


def _bounded(text: str, at: int, words: str, what: str) -> list[tuple[int, str]]:
    places = list(_positioned(words, ",", at))
    if len(places) > MOST_PARTS:
        raise RuleError(text, places[MOST_PARTS][0] + 1, f"a rule has at most {MOST_PARTS} {what}")
    return places


def _port_range(text: str, at: int, word: str) -> PortRange:
    first, dash, last = word.partition("-")
    begin = _port(text, at, first)
    end = _port(text, at + len(first) + 1, last) if dash else begin
    if end < begin:
        raise RuleError(text, at + 1, f"the range of ports {word} ends before it begins")
    return PortRange(begin, end)


def _port(text: str, at: int, word: str) -> int:
    if word.isascii() and word.isdigit() and len(word) <= 5 and 1 <= int(word) <= 65535:
        return int(word)
    raise RuleError(text, at + 1, f"expected a port from 1 to 65535, or FIRST-LAST, not {word[:40]!r}")


def _first(ports: PortRange) -> int:
    return ports.first


def _range(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _peers(text: str, at: int, words: str | None, direction: Direction) -> tuple[tuple[str, ...], str | None]:
    if words is None:
        return (), None
    wanted = _PEERS_WORD[direction]
    if not words.startswith(wanted):
        raise RuleError(text, at + 1, f"expected {wanted}, which goes with {direction}")
    at, words = at + len(wanted), words.removeprefix(wanted)
    if words.startswith(_GROUP):
        name = words.removeprefix(_GROUP)
        fault = group_name_fault(name)
        if fault is not None:
            more = "; a rule has one group, or networks: write two rules" if "," in name else ""
            raise RuleError(text, at + len(_GROUP) + 1, fault + more)
        return (), name
    networks = [_network(text, *each) for each in _bounded(text, at, words, "networks")]
    return tuple(str(each) for each in dict.fromkeys(networks)), None


def _network(text: str, at: int, word: str) -> IPv4Network | IPv6Network:
    """An address without a prefix is a network of one. Bits beyond the prefix are refused: whoever writes
    10.0.0.5/8 means one of two things."""
    if word.startswith(_GROUP):
        raise RuleError(text, at + 1, "a rule has networks, or one group: write two rules")
    try:
        if "%" in word or not word.isascii():
            raise ValueError("no zones")
        return ip_network(word)
    except ValueError as error:
        if "has host bits set" in str(error):
            meant = ip_network(word, strict=False)
            raise RuleError(text, at + 1, f"{word} has bits beyond its prefix; the network is {meant}") from None
    raise RuleError(
        text, at + 1, f"expected an address, a network (10.0.0.0/8) or {_GROUP}NAME, not {word[:60]!r}"
    )

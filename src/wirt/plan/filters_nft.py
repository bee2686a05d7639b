"""nft's vocabulary as JSON (libnftables-json(5)), and the parts that a ruleset is put together from.

nft 1.0.6 has no name for some fields; they are read as raw bits of the transport header. Its JSON can use sets of
such bits and can't declare them, so that these few (:data:`DECLARED`) are declared in nft's own language
beforehand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value; of expressions always an object."""

Key: TypeAlias = tuple[int | str, ...]
"""Of a set's element, one item for each type of the set."""

ACCEPT: Json = {"accept": None}
DROP: Json = {"drop": None}
RETURN: Json = {"return": None}


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a base chain looks at frames (nft(8), "Chains"). ``device`` only in family netdev."""

    name: str
    priority: int
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """``text`` is the JSON of its expressions. ``mark`` is derived from it and goes into the rule's comment: so a
    rule that somebody changed is told from ours whatever form this nft prints expressions in."""

    text: str
    mark: str


@dataclass(frozen=True, slots=True)
class Chain:
    rules: tuple[Rule, ...]
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A set or a map of nft's. ``size`` bounds one that frames add to, with ``timeout_s`` for each element."""

    types: tuple[str, ...]
    verdicts: bool = False
    size: int | None = None
    timeout_s: int | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """Of the set or map ``table``; ``target`` is the chain that a verdict map goes to, or ``"drop"``."""

    table: str
    key: Key
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What belongs together in a ruleset: a port's, a group's, or what all share. Names of chains and tables are
    in no two parts; an element may be."""

    chains: Mapping[str, Chain] = field(default_factory=dict)
    guards: Mapping[str, Chain] = field(default_factory=dict)
    """Chains of family netdev."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    elements: frozenset[Element] = frozenset()


def rule(*expressions: Json) -> Rule:
    text = json.dumps(expressions, separators=(",", ":"))
    return Rule(text, hashlib.blake2s(text.encode(), digest_size=5).hexdigest())


def match(left: Json, right: Json, op: str = "==") -> Json:
    return {"match": {"op": op, "left": left, "right": right}}


def among(left: Json, values: object, *, no: bool = False) -> Json:
    return match(left, {"set": list(values)}, "!=" if no else "==")  # type: ignore[call-overload]


def meta(key: str) -> Json:
    return {"meta": {"key": key}}


def payload(protocol: str, name: str) -> Json:
    return {"payload": {"protocol": protocol, "field": name}}


def transport(offset_bytes: int, length_bytes: int) -> Json:
    return {"payload": {"base": "th", "offset": offset_bytes * 8, "len": length_bytes * 8}}


def network(offset_bytes: int, length_bytes: int) -> Json:
    return {"payload": {"base": "nh", "offset": offset_bytes * 8, "len": length_bytes * 8}}


def masked(left: Json, mask: Json) -> Json:
    return {"&": [left, mask]}


def concat(*items: Json) -> Json:
    return {"concat": list(items)}


def jump(chain: str) -> Json:
    return {"jump": {"target": chain}}


def goto(chain: str) -> Json:
    return {"goto": {"target": chain}}


def dispatch(key: Json, table: str) -> Json:
    """To the chain that a verdict map has for ``key``; on, if it has none."""
    return {"vmap": {"key": key, "data": f"@{table}"}}


def learn(table: str, key: Json, timeout_s: int) -> Json:
    """Put ``key`` into a learned set, for ``timeout_s`` from now. The rule ends here if the set is full."""
    return {"set": {"op": "update", "elem": {"elem": {"val": key, "timeout": timeout_s}}, "set": f"@{table}"}}


def forget(table: str, key: Json) -> Json:
    """Take ``key`` out of a learned set. The rule ends here if it is not in it."""
    return {"set": {"op": "delete", "elem": key, "set": f"@{table}"}}


def at_most(table: str, key: Json, per_second: int, burst: int) -> Json:
    """The rule ends here for a ``key`` that comes more often."""
    limit = {"limit": {"rate": per_second, "per": "second", "burst": burst}}
    return {"set": {"op": "update", "elem": key, "set": f"@{table}", "stmt": [limit]}}


PROTOCOL = meta("protocol")
L4 = meta("l4proto")
ETHER_TYPE = payload("ether", "type")

DECLARED = {
    "dhcp-macs": "typeof meta iif . @th,288,48",
    "announcers": "typeof meta iif . @nh,64,48",
    "nd-targets": "typeof meta iif . @th,64,128",
    "nd-options": "typeof meta iif . @th,192,64",
    "rs-options": "typeof meta iif . @th,64,64",
}
"""BOOTP's chaddr behind UDP's header (RFC 2131, 2); reverse ARP's hardware addresses (RFC 903); ND's target and
its first option (RFC 4861, 4.3 and 4.4); a router solicitation's first option (4.1). Offsets and lengths in
bits."""

"""The packet filter of all guests of one host, and its changes, as transactions of nft.

One table in family bridge and one in netdev, called alike after the host's home. A frame from a guest is looked at
when it enters its bridge, before the bridge learns or forwards anything, whether it is for a guest, the host, or
beyond; one to a guest in security groups when it leaves, wherever it is from. Either costs one look-up of the
device, however many there are: ports that are no guest's go on at once.

Nothing here names a bridge: a guest's frames reach another bridge only through the host's own forwarding.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wirt.model.devices import Rate
from wirt.model.security import SecurityGroup
from wirt.plan import filters_groups, filters_spoof
from wirt.plan.filters_nft import (
    DECLARED,
    DROP,
    Chain,
    Element,
    Hook,
    Json,
    Part,
    Rule,
    Table,
    dispatch,
    jump,
    meta,
    rule,
)
from wirt.plan.policy import PortPolicy

_COLLECTED_S = 10  # how often the kernel goes through a set for what has had its time; else each second
_PRIORITY = -200  # where the bridge family's "filter" is (nft(8), "Chains")


@dataclass(frozen=True, slots=True)
class Port:
    """A guest's card on this host: the tap's device number and name. What the guest sends goes through the device
    ``shaper``, which delays it (tc(8)); where the kernel has no such device, what is beyond the rate is
    dropped."""

    index: int
    tap: str
    policy: PortPolicy
    shaper: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What should be in the kernel. ``elsewhere``: by group, the addresses of members on other hosts."""

    ports: Mapping[int, Port] = field(default_factory=dict)
    groups: Mapping[str, SecurityGroup] = field(default_factory=dict)
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)


Parts = Mapping[str, Part]


def compile_filter(wanted: Filter) -> dict[str, Part]:
    """``NotFound``: a port is in a group that does not exist, or a group allows one."""
    parts = {"shared": shared()}
    for name, group in wanted.groups.items():
        parts[f"group {name}"] = filters_groups.group(group, wanted.groups, wanted.elsewhere.get(name, ()))
    for port in wanted.ports.values():
        parts[port_key(port.index)] = _port(port, wanted.groups)
    for names in {port.policy.groups for port in wanted.ports.values()}:
        parts |= _combination(names, wanted.groups)
    return parts


def port_key(index: int) -> str:
    return f"port {index}"


def compile_port(port: Port, groups: Mapping[str, SecurityGroup]) -> dict[str, Part]:
    """The port's own part, and that of the combination of groups it is in. ``NotFound``."""
    return {port_key(port.index): _port(port, groups), **_combination(port.policy.groups, groups)}


def _combination(names: Sequence[str], groups: Mapping[str, SecurityGroup]) -> dict[str, Part]:
    return {f"groups {' '.join(names)}": filters_groups.combination(names, groups)} if names else {}


def _port(port: Port, groups: Mapping[str, SecurityGroup]) -> Part:
    part = filters_spoof.port(port.index, port.tap, port.policy)
    if port.policy.rate_out is not None:
        limit = _police(port.policy.rate_out) if port.shaper is None else rule({"fwd": {"dev": port.shaper}})
        guards = {name: Chain((*chain.rules, limit), chain.hook) for name, chain in part.guards.items()}
        part = Part(part.chains, guards, part.tables, part.elements)
    if not port.policy.groups:
        return part
    return _joined(part, filters_groups.port(port.index, port.policy, groups))


def _police(rate: Rate) -> Rule:
    """The kernel adds a second's worth to the burst it is told (Linux, net/netfilter/nft_limit.c), so that what is
    let through at once is that at least."""
    limit = {"rate": rate.bytes_per_s, "rate_unit": "bytes", "per": "second", "inv": True}
    burst = max(burst_bytes(rate) - rate.bytes_per_s, 0)
    return rule({"limit": {**limit, "burst": burst, "burst_unit": "bytes"}}, DROP)


def burst_bytes(rate: Rate) -> int:
    """What may be sent at once: the rate's interval, and at least two full frames of it."""
    return max(rate.bytes_per_s * rate.interval_us // 1_000_000, 3200)


def shared() -> Part:
    entry = Part(
        chains={
            "enter": Chain(
                (rule(dispatch(meta("iif"), "from")), rule(jump("enter-out"))), Hook("prerouting", _PRIORITY)
            ),
            "leave": Chain((rule(jump("leave-in")),), Hook("postrouting", _PRIORITY)),
        },
        tables={"from": Table(("iface_index",), verdicts=True)},
    )
    return _joined(entry, filters_spoof.shared(), filters_groups.shared())


def _joined(*parts: Part) -> Part:
    return Part(
        chains={name: chain for part in parts for name, chain in part.chains.items()},
        guards={name: chain for part in parts for name, chain in part.guards.items()},
        tables={name: table for part in parts for name, table in part.tables.items()},
        elements=frozenset(element for part in parts for element in part.elements),
    )


class Ruleset:
    """What the kernel is known to have, part by part. Immutable; :meth:`change` gives the next and the way there.

    Ways are commands of libnftables-json(5), each as its text: thousands are made at once.
    """

    def __init__(self, name: str, parts: Parts | None = None) -> None:
        self.name = name
        self.parts = dict(parts or {})
        self.uses = Counter(element for part in self.parts.values() for element in part.elements)
        """Two parts may have one element, as two guests of one address in one group have."""

    def change(self, put: Parts, drop: Iterable[str] = ()) -> tuple[Ruleset, list[str]]:
        """Put these parts in and take those out."""
        put = {key: part for key, part in put.items() if self.parts.get(key) != part}
        gone = {key: self.parts[key] for key in {*put, *drop} if key in self.parts}
        after = Ruleset(self.name)
        after.parts = {key: part for key, part in self.parts.items() if key not in gone} | put
        after.uses = self.uses.copy()
        for part in gone.values():
            after.uses.subtract(part.elements)
        for part in put.values():
            after.uses.update(part.elements)
        leaving, coming = _joined(*gone.values()), _joined(*put.values())
        left = [each for each in leaving.elements if after.uses[each] <= 0]
        came = [each for each in coming.elements if self.uses[each] <= 0]
        return after, Commands(self.name).change(leaving, coming, left, came)

    def unused(self) -> list[str]:
        """Keys of combinations of groups that no port is in any more."""
        used = {each.target for part in self.parts.values() for each in part.elements}
        return [
            key for key, part in self.parts.items() if key.startswith("groups ") and used.isdisjoint(part.chains)
        ]

    def everything(self) -> Part:
        return _joined(*self.parts.values())


@dataclass(frozen=True, slots=True)
class Present:
    """What a listing shows: rules' marks by chain, elements by set. ``maps`` are those of ``sets`` with verdicts,
    ``devices`` the names of all devices by number, ``families`` those whose table is there."""

    chains: Mapping[str, tuple[str, ...]]
    guards: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, frozenset[tuple[object, ...]]]
    maps: frozenset[str]
    devices: Mapping[int, str] = field(default_factory=dict)
    families: frozenset[str] = frozenset()

    @property
    def declared(self) -> bool:
        return self.families >= {"bridge", "netdev"} and self.sets.keys() >= DECLARED.keys()


def declaration(name: str) -> str:
    """What has to be there before any transaction, in nft's own language; harmless again and again."""
    sets = "".join(f" set {each} {{ {types}; }}\n" for each, types in DECLARED.items())
    return f"table bridge {name} {{\n{sets}}}\ntable netdev {name} {{ }}\n"


class Commands:
    """To nft, for the tables called ``name``."""

    def __init__(self, name: str) -> None:
        self._bridge = {"family": "bridge", "table": name}
        self._netdev = {"family": "netdev", "table": name}
        self._tables = [{"table": {"family": family, "name": name}} for family in ("bridge", "netdev")]

    def remove(self) -> list[str]:
        """After which nothing is left, whether or not something was there."""
        return [_text({verb: table}) for verb in ("add", "delete") for table in self._tables]

    def replace(self, present: Present, wanted: Part) -> list[str]:
        """Whatever is present with what is wanted. Tables that traffic filled and that stay keep what they
        learned."""
        commands = [_text({"flush": table}) for table in self._tables]
        kept = {name for name, table in wanted.tables.items() if table.timeout_s is not None}
        declared = DECLARED.keys()
        commands += (
            _text({"flush": {_kind(name in present.maps): {**self._bridge, "name": name}}})
            for name in present.sets
            if name not in kept
        )
        commands += (_text({"delete": {"chain": {**self._bridge, "name": name}}}) for name in present.chains)
        commands += (_text({"delete": {"chain": {**self._netdev, "name": name}}}) for name in present.guards)
        gone = [name for name in present.sets if name not in kept and name not in declared]
        commands += (
            _text({"delete": {_kind(name in present.maps): {**self._bridge, "name": name}}}) for name in gone
        )
        # Since Linux 6.2 a set that traffic fills can't be declared again: the kernel has marked it so by itself.
        there = Part(
            tables={name: table for name, table in wanted.tables.items() if name in kept & present.sets.keys()}
        )
        return commands + self.change(there, wanted, (), wanted.elements)

    def change(self, old: Part, new: Part, leaving: Iterable[Element], coming: Iterable[Element]) -> list[str]:
        """In an order in which nothing is named before it is there or after it has gone."""
        commands = list(self._elements("delete", leaving))
        kinds = ((self._bridge, old.chains, new.chains), (self._netdev, old.guards, new.guards))
        for family, before, after in kinds:
            gone = [name for name in before if name not in after]
            # A tap's own chain goes with the tap on some kernels and stays on others.
            commands += (_text({"add": {"chain": {**family, "name": name}}}) for name in gone)
            emptied = [name for name in before if before[name] != after.get(name)]
            commands += (_text({"flush": {"chain": {**family, "name": name}}}) for name in emptied)
        for family, before, after in kinds:
            gone = [name for name in before if name not in after]
            commands += (_text({"delete": {"chain": {**family, "name": name}}}) for name in gone)
        commands += self._retable(old.tables, new.tables)
        for family, before, after in kinds:
            added = [name for name in after if name not in before]
            commands += (
                _text({"add": {"chain": {**family, "name": name, **_hook(after[name])}}}) for name in added
            )
        for family, before, after in kinds:
            for name, chain in after.items():
                if before.get(name) != chain:
                    commands += (_add_rule(family, name, each) for each in chain.rules)
        commands += self._elements("add", coming)
        return commands

    def _retable(self, old: Mapping[str, Table], new: Mapping[str, Table]) -> Iterable[str]:
        for name, table in old.items():
            if name not in new:
                yield _text({"delete": {_kind(table.verdicts): {**self._bridge, "name": name}}})
        for name, table in new.items():
            if name in old:
                continue
            types = list(table.types) if len(table.types) > 1 else table.types[0]
            body: dict[str, Json] = {**self._bridge, "name": name, "type": types}
            if table.verdicts:
                body["map"] = "verdict"
            if table.timeout_s is not None:
                body |= {
                    "flags": ["timeout"],
                    "size": table.size,
                    "timeout": table.timeout_s,
                    "gc-interval": _COLLECTED_S,
                }
            yield _text({"add": {_kind(table.verdicts): body}})

    def _elements(self, verb: str, elements: Iterable[Element]) -> Iterable[str]:
        by_table: dict[str, list[Json]] = {}
        for element in elements:
            key: Json = {"concat": list(element.key)} if len(element.key) > 1 else element.key[0]
            value = key if element.target is None else [key, jump(element.target)]
            by_table.setdefault(element.table, []).append(value)
        for name, values in by_table.items():
            yield _text({verb: {"element": {**self._bridge, "name": name, "elem": values}}})


def transaction(commands: Iterable[str]) -> str:
    return f'{{"nftables":[{",".join(commands)}]}}'


def _text(command: Json) -> str:
    return json.dumps(command, separators=(",", ":"))


def _kind(verdicts: bool) -> str:
    return "map" if verdicts else "set"


def _hook(chain: Chain) -> dict[str, Json]:
    if chain.hook is None:
        return {}
    hook = {"type": "filter", "hook": chain.hook.name, "prio": chain.hook.priority, "policy": "accept"}
    return hook if chain.hook.device is None else {**hook, "dev": chain.hook.device}


def _add_rule(family: Mapping[str, str], chain: str, each: Rule) -> str:
    place = f'"family":"{family["family"]}","table":"{family["table"]}","chain":"{chain}"'
    return f'{{"add":{{"rule":{{{place},"comment":"{each.mark}","expr":{each.text}}}}}}}'

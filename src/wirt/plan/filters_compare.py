"""What is amiss with a packet filter: what should be there against what a listing shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wirt.plan.filters import Port, Present
from wirt.plan.filters_nft import DECLARED, Element, Part
from wirt.plan.filters_spoof import control_frames


def differences(
    wanted: Part,
    present: Present | None,
    ports: Mapping[int, Port],
    foreign: Iterable[int] = (),
    *,
    only_missing: bool = False,
) -> tuple[str, ...]:
    """A sentence for each kind of thing that is not as it should be. ``foreign`` are device numbers that exist and
    whose rules are of cards not known yet: they are left out."""
    if present is None:
        return ("the packet filter was gone",)
    apart = {str(index) for index in foreign}
    gone = sorted({"bridge", "netdev"} - present.families)
    missing = (
        *(f"a table of the packet filter was gone: {family}" for family in gone),
        *_chains_missing(wanted, present),
        *_sets(wanted, present),
        *_elements_missing(wanted, present, ports),
    )
    if only_missing:
        return missing
    return (*missing, *_chains_strange(wanted, present, apart), *_elements_strange(wanted, present, ports, apart))


def strangers(present: Present, known: Iterable[int]) -> dict[int, str]:
    """Devices that have rules and exist and are not among ``known``: names by number."""
    apart = set(known)
    mentioned = {str(key[0]) for name in ("macs", "grouped") for key in present.sets.get(name, ())}
    mentioned |= {_owner(name) for name in present.guards if name.startswith("port-")}
    return {
        index: name for index, name in present.devices.items() if str(index) in mentioned and index not in apart
    }


def kept(present: Present, foreign: Mapping[int, str], wanted: Part) -> Part:
    """The rules of cards not known yet, as far as a listing shows them: their anti-spoofing, and if they are in
    groups, nothing in and nothing out."""
    elements: list[Element] = []
    for name, keys in present.sets.items():
        if name not in wanted.tables and name not in DECLARED:
            continue
        for key in keys:
            if not str(key[0]).isdigit() or int(str(key[0])) not in foreign:
                continue
            items = [hex(int(str(item))) if name in DECLARED else str(item) for item in key[1:]]
            if name not in present.maps:
                elements.append(Element(name, (int(str(key[0])), *items)))
            elif items[-1] in wanted.chains:
                elements.append(Element(name, (int(str(key[0])), *items[:-1]), items[-1]))
    guards = {f"port-{index}": control_frames(tap) for index, tap in foreign.items()}
    return Part(guards=guards, elements=frozenset(elements))


def _chains_missing(wanted: Part, present: Present) -> Iterable[str]:
    for should, has in ((wanted.chains, present.chains), (wanted.guards, present.guards)):
        missing = [name for name in should if name not in has]
        changed = [
            name for name in should if name in has and tuple(rule.mark for rule in should[name].rules) != has[name]
        ]
        if missing:
            yield f"chains of the packet filter were gone: {_some(missing)}"
        if changed:
            yield f"rules of the packet filter had been changed in {_some(changed)}"


def _chains_strange(wanted: Part, present: Present, apart: set[str]) -> Iterable[str]:
    for should, has in ((wanted.chains, present.chains), (wanted.guards, present.guards)):
        strange = [name for name in has if name not in should and _owner(name) not in apart]
        if apart:
            strange = [name for name in strange if not name.startswith(("group-", "groups-"))]
        if strange:
            yield f"the packet filter had chains that nobody needs: {_some(strange)}"


def _sets(wanted: Part, present: Present) -> Iterable[str]:
    missing = [name for name in (*wanted.tables, *DECLARED) if name not in present.sets]
    if missing:
        yield f"sets of the packet filter were gone: {_some(missing)}"


def _elements_missing(wanted: Part, present: Present, ports: Mapping[int, Port]) -> Iterable[str]:
    missing = [
        f"{_whose(key, ports)} in {name}"
        for name, keys in _by_set(wanted).items()
        if name in present.sets
        for key in keys - present.sets[name]
    ]
    if missing:
        yield f"entries of the packet filter were gone: {_some(missing)}"


def _elements_strange(wanted: Part, present: Present, ports: Mapping[int, Port], apart: set[str]) -> Iterable[str]:
    should = _by_set(wanted)
    strange = [
        f"{_whose(key, ports)} in {name}"
        for name, keys in present.sets.items()
        if not (apart and name.startswith("members-"))
        for key in keys - should.get(name, set())
        if str(key[0]) not in apart
    ]
    if strange:
        yield f"the packet filter had entries that nobody needs: {_some(strange)}"


def _by_set(wanted: Part) -> dict[str, set[tuple[object, ...]]]:
    by_set: dict[str, set[tuple[object, ...]]] = {}
    for element in wanted.elements:
        by_set.setdefault(element.table, set()).add(listed(element))
    return by_set


def listed(element: Element) -> tuple[object, ...]:
    """As a listing has it."""
    keys = (str(int(item, 16)) if str(item).startswith("0x") else str(item) for item in map(str, element.key))
    return (*keys,) if element.target is None else (*keys, element.target)


def _whose(key: tuple[object, ...], ports: Mapping[int, Port]) -> str:
    first = str(key[0])
    port = ports.get(int(first)) if first.isdigit() else None
    return port.tap if port is not None else first


def _owner(chain: str) -> str:
    return chain.rpartition("-")[2]


def _some(names: list[str], most: int = 5) -> str:
    unique = sorted(set(names))
    rest = f" and {len(unique) - most} more" if len(unique) > most else ""
    return ", ".join(unique[:most]) + rest

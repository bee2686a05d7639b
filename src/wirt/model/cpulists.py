"""Lists of CPUs as text: the kernel's (``0-3,8``) and Xen's, which has more (``0-3,^2``, ``node:1``, ``all``)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wirt.model.errors import BadInput
from wirt.model.text import plain
from wirt.model.topology import Topology

CPU_TERM = re.compile(r"\^?(?:all|(?:nodes?:)?[0-9]{1,6}(?:-[0-9]{1,6})?)")
"""One of those that commas part (xl.cfg(5), "cpus")."""
HINT = 'as in "0-3,^2", "node:1" or "all"'
_KERNEL_TERM = re.compile(r"[0-9]{1,6}(?:-[0-9]{1,6})?")


def kernel_list(text: str) -> frozenset[int]:
    """What a file under /sys says (Linux, lib/bitmap-str.c, "cpulist"); empty is none. ``ValueError`` if that
    is no list."""
    found: set[int] = set()
    for term in filter(None, (term.strip() for term in text.split(","))):
        if not _KERNEL_TERM.fullmatch(term):
            raise ValueError(f"{plain(term, 40)!r} is no range of numbers")
        low, high = _ends(term)
        if high < low:
            raise ValueError(f"{plain(term, 40)!r} ends before it begins")
        found.update(range(low, high + 1))
    return frozenset(found)


def list_text(cpus: Iterable[int]) -> str:
    """``{0, 1, 2, 5} -> '0-2,5'``, as cpusets take it and people read it."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def cpus_named(text: str, topology: Topology) -> frozenset[int]:
    """The CPUs of this host that ``text`` names, in xl.cfg's terms, those that are offline among them.

    Terms count from left to right: ``^2,0-3`` has 2 in it. What this host has not got is left out, as Xen does;
    ``BadInput`` if nothing is left, or if a term can't be read."""
    numbers = {*topology.online, *topology.offline}
    found: set[int] = set()
    for term in (term.strip() for term in text.split(",")):
        if not CPU_TERM.fullmatch(term):
            raise BadInput(f"{plain(term, 40)!r} names no CPUs", hint=HINT)
        named = _named(term.removeprefix("^"), topology, numbers)
        found = found - named if term.startswith("^") else found | named
    if not found:
        nodes = list_text(node.id for node in topology.nodes)
        raise BadInput(
            f"of {plain(text, 80)!r} this host has no CPU",
            hint=f"it has the CPUs {list_text(numbers)}, on the nodes {nodes}",
        )
    return frozenset(found)


def _named(term: str, topology: Topology, numbers: set[int]) -> set[int]:
    if term == "all":
        return numbers
    kind, _, span = term.rpartition(":")
    low, high = _ends(span)
    if high < low:
        raise BadInput(f"{plain(term, 40)!r} ends before it begins", hint=HINT)
    if kind:
        return {cpu.id for cpu in topology.cpus if low <= cpu.node <= high}
    return {number for number in numbers if low <= number <= high}


def _ends(span: str) -> tuple[int, int]:
    low, _, high = span.partition("-")
    return int(low), int(high or low)

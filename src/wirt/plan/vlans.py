"""VLANs of a port (xl-network-configuration(5), "vlan")."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TERM = re.compile(r"(\d+)(?:-(\d+)|\+(\d+)x(\d+))?([pu]?)")


@dataclass(frozen=True, slots=True)
class VlanMembership:
    """``primary`` is the VLAN of frames that arrive without a tag; those of ``untagged`` leave without one,
    those of ``tagged`` with one. Ascending."""

    primary: int
    untagged: tuple[int, ...]
    tagged: tuple[int, ...] = ()


def membership(text: str) -> VlanMembership:
    """``10`` is ``10p``: frames come and go without a tag. Terms are numbers, ranges ``FIRST-LAST`` and steps
    ``FIRST+STEPxCOUNT``, with ``p`` (primary, and untagged) or ``u`` (untagged). ``text`` has been checked
    (``config.xlcfg.vif``)."""
    primary, untagged, tagged = 0, set[int](), set[int]()
    terms = text.split("/")
    for term in terms:
        match = _TERM.fullmatch(term)
        assert match is not None, "checked where it was read"
        first, last, step, count, mark = match.groups()
        if last is not None:
            vids = range(int(first), int(last) + 1)
        elif step is not None:
            vids = range(int(first), int(first) + int(step) * int(count) + 1, max(1, int(step)))
        else:
            vids = range(int(first), int(first) + 1)
        if mark == "p" or len(terms) == 1:
            primary = int(first)
        (untagged if mark or len(terms) == 1 else tagged).update(vids)
    return VlanMembership(primary, tuple(sorted(untagged)), tuple(sorted(tagged - untagged)))

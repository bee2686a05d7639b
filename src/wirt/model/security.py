"""Security groups: what may reach a guest, and what it may reach, as lists of what is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """As the guest sees it."""

    IN = "in"
    OUT = "out"


class Protocol(StrEnum):
    """``icmp`` is ICMP and ICMPv6."""

    ANY = "any"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


@dataclass(frozen=True, slots=True)
class PortRange:
    """Both ends belong to it. 1 to 65535."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Allow:
    """One thing that is allowed. ``ports`` are the receiver's, and of none every port; ``peers`` are networks with
    prefix, and ``group`` the members of a security group: of neither, anyone."""

    direction: Direction
    protocol: Protocol = Protocol.ANY
    ports: tuple[PortRange, ...] = ()
    peers: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A card with groups gets what any of them allows, answers to that, and nothing else. A direction that no rule
    of its groups speaks of: nothing comes in, everything goes out."""

    name: str
    rules: tuple[Allow, ...] = ()
    description: str = ""


_GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def group_name_fault(name: str) -> str | None:
    """What is wrong with ``name`` as that of a security group: it stands between blanks in an xl.cfg, and in file
    names and routes."""
    if _GROUP_NAME.fullmatch(name):
        return None
    return f"{name[:40]!r} is no name of a security group: 1 to 32 of a-z A-Z 0-9 _ . -, a letter or digit first"

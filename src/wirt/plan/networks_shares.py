"""How what a network's way out carries is shared among its guests while they ask for more than that: pure.

At the device by which frames leave the network, and at an ifb (ip-link(8)) that stands for what comes in by it,
each guest has a class of a hierarchical token bucket (tc-htb(8)). Its rate is its part, by weight, of what the way
out carries; whatever others leave may be borrowed up to all of it, again by weight. Where the host forwards, only
what guests are sent is shared, at the bridge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from wirt.model.errors import BadInput
from wirt.model.network import FORWARDED, NetworkConfig, NetworkMode

LEAST_WEIGHT, MOST_WEIGHT, DEFAULT_WEIGHT = 1, 1000, 100
"""Of a guest that says nothing, and of all that is no guest's: broadcasts, the host itself."""
QUANTUM, MOST_QUANTUM = 1600, 200_000
"""What the lightest may send in its turn, in bytes: a full frame; and the most that the kernel takes without a
warning."""
LEAST_RATE = 1000
LEAST_SHARE, MOST_SHARE = 12_500, 2**32 - 1
"""Bytes a second: 100 kb/s, and what the kernel's figure holds (tc_ratespec, linux/pkt_sched.h)."""
MOST_GUESTS = 4000
"""Numbers of classes go to 0xffff, and each frame is compared with all until one fits."""


def check_network_weight(weight: int) -> None:
    if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise BadInput(
            f"a network weight of {weight} can't be",
            hint=f"it is {LEAST_WEIGHT} to {MOST_WEIGHT}; {DEFAULT_WEIGHT} is what a domain has unasked",
        )


@dataclass(frozen=True, slots=True)
class Share:
    mac: str
    weight: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """``outward``: what leaves by ``device`` is what guests send, as of an uplink; else it is what they are sent,
    as of a bridge whose host forwards. ``shares`` in the order of their addresses."""

    device: str
    bytes_per_s: int
    outward: bool
    shares: tuple[Share, ...]

    @property
    def digest(self) -> str:
        """Tells two from one another."""
        return hashlib.blake2s(repr(self).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class ShareClass:
    """``number`` of the class below the one that has all; ``mac`` is ``None`` for whatever is no guest's."""

    number: int
    mac: str | None
    bytes_per_s: int
    quantum: int


def sharing_of(network: NetworkConfig, lower: str | None, shares: Iterable[Share]) -> Sharing | None:
    """``lower``: wirt's own device that leads out of the bridge, if there is one."""
    if network.share is None:
        return None
    ordered = tuple(sorted(shares, key=lambda share: share.mac))[:MOST_GUESTS]
    if network.mode in FORWARDED:
        return Sharing(network.bridge, network.share, False, ordered)
    device = lower or network.uplink
    return None if device is None else Sharing(device, network.share, True, ordered)


def can_share(mode: NetworkMode, *, foreign: bool) -> bool:
    """Whether wirt knows the way out."""
    return mode is not NetworkMode.ISOLATED and not foreign


def classes(sharing: Sharing) -> tuple[ShareClass, ...]:
    """The last one is for whatever is no guest's."""
    weights = [*(share.weight for share in sharing.shares), DEFAULT_WEIGHT]
    macs = [*(share.mac for share in sharing.shares), None]
    total, least = sum(weights), min(weights)
    return tuple(
        ShareClass(
            number,
            mac,
            max(LEAST_RATE, sharing.bytes_per_s * weight // total),
            min(MOST_QUANTUM, QUANTUM * weight // least),
        )
        for number, (mac, weight) in enumerate(zip(macs, weights, strict=True), start=2)
    )

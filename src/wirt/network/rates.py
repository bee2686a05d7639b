"""Rate limits of cards: token buckets (tc-tbf(8)) that delay rather than drop.

What a guest is sent waits at its tap. What it sends comes in at the tap, where nothing can wait: the packet filter
forwards it to an ifb of the card's own (ip-link(8)), whose bucket lets it go on into the bridge. A tap takes its
bucket with it; an ifb would stay, so each has the tap's device number in its name, and :meth:`Rates.sweep` knows
by that whose tap is gone.
"""

from __future__ import annotations

import errno
import hashlib
import re
import socket
from collections.abc import Iterable
from contextlib import suppress

from wirt.model.devices import Rate
from wirt.network.links import Links, index_of
from wirt.plan.filters import Port, burst_bytes

_MOST_BYTES_PER_S = 2**32 - 1  # tc_ratespec, linux/pkt_sched.h
_SHORTEST_QUEUE_BYTES = 65536  # one segment of a card that leaves segmenting to the host
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOENT, errno.EINVAL)


class Rates:
    """``home`` tells the devices of hosts apart that share a network namespace. Errors: ``OSError``."""

    def __init__(self, home: str) -> None:
        self._tag = hashlib.blake2s(home.encode(), digest_size=2).hexdigest()
        self._pattern = re.compile(rf"ifb([0-9a-f]+)-{self._tag}")

    def shaper(self, index: int) -> str:
        return f"ifb{index:x}-{self._tag}"

    async def limit(self, links: Links, index: int, incoming: Rate | None, outgoing: Rate | None) -> str | None:
        """Make both buckets of the tap ``index``, or take away what is not wanted any more: the device that delays
        what the guest sends. ``None`` with a limit in that direction: this kernel has no such device."""
        if incoming is None:
            await links.unshape(index)
        else:
            await _shape(links, index, incoming)
        if outgoing is None:
            return None
        name = self.shaper(index)
        try:
            await _shape(links, await links.add_ifb(name), outgoing)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            await self.drop(links, index)
            return None
        return name

    async def drop(self, links: Links, index: int) -> None:
        """The tap's ifb. One that is gone already is no error."""
        shaper = index_of(self.shaper(index))
        if shaper is not None:
            await links.delete(shaper)

    def remains(self) -> bool:
        """Whether there is any ifb of this home, asked of nobody but the C library."""
        return any(self._pattern.fullmatch(name) for _, name in socket.if_nameindex())

    async def sweep(self, links: Links, known: Iterable[int]) -> list[str]:
        """Remove the ifbs of taps that have gone: their names."""
        swept: list[str] = []
        taps = set(known)
        for link in await links.ifbs():
            match = self._pattern.fullmatch(link.name)
            if match is not None and int(match[1], 16) not in taps:
                await links.delete(link.index)
                swept.append(link.name)
        return swept

    async def amiss(self, links: Links, ports: Iterable[Port]) -> dict[int, str]:
        """By device number of the tap, what is wrong with its buckets."""
        wanted = [port for port in ports if port.policy.rate_in or port.policy.rate_out]
        if not wanted:
            return {}
        found: dict[int, str] = {}
        shapes = await links.shapes()
        for port in wanted:
            if port.policy.rate_in is not None and shapes.get(port.index) != _speed(port.policy.rate_in):
                found[port.index] = f"the limit of what {port.tap} is sent was gone or another"
            if port.policy.rate_out is None or port.shaper is None:
                continue
            if shapes.get(index_of(port.shaper) or 0) != _speed(port.policy.rate_out):
                found[port.index] = f"the limit of what {port.tap} sends was gone or another"
        return found


async def _shape(links: Links, index: int, rate: Rate) -> None:
    speed = _speed(rate)
    with suppress(FileExistsError):
        await links.shape(index, speed, min(burst_bytes(rate), 2**31), max(speed // 10, _SHORTEST_QUEUE_BYTES))


def _speed(rate: Rate) -> int:
    return min(rate.bytes_per_s, _MOST_BYTES_PER_S)

"""The network port in memory: for tests, and for simulations of many hosts."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from wirt.model.devices import VifKind
from wirt.model.errors import WirtError
from wirt.network.bridges import DefaultBridge, not_found
from wirt.network.ports import LoopbackPorts
from wirt.network.taps import card_of, name_taken, names
from wirt.plan.nics import NicPlan
from wirt.ports.clock import Clock
from wirt.ports.network import Plugged

_FIRST_PORT, _END_OF_PORTS = 32768, 61000


class FakeNetwork:
    """One host's network. It has no descriptors: a tap lives until it is unplugged, or :meth:`end` says that its
    holder is gone. What tests and simulations arrange or look at is public.

    ``bridges`` are those that someone else made, ``foreign`` names of other devices, ``taken`` ports in use.
    """

    def __init__(self, default: DefaultBridge, clock: Clock, *, bridging: bool = True) -> None:
        self.bridging = bridging
        self.bridges: set[str] = set()
        self.foreign: set[str] = set()
        self.taken: set[tuple[str, int]] = set()
        self.taps: dict[str, str] = {}
        """The bridge of each tap."""
        self.failures: list[WirtError] = []
        """Raised by the next plugs, one each."""
        self._default = default
        self._ports = LoopbackPorts(clock, self._probe)
        self._next_port = _FIRST_PORT
        self._held: dict[object, Plugged] = {}
        self._handed: set[str] = set()

    def can_bridge(self) -> bool:
        return self.bridging

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def plug(self, nic: NicPlan) -> Plugged:
        if self.failures:
            raise self.failures.pop(0)
        card = card_of(nic)
        if nic.kind is VifKind.USER:
            return Plugged(nic, nic.kind, forwards=self._ports.take(card, nic.forwards))
        if nic.kind is not VifKind.BRIDGE:
            return Plugged(nic, nic.kind)
        earlier = self._held.get(card)
        if earlier is not None and earlier.tap not in self._handed:
            self.end(earlier)
        plugged = Plugged(nic, nic.kind, tap=self._make_tap(nic))
        self._held[card] = plugged
        return plugged

    async def unplug(self, plugged: Plugged) -> None:
        card = card_of(plugged.nic)
        if plugged.kind is VifKind.USER:
            self._ports.release(card)
        if self._held.get(card) is plugged:
            self.end(plugged)

    def hand_over(self, plugged: Plugged) -> None:
        """A hypervisor has taken the tap: a plug of the same card no longer replaces it."""
        if plugged.tap is not None:
            self._handed.add(plugged.tap)

    def end(self, plugged: Plugged) -> None:
        """Its last holder is gone."""
        card = card_of(plugged.nic)
        if self._held.get(card) is plugged:
            del self._held[card]
        if plugged.tap is not None:
            self.taps.pop(plugged.tap, None)
            self._handed.discard(plugged.tap)

    def _make_tap(self, nic: NicPlan) -> str:
        bridge = nic.bridge or self._default.name
        if bridge not in self.bridges | {self._default.name}:
            exists = bridge in self.foreign or bridge in self.taps
            raise not_found(bridge, sorted(self.bridges), self._default, exists=exists)
        for name in names(nic):
            if name not in self.taps and name not in self.foreign | self.bridges | {self._default.name}:
                self.taps[name] = bridge
                return name
        raise name_taken(nic)

    @contextmanager
    def _probe(self, protocol: str, port: int) -> Iterator[int]:
        chosen = port or self._free(protocol)
        if (protocol, chosen) in self.taken:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self.taken.add((protocol, chosen))
        try:
            yield chosen
        finally:
            self.taken.discard((protocol, chosen))

    def _free(self, protocol: str) -> int:
        for _ in range(_FIRST_PORT, _END_OF_PORTS):
            port, self._next_port = self._next_port, self._next_port + 1
            if self._next_port == _END_OF_PORTS:
                self._next_port = _FIRST_PORT
            if (protocol, port) not in self.taken:
                return port
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

"""The network port in memory: for tests, and for simulations of many hosts."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from wirt.model.devices import VifKind
from wirt.model.errors import NotFound, WirtError
from wirt.model.security import SecurityGroup
from wirt.network.bridges import DefaultBridge, not_found
from wirt.network.ports import LoopbackPorts
from wirt.network.taps import card_of, name_taken, names
from wirt.plan.filters import Filter, Port, compile_filter
from wirt.plan.nics import NicPlan
from wirt.plan.policy import PortPolicy
from wirt.plan.scripts import Action, VifScript, script_of
from wirt.ports.clock import Clock
from wirt.ports.network import Plugged, PortReport, VifStatistics

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
        self.rules: dict[str, PortPolicy] = {}
        """What is in force for each tap. Taking one away or changing it is what :meth:`mend` mends."""
        self.groups: dict[str, SecurityGroup] = {}
        self._wanted: dict[str, PortPolicy] = {}
        self.scripts: list[tuple[VifScript, Action]] = []
        """The cards' own scripts, as they were called."""
        self.led: dict[str, str] = {}
        """The taps that bridges were told of, by the cards' addresses."""
        self.announced: list[str] = []
        """The addresses of cards that somebody spoke for, in that order."""
        self.traffic: dict[str, VifStatistics] = {}
        """What each tap is to have carried."""
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
        self._check(nic.policy, self.groups)
        tap = self._make_tap(nic)
        script = script_of(nic, tap)
        if script is not None:
            self.scripts.append((script, Action.ONLINE))
        plugged = Plugged(nic, nic.kind, tap=tap, script=script)
        self._held[card] = plugged
        self.rules[tap] = self._wanted[tap] = nic.policy
        return plugged

    async def adopt(self, nic: NicPlan, tap: str) -> Plugged:
        if tap not in self.taps:
            raise NotFound(
                f"the tap {tap} of {nic.id} is gone", hint="its guest has ended, or somebody removed it"
            )
        held = self._held.get(card_of(nic))
        if held is not None and held.tap == tap:
            return held
        plugged = Plugged(nic, nic.kind, tap=tap)
        self._held[card_of(nic)] = plugged
        self._handed.add(tap)
        self._wanted[tap] = nic.policy
        return plugged

    async def lead_to(self, plugged: Sequence[Plugged]) -> None:
        self.led |= {card.nic.mac: card.tap for card in plugged if card.tap is not None}

    def herald(self, plugged: Sequence[Plugged]) -> FakeHerald:
        return FakeHerald(self, plugged)

    async def set_groups(self, groups: Sequence[SecurityGroup]) -> None:
        wanted = {group.name: group for group in groups}
        self._check(None, wanted)
        self.groups = wanted

    async def set_policy(self, tap: str, policy: PortPolicy) -> None:
        if tap not in self._wanted:
            raise NotFound(f"no card is plugged into {tap}")
        self._check(policy, self.groups)
        self.rules[tap] = self._wanted[tap] = policy

    async def mend(self) -> tuple[str, ...]:
        amiss = [tap for tap, policy in self._wanted.items() if self.rules.get(tap) != policy]
        self.rules = dict(self._wanted)
        return tuple(f"rules of {tap} were not as they should be" for tap in amiss)

    async def inspect(self, taps: Sequence[str]) -> tuple[PortReport, ...]:
        return tuple(PortReport(tap, self.taps[tap], True, self._amiss(tap)) for tap in taps if tap in self.taps)

    async def statistics(self, tap: str) -> VifStatistics | None:
        """A tap of no descriptor carries nothing but what :attr:`traffic` says."""
        return self.all_statistics().get(tap)

    def all_statistics(self) -> Mapping[str, VifStatistics]:
        return {tap: self.traffic.get(tap, VifStatistics(0, 0, 0, 0, 0, 0)) for tap in self.taps}

    async def unplug(self, plugged: Plugged) -> None:
        card = card_of(plugged.nic)
        if plugged.kind is VifKind.USER:
            self._ports.release(card)
        if self._held.get(card) is plugged:
            self.end(plugged)

    async def offline(self, script: VifScript) -> None:
        self.scripts.append((script, Action.OFFLINE))

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
            self.rules.pop(plugged.tap, None)
            self._wanted.pop(plugged.tap, None)
            self._handed.discard(plugged.tap)

    def _amiss(self, tap: str) -> tuple[str, ...]:
        same = tap in self._wanted and self.rules.get(tap) == self._wanted[tap]
        return () if same else (f"rules of {tap} are not as they should be",)

    def _check(self, policy: PortPolicy | None, groups: dict[str, SecurityGroup]) -> None:
        """As the compiler has it: no card is in a group that is not there, none allows such a one."""
        policies = [*self._wanted.values(), *(() if policy is None else (policy,))]
        compile_filter(Filter({n: Port(n, "", each) for n, each in enumerate(policies)}, groups))

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


class FakeHerald:
    def __init__(self, network: FakeNetwork, plugged: Sequence[Plugged]) -> None:
        self._network = network
        self._cards = {card.nic.mac: card.tap for card in plugged if card.tap is not None}

    def announce(self) -> None:
        for mac, tap in self._cards.items():
            if tap in self._network.taps:
                self._network.led[mac] = tap
                self._network.announced.append(mac)

    def close(self) -> None:
        self._cards = {}

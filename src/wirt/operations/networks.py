"""The networks of this host: what the store says, held in memory, changed only by transactions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from wirt.model.errors import NameInUse, NotFound, StoreConflict
from wirt.model.network import DEFAULT_NETWORK, Network
from wirt.operations import records
from wirt.plan.networks import Problem
from wirt.ports.store import Compare, Delete, Put, Store

REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class Mended:
    """What was amiss with a network, and what was done about it. ``network`` is empty for all of them."""

    at: float
    network: str
    sentence: str


@dataclass(slots=True)
class Upkeep:
    """What the daemon knows of how its networks are. ``lock`` is held by whoever changes the host for them;
    ``news`` is set when one of them should be looked at now."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    problems: tuple[Problem, ...] = ()
    mended: deque[Mended] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Networks:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_name: dict[str, Network] = {}
        self.upkeep = Upkeep()

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        entries = (await self._store.list(records.NETWORKS)).entries
        self._by_name = {network.name: network for network in map(records.read_network, entries)}

    def __iter__(self) -> Iterator[Network]:
        """By name."""
        return iter([self._by_name[name] for name in sorted(self._by_name)])

    def get(self, name: str) -> Network | None:
        return self._by_name.get(name)

    def find(self, name: str) -> Network:
        """``NotFound`` names those that are nearly called so."""
        network = self._by_name.get(name)
        if network is None:
            close = get_close_matches(name, [*self._by_name, DEFAULT_NETWORK], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else "wirt network list shows all"
            raise NotFound(f"there is no network {name}", hint=hint)
        return network

    async def add(self, network: Network) -> Network:
        """``NameInUse`` if there is one already: of two that come at once, one gets the name."""
        key = records.network_key(network.name)
        try:
            revision = await self._store.commit(Put(key, records.write_network(network)), when=(Compare(key, 0),))
        except StoreConflict as error:
            hint = f"choose another name; wirt network info {network.name} shows it"
            raise NameInUse(f"there is a network {network.name} already", hint=hint) from error
        return self._keep(replace(network, revision=revision))

    async def change(self, before: Network, *, leaving: bool) -> Network:
        """``StoreConflict`` if someone else wrote it meanwhile."""
        key, after = records.network_key(before.name), replace(before, leaving=leaving)
        revision = await self._store.commit(
            Put(key, records.write_network(after)), when=(Compare(key, before.revision),)
        )
        return self._keep(replace(after, revision=revision))

    async def remove(self, name: str) -> None:
        """One that is not there is no error."""
        await self._store.commit(Delete(records.network_key(name)))
        self._by_name.pop(name, None)

    def _keep(self, network: Network) -> Network:
        self._by_name[network.name] = network
        return network

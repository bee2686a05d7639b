"""Who has a domain that moves between two hosts: decided once, by the host that receives, in its store.

Two hosts that share no store can't decide together. So the source gives its leave (it stands still by then, and
will not go on by itself any more), and from there on the target's record is the truth: the first of ``owned`` and
``aborted`` that is written holds for good. Whoever does not know asks, and does nothing until there is an answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakValueDictionary

from wirt.model.errors import StoreConflict
from wirt.model.migration import Outcome
from wirt.operations import records
from wirt.operations.records_migration import HANDOVERS, handover_key, read_handover, write_handover
from wirt.operations.registry import Domains
from wirt.ports.clock import Clock
from wirt.ports.network import Herald
from wirt.ports.store import Compare, Delete, Put, Store

KEPT_S = 30 * 86400.0
"""How long a decision is remembered for a source that may still ask."""
TRIES = 16
MOST_PAST = 1024 * 1024
"""Of a console, in bytes."""


class Handovers:
    """The decisions of this host."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def outcome(self, handover: str) -> Outcome:
        entry = await self._store.get(handover_key(handover))
        return Outcome.OPEN if entry is None else read_handover(entry)[0]

    async def own(self, handover: str, domains: Domains, uuid: UUID) -> Outcome:
        """That the guest is this host's, unless it was decided otherwise; what holds now."""
        for _ in range(TRIES):
            domain = domains.get(uuid)
            if domain is None:
                return await self._decide(handover, Outcome.ABORTED)
            try:
                return await self._decide(
                    handover, Outcome.OWNED, Compare(records.domain_key(uuid), domain.revision)
                )
            except StoreConflict:
                continue  # somebody has just changed the record, its name most often
        return await self._decide(handover, Outcome.ABORTED)

    async def abort(self, handover: str) -> Outcome:
        """That it never will be, unless it is already; what holds now. Also of one that was never heard of: then
        an offer that is still under way comes too late."""
        return await self._decide(handover, Outcome.ABORTED)

    async def _decide(self, handover: str, outcome: Outcome, *when: Compare) -> Outcome:
        """``StoreConflict`` if another than the decision itself stood in the way."""
        key = handover_key(handover)
        try:
            put = Put(key, write_handover(outcome, self._clock.now()))
            await self._store.commit(put, when=(Compare(key, 0), *when))
        except StoreConflict as error:
            held = await self.outcome(handover)
            if held is Outcome.OPEN:
                raise error
            return held
        return outcome

    async def forget_old(self) -> None:
        before = self._clock.now() - KEPT_S
        for entry in (await self._store.list(HANDOVERS)).entries:
            if read_handover(entry)[1] < before:
                await self._store.commit(Delete(entry.key), when=(Compare(entry.key, entry.modified),))


@dataclass(slots=True)
class Past:
    """What a guest printed before it came: ``data`` as it stood at ``offset``, at most :data:`MOST_PAST` of it."""

    offset: int = 0
    data: bytearray = field(default_factory=bytearray)

    def add(self, offset: int, data: bytes) -> None:
        """What is there already is not there twice; behind a gap there is nothing to keep of before."""
        end = self.offset + len(self.data)
        if offset > end or not self.data:
            self.offset, self.data = offset, bytearray(data)
        else:
            self.data += data[end - offset :]
        lost = max(0, len(self.data) - MOST_PAST)
        del self.data[:lost]
        self.offset += lost


@dataclass(slots=True)
class Attempt:
    """One hand-over to this host, as long as this daemon is at it. ``leave``: the source has given its own.
    ``heard_at`` is when it last said anything, by the clock's monotonic time. ``herald`` speaks for the guest's
    cards until it goes on."""

    job: str
    heard_at: float
    phase: str = "preparing"
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    opened: dict[str, object] | None = None
    resumed_at: float | None = None
    health: str | None = None
    clock_step_s: float | None = None
    herald: Herald | None = None
    past: Past = field(default_factory=Past)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, **changes: object) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self) -> None:
        await self._changed.wait()

    def dismiss_herald(self) -> None:
        herald, self.herald = self.herald, None
        if herald is not None:
            herald.close()


class Incoming(dict[str, Attempt]):
    """Those that this daemon knows of, by the hand-over's name. Of several that need the same layer one brings
    it, and the others wait."""

    def __init__(self) -> None:
        super().__init__()
        self._layers: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def bringing(self, layer: str) -> asyncio.Lock:
        return self._layers.setdefault(layer, asyncio.Lock())

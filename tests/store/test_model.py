"""Random histories: memory store, SQLite store (restarted and killed in between) and a naive model must agree on
every answer at every step. Both stores share their state machine, so the model is what finds *its* mistakes.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wirt.model.errors import Compacted, NotFound, StoreConflict, WirtError
from wirt.ports.store import Change, Compare, Delete, Entry, Put, Snapshot, Store, Watch
from wirt.ports.virtual_clock import VirtualClock, settle
from wirt.store import MemoryStore, SqliteStore, open_sqlite_store

MEMORY = Path("/dev/shm")
"""Thousands of commits, none of which has to survive a power cut."""
KEYS = ["a", "a/x", "a/y", "b", "b/x", "ä/𝄞"]
PREFIXES = ["", "a", "a/", "b/x", "ä"]
KEYS_STRATEGY = st.sampled_from(KEYS)
NUMBERS = st.integers(0, 1000)
"""Picks one of what there is at that step, by its remainder."""


@dataclass
class Model:
    """The promise, written down as plainly as possible: all is looked up in a list of everything."""

    revision: int = 1
    compacted: int = 1
    entries: dict[str, Entry] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    ttls: dict[int, int] = field(default_factory=dict)
    ends: dict[int, float] = field(default_factory=dict)

    def commit(self, writes: list[Put | Delete], when: list[Compare]) -> int:
        for compare in when:
            entry = self.entries.get(compare.key)
            if (entry.modified if entry else 0) != compare.modified:
                raise StoreConflict(compare.key, "")
        for write in writes:
            if isinstance(write, Put) and write.lease is not None and write.lease not in self.ttls:
                raise NotFound("")
        news: dict[str, Entry | None] = {}
        for write in writes:
            old = self.entries.get(write.key)
            if isinstance(write, Put):
                next_ = self.revision + 1
                created, version = (old.created, old.version + 1) if old else (next_, 1)
                news[write.key] = Entry(write.key, write.value, created, next_, version, write.lease)
            elif old:
                news[write.key] = None
        if news:
            self.revision += 1
        for key in sorted(news):
            self.log.append(Change(key, self.revision, news[key]))
        self.entries.update({key: entry for key, entry in news.items() if entry})
        for key in [key for key, entry in news.items() if entry is None]:
            del self.entries[key]
        return self.revision

    def end(self, lease: int) -> None:
        self.ttls.pop(lease, None)
        self.ends.pop(lease, None)
        self.commit([Delete(key) for key, entry in self.entries.items() if entry.lease == lease], [])

    def time_is(self, now: float) -> None:
        for end, lease in sorted((end, lease) for lease, end in self.ends.items()):
            if end <= now:
                self.end(lease)

    def keep_alive(self, lease: int, now: float) -> None:
        if lease not in self.ttls:
            raise NotFound("")
        self.ends[lease] = now + self.ttls[lease]

    def snapshot(self, prefix: str) -> Snapshot:
        found = [self.entries[key] for key in sorted(self.entries) if key.startswith(prefix)]
        return Snapshot(self.revision, tuple(found))

    def next_changes(self, prefix: str, after: int) -> tuple[Change, ...]:
        if max(after, 1) < self.compacted:
            raise Compacted(self.compacted + 1)
        found = [c for c in self.log if c.revision > after and c.key.startswith(prefix)]
        return tuple(c for c in found if c.revision == found[0].revision)


@dataclass
class WatchedThrice:
    prefix: str
    after: int
    memory: Watch
    sqlite: Watch


async def read_what_is_there(watch: Watch) -> tuple[Change, ...]:
    """Nothing if the watch has to wait."""
    reading: asyncio.Task[tuple[Change, ...]] = asyncio.ensure_future(next_of(watch))
    await settle()
    if not reading.done():
        reading.cancel()
        await asyncio.wait({reading})
    return () if reading.cancelled() else reading.result()


async def next_of(watch: Watch) -> tuple[Change, ...]:
    return await anext(watch)


def answer(call: Callable[[], object]) -> object:
    try:
        return call()
    except StoreConflict as error:
        return StoreConflict, error.key
    except Compacted as error:
        return Compacted, error.oldest
    except WirtError as error:
        return type(error)


class Stores(RuleBasedStateMachine):
    memory: MemoryStore
    sqlite: SqliteStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = VirtualClock()
        self.directory = Path(tempfile.mkdtemp(prefix="wirt-model-", dir=MEMORY if MEMORY.is_dir() else None))
        self.path = self.directory / "state.db"
        self.model = Model()
        self.watches: list[WatchedThrice] = []
        self.leases: list[int] = []

    @initialize()
    def open(self) -> None:
        async def opened() -> None:
            self.memory = MemoryStore(self.clock)
            self.sqlite = await open_sqlite_store(self.path, self.clock)

        self.runner.run(opened())

    def teardown(self) -> None:
        async def closed() -> None:
            await self.memory.close()
            await self.sqlite.close()

        self.runner.run(closed())
        self.runner.close()
        shutil.rmtree(self.directory)

    def agree(
        self, expected: Callable[[], object], asked: Callable[[Store], Coroutine[Any, Any, object]]
    ) -> object:
        right = answer(expected)
        for store in (self.memory, self.sqlite):
            got = answer(lambda store=store: self.runner.run(asked(store)))  # type: ignore[misc]
            assert got == right, f"{type(store).__name__}: {got}, and not {right}"
        return right

    def any_lease(self, number: int) -> int:
        return self.leases[number % len(self.leases)] if self.leases else 1

    def let_pass(self, seconds: float) -> None:
        async def passed() -> None:
            await self.clock.advance(seconds)
            for store in (self.memory, self.sqlite):
                await store.commit()  # until what expired meanwhile has been written

        self.runner.run(passed())
        self.model.time_is(self.clock.monotonic())

    def a_moment_passes(self) -> None:
        """So that no two leases ever end at once: which goes first would be anyone's choice."""
        self.let_pass(0.001)

    @rule(
        puts=st.dictionaries(KEYS_STRATEGY, st.tuples(st.binary(max_size=3), st.none() | NUMBERS), max_size=3),
        deletes=st.sets(KEYS_STRATEGY, max_size=2),
        compares=st.lists(st.tuples(KEYS_STRATEGY, st.sampled_from([0, 0, 0, 1, -1])), max_size=2),
    )
    def commit(
        self,
        puts: dict[str, tuple[bytes, int | None]],
        deletes: set[str],
        compares: list[tuple[str, int]],
    ) -> None:
        writes: list[Put | Delete] = [
            Put(key, value, None if number is None else self.any_lease(number))
            for key, (value, number) in puts.items()
        ]
        writes += [Delete(key) for key in sorted(deletes - set(puts))]
        when = []
        for key, off_by in compares:
            entry = self.model.entries.get(key)
            when.append(Compare(key, (entry.modified if entry else 0) + off_by))
        self.agree(lambda: self.model.commit(writes, when), lambda s: s.commit(*writes, when=tuple(when)))

    @rule(ttl_s=st.integers(2, 5))
    def grant(self, ttl_s: int) -> None:
        self.a_moment_passes()
        lease = len(self.leases) + 1

        def granted() -> int:
            self.model.ttls[lease] = ttl_s
            self.model.keep_alive(lease, self.clock.monotonic())
            return lease

        self.agree(granted, lambda store: store.grant(ttl_s))
        self.leases.append(lease)

    @rule(number=NUMBERS)
    def keep_alive(self, number: int) -> None:
        self.a_moment_passes()
        lease, now = self.any_lease(number), self.clock.monotonic()
        self.agree(lambda: self.model.keep_alive(lease, now), lambda store: store.keep_alive(lease))

    @rule(number=NUMBERS)
    def revoke(self, number: int) -> None:
        lease = self.any_lease(number)
        self.agree(lambda: self.model.end(lease), lambda store: store.revoke(lease))

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.let_pass(seconds)

    @rule(back=st.integers(0, 6))
    def compact(self, back: int) -> None:
        revision = max(0, self.model.revision - back)

        def compacted() -> None:
            self.model.compacted = max(self.model.compacted, revision)

        self.agree(compacted, lambda store: store.compact(revision))

    @rule(prefix=st.sampled_from(PREFIXES), back=st.integers(-2, 6))
    def watch(self, prefix: str, back: int) -> None:
        after = max(0, self.model.revision - back)
        memory, sqlite = self.memory.watch(prefix, after), self.sqlite.watch(prefix, after)
        self.watches.append(WatchedThrice(prefix, after, memory, sqlite))

    @precondition(lambda self: self.watches)
    @rule(number=NUMBERS)
    def read_a_watch(self, number: int) -> None:
        watch = self.watches[number % len(self.watches)]
        changes = self.agree(
            lambda: self.model.next_changes(watch.prefix, watch.after),
            lambda store: read_what_is_there(watch.memory if store is self.memory else watch.sqlite),
        )
        if not isinstance(changes, tuple) or changes[:1] == (Compacted,):
            self.watches.remove(watch)
        else:
            watch.after = changes[0].revision if changes else max(watch.after, self.model.revision)

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        async def reopened() -> None:
            if killed:
                # What kill -9 leaves: the files as they are, the log not merged.
                self.path = self.directory / f"{self.path.name}x"
                for suffix in ("", "-wal"):
                    old = self.path.with_name(f"{self.path.name[:-1]}{suffix}")
                    if old.exists():
                        shutil.copy(old, f"{self.path}{suffix}")
            await self.sqlite.close()
            self.sqlite = await open_sqlite_store(self.path, self.clock)

        self.runner.run(reopened())
        for watch in self.watches:
            watch.sqlite = self.sqlite.watch(watch.prefix, watch.after)
        for lease in tuple(self.model.ttls):
            # A restart begins each lease's time anew; so for the others too, and again one after the other.
            self.model.keep_alive(lease, self.clock.monotonic())
            self.runner.run(self.memory.keep_alive(lease))
        for lease in tuple(self.model.ttls):
            self.keep_alive(lease - 1)

    @invariant()
    def they_hold_the_same(self) -> None:
        for prefix in PREFIXES:
            self.agree(lambda prefix=prefix: self.model.snapshot(prefix), lambda s, p=prefix: s.list(p))  # type: ignore[misc]
        for key in KEYS:
            self.agree(lambda key=key: self.model.entries.get(key), lambda s, k=key: s.get(k))  # type: ignore[misc]


Stores.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_stores_and_model_agree = Stores.TestCase

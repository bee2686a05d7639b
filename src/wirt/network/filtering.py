"""The packet filter of this host's cards: what should be in the kernel, and what is known to be there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from wirt.model.errors import Unavailable
from wirt.model.security import SecurityGroup
from wirt.network.nft import Nft, generation
from wirt.plan.filters import Commands, Filter, Port, Present, Ruleset, compile_filter, compile_port, port_key
from wirt.plan.filters_compare import differences, kept, strangers

_NOTHING = Present({}, {}, {}, frozenset())


class PacketFilter:
    """Errors of all: ``Unavailable`` with nft's reason; then the kernel has what it had, and so has this."""

    def __init__(self, name: str) -> None:
        self._nft = Nft(name)
        self._ports: dict[int, Port] = {}
        self._groups: dict[str, SecurityGroup] = {}
        self._known: Ruleset | None = None
        """What the kernel has; ``None`` until it has been looked at."""
        self._generation: int | None = None
        self._lock = asyncio.Lock()

    @property
    def ports(self) -> dict[int, Port]:
        return dict(self._ports)

    async def add(self, port: Port) -> None:
        """From now on its rules are in force, instead of any that it had. ``NotFound``: no such group."""
        async with self._lock:
            parts = compile_port(port, self._groups)
            before = self._ports.get(port.index)
            self._ports[port.index] = port
            try:
                if self._known is None:
                    await self._restore()
                    return
                try:
                    await self._commit(*self._known.change(parts))
                except Unavailable:  # the kernel has no longer what is known of it
                    self._known = None
                    await self._restore()
            except BaseException:
                if before is None:
                    del self._ports[port.index]
                else:
                    self._ports[port.index] = before
                raise

    def adopt(self, port: Port) -> None:
        """Its rules are from an earlier daemon; :meth:`mend` sees to them."""
        self._ports[port.index] = port
        self._known = None

    async def remove(self, indexes: Iterable[int]) -> None:
        async with self._lock:
            gone = [index for index in indexes if self._ports.pop(index, None) is not None]
            if not gone or self._known is None:
                return
            known, self._known = self._known, None
            after, commands = known.change({}, map(port_key, gone))
            unused = after.unused()
            if unused:
                after, commands = known.change({}, [*map(port_key, gone), *unused])
            await self._commit(after, commands)

    async def set_groups(self, groups: Sequence[SecurityGroup]) -> None:
        async with self._lock:
            wanted = {group.name: group for group in groups}
            parts = compile_filter(Filter(self._ports, wanted))
            before, self._groups = self._groups, wanted
            try:
                if self._known is None:
                    if self._ports:
                        await self._restore()
                    return
                gone = [key for key in self._known.parts if key not in parts]
                try:
                    await self._commit(*self._known.change(parts, gone))
                except Unavailable:  # the kernel has no longer what is known of it
                    self._known = None
                    await self._restore()
            except BaseException:
                self._groups = before
                raise

    async def mend(self) -> tuple[str, ...]:
        async with self._lock:
            if self._known is not None and self._generation is not None and generation() == self._generation:
                return ()
            if not self._ports and self._known is None:
                return await self._sweep()
            return await self._restore()

    async def inspect(self, taps: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """What is amiss with the rules of each."""
        async with self._lock:
            present = await self._nft.present()
            found: dict[str, tuple[str, ...]] = {}
            by_tap = {port.tap: port for port in self._ports.values()}
            shared = compile_filter(Filter({}, self._groups))
            for tap in taps:
                port = by_tap.get(tap)
                if port is None:
                    found[tap] = (f"no rules are known for {tap}",)
                    continue
                wanted = Ruleset(self._nft.name, shared | compile_port(port, self._groups)).everything()
                found[tap] = differences(wanted, present, {port.index: port}, only_missing=True)
            return found

    async def _sweep(self) -> tuple[str, ...]:
        """Without a card there need be no table, and no nft; rules of an earlier daemon's cards may be there."""
        try:
            present = await self._nft.present()
        except Unavailable:
            return ()
        if present is None or strangers(present, ()):
            return ()
        await self._nft.apply(Commands(self._nft.name).remove())
        return ("the packet filter was of cards that are gone",)

    async def _restore(self) -> tuple[str, ...]:
        """Look at what the kernel has, and replace it unless it is as it should be."""
        before = generation()
        present = await self._nft.present()
        wanted = Ruleset(self._nft.name, compile_filter(Filter(self._ports, self._groups)))
        foreign = strangers(present, self._ports) if present is not None else {}
        amiss = differences(wanted.everything(), present, self._ports, foreign)
        if not amiss:
            self._known, self._generation = wanted, before
            return ()
        if present is None or not present.declared:
            await self._nft.declare()
            present = present or _NOTHING
            before = generation()
        if foreign:
            everything, _ = wanted.change({"strangers": kept(present, foreign, wanted.everything())})
            commands = Commands(self._nft.name).replace(present, everything.everything())
        else:
            commands = Commands(self._nft.name).replace(present, wanted.everything())
        await self._nft.apply(commands)
        after = generation()
        self._known = wanted
        self._generation = after if before is not None and after == before + 1 else None
        return amiss

    async def _commit(self, after: Ruleset, commands: list[str]) -> None:
        if commands:
            before = generation()
            await self._nft.apply(commands)
            now = generation()
            same = before is not None and before == self._generation and now == before + 1
            self._generation = now if same else None
        self._known = after

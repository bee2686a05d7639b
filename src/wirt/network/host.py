"""The network port on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, replace

from wirt.model.devices import VifKind
from wirt.model.errors import NotFound, Unavailable, WirtError
from wirt.model.security import SecurityGroup
from wirt.network import links as kernel
from wirt.network import scripts, taps, vlans
from wirt.network.bridges import Bridges, DefaultBridge
from wirt.network.filtering import PacketFilter
from wirt.network.heralds import TapHerald
from wirt.network.links import Links, LinksOpener, index_of, open_links
from wirt.network.ports import LoopbackPorts, bound
from wirt.network.rates import Rates
from wirt.network.refusals import WITHOUT, refused
from wirt.network.statistics import device_statistics, tap_statistics
from wirt.network.taps import Tap, card_of
from wirt.plan.filters import Port
from wirt.plan.nics import NicPlan
from wirt.plan.policy import PortPolicy
from wirt.plan.scripts import Action, VifScript, script_of
from wirt.ports.clock import Clock
from wirt.ports.network import Plugged, PortReport, VifStatistics

_DEADLINE_S = 15.0
_ETHERNET_MTU = 1500


@dataclass(slots=True)
class _Held:
    """What became of a plug. ``descriptor`` is ``None`` once it has been closed here."""

    plugged: Plugged
    tap: Tap
    descriptor: int | None


class HostNetwork:
    """Taps in bridges where this process may make them, QEMU's user-mode network everywhere.

    All of it is in the network namespace of the calling process. Nothing outlives the guests except the default
    bridge and what of filters :meth:`mend` sweeps. ``links`` opens the routing socket; ``name`` is that of nft's
    tables and tells hosts apart that share a namespace.
    """

    def __init__(
        self, default: DefaultBridge, clock: Clock, *, links: LinksOpener = open_links, name: str = "wirt"
    ) -> None:
        self._default = default
        self._filter = PacketFilter(name)
        self._rates = Rates(name)
        self._links = links
        self._bridges = Bridges(default)
        self._ports = LoopbackPorts(clock, bound)
        self._held: dict[object, _Held] = {}

    def can_bridge(self) -> bool:
        return taps.can_make_taps()

    async def warm_up(self) -> None:
        """Load what the first bridged card needs, which it would wait 0.3 s for otherwise."""
        await kernel.load()

    async def plug(self, nic: NicPlan) -> Plugged:
        """As the port says, and: ``ResourceBusy`` (a chosen name or port is taken), ``BadInput``."""
        if nic.kind is VifKind.BRIDGE:
            return await self._plug_tap(nic)
        if nic.kind is VifKind.USER:
            return Plugged(nic, nic.kind, forwards=self._ports.take(card_of(nic), nic.forwards))
        return Plugged(nic, nic.kind)

    async def unplug(self, plugged: Plugged) -> None:
        """``plugged`` is the very value that :meth:`plug` gave; any other has been unplugged already, or was
        made by a daemon before this one, and then its tap goes with its guest."""
        card = card_of(plugged.nic)
        if plugged.kind is VifKind.USER:
            self._ports.release(card)
        held = self._held.get(card)
        if held is None or held.plugged is not plugged:
            return
        await self._close(held)
        try:
            async with asyncio.timeout(_DEADLINE_S), AsyncExitStack() as stack:
                there, limited = index_of(held.tap.name) == held.tap.index, plugged.nic.policy.rate_out is not None
                links = await stack.enter_async_context(self._links()) if there or limited else None
                if links is not None and there:  # a hypervisor still has it
                    await links.delete(held.tap.index)
                if links is not None and limited:
                    await self._rates.drop(links, held.tap.index)
        except OSError as error:
            raise refused(f"the tap {held.tap.name} of {plugged.nic.id} can't be removed", error) from error
        await self._unfilter([held.tap.index])
        if self._held.get(card) is held:
            del self._held[card]

    async def adopt(self, nic: NicPlan, tap: str) -> Plugged:
        """``NotFound``: no such tap."""
        index = index_of(tap)
        if index is None:
            raise NotFound(
                f"the tap {tap} of {nic.id} is gone", hint="its guest has ended, or somebody removed it"
            )
        plugged = Plugged(nic, nic.kind, tap=tap)
        held = self._held.get(card_of(nic))
        if held is not None and held.tap.index == index:
            return held.plugged
        self._held[card_of(nic)] = _Held(plugged, Tap(-1, tap, index), None)
        shaper = self._rates.shaper(index) if index_of(self._rates.shaper(index)) is not None else None
        self._filter.adopt(Port(index, tap, nic.policy, shaper))
        return plugged

    async def lead_to(self, plugged: Sequence[Plugged]) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_S), self._links() as links:
                for card in plugged:
                    index = index_of(card.tap) if card.tap is not None else None
                    if index is not None:
                        await links.lead(card.nic.mac, index)
        except OSError as error:
            raise refused("a bridge can't be told of a card's new tap", error) from error

    def herald(self, plugged: Sequence[Plugged]) -> TapHerald:
        return TapHerald(plugged)

    async def set_groups(self, groups: Sequence[SecurityGroup]) -> None:
        await self._forget_gone()
        await self._filter.set_groups(groups)

    async def set_policy(self, tap: str, policy: PortPolicy) -> None:
        """As the port says."""
        port = next((port for port in self._filter.ports.values() if port.tap == tap), None)
        if port is None or index_of(tap) != port.index:
            raise NotFound(f"no card is plugged into {tap}")
        try:
            async with asyncio.timeout(_DEADLINE_S), self._links() as links:
                await self._permit(links, Tap(-1, tap, port.index), policy)
                if policy.rate_out is None:
                    await self._rates.drop(links, port.index)
        except OSError as error:
            raise refused(f"the limits of {tap} can't be changed", error) from error

    async def mend(self) -> tuple[str, ...]:
        await self._forget_gone()
        ports = self._filter.ports
        try:
            async with asyncio.timeout(_DEADLINE_S), AsyncExitStack() as stack:
                limited = [port for port in ports.values() if port.policy.rate_in or port.policy.rate_out]
                amiss: dict[int, str] = {}
                if limited or self._rates.remains():
                    links = await stack.enter_async_context(self._links())
                    await self._rates.sweep(links, ports)
                    amiss = await self._rates.amiss(links, limited)
                    for index in amiss:
                        await self._permit(links, Tap(-1, ports[index].tap, index), ports[index].policy)
        except OSError as error:
            raise refused("the rate limits can't be mended", error) from error
        return (*amiss.values(), *await self._filter.mend())

    async def inspect(self, taps: Sequence[str]) -> tuple[PortReport, ...]:
        ports = {port.tap: port for port in self._filter.ports.values()}
        reports: list[PortReport] = []
        try:
            async with asyncio.timeout(_DEADLINE_S), self._links() as links:
                found = [link for tap in taps if (link := await links.find(tap)) is not None]
                names = {link.index: link.name for link in await links.bridge_links()} if found else {}
                slow = await self._rates.amiss(links, [ports[link.name] for link in found if link.name in ports])
                amiss = await self._filter.inspect([link.name for link in found]) if found else {}
        except OSError as error:
            raise refused("the cards can't be looked at", error) from error
        for link in found:
            sentences = (*amiss[link.name], *((slow[link.index],) if link.index in slow else ()))
            reports.append(PortReport(link.name, names.get(link.master or 0), link.up, sentences))
        return tuple(reports)

    async def statistics(self, tap: str) -> VifStatistics | None:
        return tap_statistics(tap)

    def all_statistics(self) -> Mapping[str, VifStatistics]:
        return device_statistics()

    async def _plug_tap(self, nic: NicPlan) -> Plugged:
        earlier = self._held.get(card_of(nic))
        if earlier is not None:
            await self._close(earlier)
        # Whatever fails below: closing the descriptor is the undo of all that was done to the tap. Rules for its
        # number do no harm, and are taken away by the next mend.
        with ExitStack() as undo:
            script = script_of(nic, nic.tap or "")
            try:
                if script is not None:  # which has a deadline of its own
                    tap = await self._make_scripted_tap(nic, script, undo)
                else:
                    async with asyncio.timeout(_DEADLINE_S):
                        tap = await self._make_tap(nic, undo)
            except TimeoutError as error:
                raise Unavailable(
                    f"the kernel did not put {nic.id} into its bridge within {_DEADLINE_S:.0f} s", hint=WITHOUT
                ) from error
            except OSError as error:
                raise refused(f"{nic.id} can't be plugged in", error) from error
            plugged = Plugged(
                nic, nic.kind, descriptor=tap.descriptor, tap=tap.name, script=script_of(nic, tap.name)
            )
            self._held[card_of(nic)] = _Held(plugged, tap, tap.descriptor)
            undo.pop_all()
        return plugged

    async def _make_tap(self, nic: NicPlan, undo: ExitStack) -> Tap:
        async with self._links() as links:
            bridge = await self._bridges.get(links, nic.bridge or self._default.name)
            tap = taps.open_tap(nic)
            undo.callback(os.close, tap.descriptor)
            taps.silence(tap.name)
            # A port narrower than its bridge narrows the bridge, and with it the host's way to all others.
            mtu = nic.mtu or max(bridge.mtu, _ETHERNET_MTU)
            await self._permit(links, tap, nic.policy, fresh=True)
            try:
                if nic.vlan is not None:
                    await vlans.attach(links, tap.index, bridge, mtu, nic.vlan)
                else:
                    await links.attach(tap.index, bridge.index, mtu)
            except OSError as error:
                await self._forbid(links, tap)
                raise refused(f"{nic.id} can't be put into {bridge.name} with MTU {mtu}", error) from error
        return tap

    async def _make_scripted_tap(self, nic: NicPlan, script: VifScript, undo: ExitStack) -> Tap:
        """The script does what it likes with the tap, which is up and has its filter; but in no bridge of the
        kernel's that would have no effect, and so must have been given up by name."""
        policy = nic.policy
        async with self._links() as links:
            tap = taps.open_tap(nic)
            undo.callback(os.close, tap.descriptor)
            taps.silence(tap.name)
            script = replace(script, tap=tap.name)
            await self._permit(links, tap, policy, fresh=True)
            await links.set_up(tap.index, nic.mtu)
            try:
                await scripts.run(script, Action.ONLINE)
                link = await links.find(tap.name)
                if link is None or (link.master is None and (policy.antispoof or policy.groups)):
                    raise Unavailable(
                        f"{script.path} has put {nic.id} into no bridge, where nothing filters what it sends",
                        hint="if that is meant: antispoof=0, without groups=",
                    )
            except BaseException:
                with suppress(WirtError):
                    await scripts.run(script, Action.OFFLINE)
                await self._forbid(links, tap)
                raise
        return tap

    async def offline(self, script: VifScript) -> None:
        await scripts.run(script, Action.OFFLINE)

    async def _close(self, held: _Held) -> None:
        """Close the descriptor unless a hypervisor's start has done so: the number may be another file's now."""
        descriptor, held.descriptor = held.descriptor, None
        if descriptor is not None and taps.holds(descriptor, held.tap):
            # The last close unregisters the device, for which the kernel waits about 16 ms.
            with suppress(OSError):
                await asyncio.to_thread(os.close, descriptor)

    async def _permit(self, links: Links, tap: Tap, policy: PortPolicy, *, fresh: bool = False) -> None:
        """Put limits and filter of ``tap`` in force, or none of the filter. ``fresh``: it had none before."""
        shaper = None
        if not fresh or policy.rate_in is not None or policy.rate_out is not None:
            shaper = await self._rates.limit(links, tap.index, policy.rate_in, policy.rate_out)
        try:
            await self._filter.add(Port(tap.index, tap.name, policy, shaper))
        except Unavailable:
            if policy.antispoof or policy.groups or policy.rate_out is not None:
                await self._rates.drop(links, tap.index)
                raise

    async def _forbid(self, links: Links, tap: Tap) -> None:
        await self._unfilter([tap.index])
        with suppress(OSError):
            await self._rates.drop(links, tap.index)

    async def _unfilter(self, indexes: Sequence[int]) -> None:
        """Rules that stay behind do no harm: no later device has that number. The next mend takes them away."""
        with suppress(Unavailable):
            await self._filter.remove(indexes)

    async def _forget_gone(self) -> None:
        """Drop the taps that vanished with their guests, and their rules."""
        gone = [card for card, held in self._held.items() if index_of(held.tap.name) != held.tap.index]
        for card in gone:
            del self._held[card]
        ports = self._filter.ports.values()
        vanished = [port.index for port in ports if index_of(port.tap) != port.index]
        if vanished:
            await self._unfilter(vanished)

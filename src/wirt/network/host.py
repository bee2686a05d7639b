"""The network port on this machine."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from wirt.model.devices import VifKind
from wirt.model.errors import Unavailable
from wirt.network import links as kernel
from wirt.network import taps
from wirt.network.bridges import Bridges, DefaultBridge
from wirt.network.links import LinksOpener, index_of, open_links
from wirt.network.ports import LoopbackPorts, bound
from wirt.network.refusals import WITHOUT, refused
from wirt.network.taps import Tap, card_of
from wirt.plan.nics import NicPlan
from wirt.ports.clock import Clock
from wirt.ports.network import Plugged

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
    bridge. ``links`` opens the routing socket.
    """

    def __init__(self, default: DefaultBridge, clock: Clock, *, links: LinksOpener = open_links) -> None:
        self._default = default
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
            if index_of(held.tap.name) == held.tap.index:  # a hypervisor still has it
                async with asyncio.timeout(_DEADLINE_S), self._links() as links:
                    await links.delete(held.tap.index)
        except OSError as error:
            raise refused(f"the tap {held.tap.name} of {plugged.nic.id} can't be removed", error) from error
        if self._held.get(card) is held:
            del self._held[card]

    async def _plug_tap(self, nic: NicPlan) -> Plugged:
        earlier = self._held.get(card_of(nic))
        if earlier is not None:
            await self._close(earlier)
        self._forget_gone()
        # Whatever fails below: closing the descriptor is the undo of all that was done to the tap.
        with ExitStack() as undo:
            try:
                async with asyncio.timeout(_DEADLINE_S):
                    tap = await self._make_tap(nic, undo)
            except TimeoutError as error:
                raise Unavailable(
                    f"the kernel did not put {nic.id} into its bridge within {_DEADLINE_S:.0f} s", hint=WITHOUT
                ) from error
            except OSError as error:
                raise refused(f"{nic.id} can't be plugged in", error) from error
            plugged = Plugged(nic, nic.kind, descriptor=tap.descriptor, tap=tap.name)
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
            try:
                await links.attach(tap.index, bridge.index, mtu)
            except OSError as error:
                raise refused(f"{nic.id} can't be put into {bridge.name} with MTU {mtu}", error) from error
        return tap

    async def _close(self, held: _Held) -> None:
        """Close the descriptor unless a hypervisor's start has done so: the number may be another file's now."""
        descriptor, held.descriptor = held.descriptor, None
        if descriptor is not None and taps.holds(descriptor, held.tap):
            # The last close unregisters the device, for which the kernel waits about 16 ms.
            with suppress(OSError):
                await asyncio.to_thread(os.close, descriptor)

    def _forget_gone(self) -> None:
        """Drop the taps that vanished with their guests."""
        gone = [card for card, held in self._held.items() if index_of(held.tap.name) != held.tap.index]
        for card in gone:
            del self._held[card]

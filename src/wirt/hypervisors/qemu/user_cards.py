"""The user-mode cards of runs, each with its passt where that is to be had (:mod:`passt`)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from wirt.hypervisors.qemu import process
from wirt.hypervisors.qemu.passt import Passt, Served, name_of
from wirt.hypervisors.qemu.run import Run
from wirt.model.devices import VifKind
from wirt.model.errors import IllegalState, Unavailable
from wirt.plan.jail import JailPlan
from wirt.ports.hypervisor import Launch
from wirt.ports.network import Plugged
from wirt.ports.sandbox import Sandbox


class UserCards:
    """Of all runs of one driver. ``_waiting`` has the far ends of cards whose network another QEMU still has, by
    their run's directory."""

    def __init__(self, passt: Passt, sandbox: Sandbox) -> None:
        self.passt = passt
        self._sandbox = sandbox
        self._waiting: dict[Path, list[tuple[Plugged, socket.socket]]] = {}

    async def attached(self, run: Run, plugged: Plugged, closing: contextlib.ExitStack) -> Plugged:
        """A card for a run that is there. ``IllegalState`` if neither passt nor QEMU itself can give it a
        network."""
        missing = await self.passt.missing()
        if missing is None:
            served = self._serve(plugged, run.files.directory)
            closing.enter_context(served.end)
            await served.begun
            return replace(plugged, descriptor=served.end.fileno())
        if run.process.has_own_network():
            raise IllegalState(
                f"{run.name} has a jail without a network, which leaves a user-mode card to passt: {missing}",
                hint="install passt, take a card on a bridge, or start the domain anew with the card",
            )
        return plugged

    @asynccontextmanager
    async def of(self, launch: Launch, jailed: JailPlan) -> AsyncIterator[dict[int, int]]:
        """QEMU's end of each user-mode card that passt serves, by card; on leaving all of them serve, or, of a run
        beside another, wait for :meth:`connect`."""
        cards = [plugged for plugged in launch.plugged if plugged.kind is VifKind.USER]
        if launch.beside is not None:
            with contextlib.ExitStack() as closing:
                yield self._hold(launch, cards, closing, jailed)
            return
        with contextlib.ExitStack() as closing:
            served: dict[int, Served] = {}
            for plugged in cards if jailed.passt else ():
                served[plugged.nic.index] = self._serve(plugged, launch.directory)
                closing.enter_context(served[plugged.nic.index].end)
            try:
                yield {index: card.end.fileno() for index, card in served.items()}
            finally:
                # Whatever happens, none may be about to start still.
                ended = await asyncio.gather(*(card.begun for card in served.values()), return_exceptions=True)
            for failure in filter(None, ended):
                raise failure

    def _hold(
        self, launch: Launch, cards: list[Plugged], closing: contextlib.ExitStack, jailed: JailPlan
    ) -> dict[int, int]:
        if not jailed.passt:
            if any(card.forwards for card in cards):
                raise Unavailable(
                    f"{launch.plan.name} has a user-mode card without passt, whose ports only one QEMU can have",
                    hint="install passt and start the domain anew, or take a card on a bridge",
                )
            return {}
        ends = {}
        for plugged in cards:
            ours, theirs = self.passt.pair(plugged.nic)
            closing.enter_context(ours)
            ends[plugged.nic.index] = ours.fileno()
            self._waiting.setdefault(launch.directory, []).append((plugged, theirs))
        return ends

    async def connect(self, directory: Path) -> None:
        """Have those serve that wait. ``LaunchFailed`` with passt's words if one can't."""
        waiting = self._waiting.pop(directory, [])
        spawn = functools.partial(self._sandbox.beside, directory)
        begun = (
            self.passt.begin(plugged.nic, plugged.forwards, directory, spawn, theirs)
            for plugged, theirs in waiting
        )
        for failure in filter(None, await asyncio.gather(*begun, return_exceptions=True)):
            raise failure

    def without(self, run: Run, devids: Iterable[int]) -> Iterator[int]:
        """Those that passt should serve and does not."""
        if run.process.gone or not run.process.has_own_network():
            return
        names = process.names_within(run.files.directory)
        for devid in devids:
            if name_of(run.files.directory, f"vif{devid}") not in names:
                yield devid

    def drop(self, directory: Path) -> None:
        for _, theirs in self._waiting.pop(directory, []):
            theirs.close()

    def _serve(self, plugged: Plugged, directory: Path) -> Served:
        spawn = functools.partial(self._sandbox.beside, directory)
        return self.passt.serve(plugged.nic, plugged.forwards, directory, spawn)

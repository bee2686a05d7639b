"""The sending side's line to the host that a domain moves to, for as long as the move takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter

from wirt.model.errors import IllegalState, PeerUnreachable, WirtError
from wirt.model.migration import Outcome
from wirt.operations.environment import Environment
from wirt.operations.receive import peers_of
from wirt.ports.migration import Channel, Credentials
from wirt.ports.peers import Door, Peer
from wirt.wire.v1_incoming import ConsolePiece, Leave, Opened, OpenedDoor, Standing

BEAT_S = 3.0
"""So often the other side hears that this one lives, and is asked whether it does."""
PREPARE_S = 90.0
GRACE_S = 12.0
"""A host that did not answer for so long is given up, while the guest still runs here."""


T = TypeVar("T")
_STANDING, _OPENED = TypeAdapter(Standing), TypeAdapter(Opened)


@dataclass(slots=True)
class _Sample:
    round_trip_s: float
    offset_s: float


class Link:
    """``opened``: the doors that wait for the guest. ``lost`` is done once there is no sense in going on: it
    carries the reason."""

    def __init__(self, environment: Environment, peer: Peer, handover: str) -> None:
        self._environment = environment
        self._handover = handover
        self._beating: asyncio.Task[None] | None = None
        self._best: _Sample | None = None
        self.peer = peer
        self.opened: Opened | None = None
        self.lost: asyncio.Future[WirtError] = asyncio.get_running_loop().create_future()

    @property
    def offset_s(self) -> float | None:
        """What the other host's clock is ahead of this one's, by the quickest answer that there was."""
        return None if self._best is None else self._best.offset_s

    async def prepare(self, offer: dict[str, object]) -> Opened:
        answer = await self.peer.call("POST", "/v1/incoming", offer, deadline_s=PREPARE_S)
        self.opened = _OPENED.validate_python(answer)
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        return self.opened

    async def channel(self, door: OpenedDoor) -> Channel:
        stream = await self.peer.stream(Door(door.port, door.path, door.token))
        certificates = self.opened.certificates if self.opened is not None else None
        if certificates is None and not self.peer.protects:
            stream.close()
            raise IllegalState(f"{self.peer.name} would take the guest without protecting what is sent")
        credentials = None
        if certificates is not None:
            credentials = Credentials(
                certificates.authority, certificates.certificate, certificates.key, certificates.name
            )
        return Channel(stream, credentials)

    async def memory(self) -> Channel:
        """For the hypervisor, whichever side of it protects what it sends."""
        assert self.opened is not None
        channel = await self.channel(self.opened.memory)
        if not self.opened.tunnelled:
            return channel
        return Channel(await peers_of(self._environment).tunnel(channel, receives=False), None)

    async def leave(self, console: ConsolePiece | None = None, wait_s: float = 0.0) -> Standing:
        """How it stands then; an older wirt does not wait with its answer."""
        body = asdict(Leave(console, wait_s))
        return await self._ask("POST", "leave", deadline_s=wait_s + 10.0, body=body)

    async def stands_still(self) -> None:
        await self.peer.call("POST", f"/v1/incoming/{self._handover}/still")

    async def console(self, piece: ConsolePiece) -> None:
        await self.peer.call("POST", f"/v1/incoming/{self._handover}/console", asdict(piece))

    async def standing(self, phase: str = "", wait_s: float = 0.0) -> Standing:
        return await self._ask("GET", f"?phase={phase}&wait_s={wait_s:g}", deadline_s=wait_s + 10.0)

    async def why(self, error: WirtError) -> WirtError:
        """Of something that failed here: what the other side says if it has given the move up, else ``error``."""
        try:
            standing = await self.standing()
        except WirtError:
            return error
        return self._given_up(standing) if standing.outcome == Outcome.ABORTED else error

    def _given_up(self, standing: Standing) -> WirtError:
        said = standing.message or "no reason"
        return IllegalState(f"{self.peer.name} gave the move up: {said}", hint=standing.hint)

    async def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self.peer.close()

    async def _ask(
        self, method: str, what: str, *, deadline_s: float = 10.0, body: dict[str, object] | None = None
    ) -> Standing:
        clock = self._environment.clock
        before = clock.now()
        path = f"/v1/incoming/{self._handover}{what if what.startswith('?') else f'/{what}'}"
        answer = _STANDING.validate_python(await self.peer.call(method, path, body, deadline_s=deadline_s))
        after = clock.now()
        if self._best is None or after - before < self._best.round_trip_s:
            self._best = _Sample(after - before, answer.clock - (before + after) / 2)
        return answer

    async def _beat(self) -> None:
        """Until the attempt is over there, or nobody answers."""
        clock, heard = self._environment.clock, self._environment.clock.monotonic()
        while True:
            try:
                standing = await self.standing()
                heard = clock.monotonic()
                if standing.outcome == Outcome.ABORTED:
                    self._lose(self._given_up(standing))
                    return
            except PeerUnreachable as error:
                if clock.monotonic() - heard > GRACE_S:
                    self._lose(error)
                    return
            except WirtError as error:
                self._lose(error)
                return
            await clock.sleep(BEAT_S)

    def _lose(self, error: WirtError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


async def unless_lost(link: Link, work: Coroutine[Any, Any, T]) -> T:
    """``work``'s result; or the reason why there is no sense in it any more, once it has been stopped."""
    task = asyncio.create_task(work)
    try:
        either: set[asyncio.Future[Any]] = {task, link.lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise link.lost.result()
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def ask_for_good(environment: Environment, target: str, handover: str, deadline_s: float = 60.0) -> Standing:
    """Have the target say whether the guest is its own; if that is open, it never will be from then on. Raises
    what stood in the way of an answer, and then nothing is known."""
    peer = await peers_of(environment).reach(target)
    try:
        answer: Any = await peer.call("POST", f"/v1/incoming/{handover}/abort", deadline_s=deadline_s)
        return _STANDING.validate_python(answer)
    finally:
        with contextlib.suppress(WirtError):
            await peer.close()

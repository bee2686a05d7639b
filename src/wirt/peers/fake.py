"""Hosts in memory, and the lines between them: cut, slow and lossy as a test wants them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from wirt.model.errors import DeadlinePassed, NotFound, PeerUnreachable, WirtError
from wirt.ports.clock import Clock
from wirt.ports.migration import Credentials
from wirt.ports.peers import Door

Handler = Callable[[str, str, Mapping[str, Any] | None], Awaitable[Any]]


class Loss(StrEnum):
    """What becomes of a call: it is lost ``before`` it has its effect, or the answer is, ``after`` it; or the line
    is cut once it has had its effect, until somebody mends it."""

    BEFORE = "before"
    AFTER = "after"
    CUT = "cut"


@dataclass(slots=True)
class _Fault:
    what: str
    loss: Loss
    left: int


@dataclass(slots=True)
class FakeLinks:
    """``cut`` holds the pairs of hosts that don't reach each other."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    cut: set[frozenset[str]] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    """Hosts whose daemon does not answer."""
    faults: list[_Fault] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    streams: list[tuple[frozenset[str], socket.socket, socket.socket]] = field(default_factory=list)
    doors: dict[int, tuple[str, list[socket.socket]]] = field(default_factory=dict)

    lives: dict[str, int] = field(default_factory=dict)
    """How often each host's daemon has died: what one began, the next knows nothing of."""
    under_way: dict[str, set[asyncio.Task[Any]]] = field(default_factory=dict)

    def kill(self, name: str) -> None:
        """That host's daemon: what it was asked is never answered."""
        self.dead.add(name)
        self.lives[name] = self.lives.get(name, 0) + 1
        for task in self.under_way.pop(name, set()):
            task.cancel()

    def serve(self, name: str, handler: Handler) -> None:
        self.handlers[name] = handler
        self.dead.discard(name)

    def lose(self, what: str, loss: Loss, times: int = 1) -> None:
        """The next ``times`` calls whose path ends with ``what``."""
        self.faults.append(_Fault(what, loss, times))

    def sever(self, a: str, b: str) -> None:
        pair = frozenset((a, b))
        self.cut.add(pair)
        for ends, one, other in self.streams:
            if ends == pair:
                for end in (one, other):
                    _shut(end)
        self.streams = [each for each in self.streams if each[0] != pair]

    def mend(self, a: str, b: str) -> None:
        self.cut.discard(frozenset((a, b)))

    def loss(self, path: str) -> Loss | None:
        for fault in self.faults:
            if path.partition("?")[0].endswith(fault.what):
                fault.left -= 1
                if fault.left <= 0:
                    self.faults.remove(fault)
                return fault.loss
        return None


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class FakePeer:
    protects = False

    def __init__(self, links: FakeLinks, here: str, name: str) -> None:
        self._links = links
        self._here = here
        self._life = links.lives.get(here, 0)
        self.name = name

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, deadline_s: float = 10.0
    ) -> Any:
        links = self._links
        links.calls.append((self.name, method, path))
        self._check()
        loss = links.loss(path)
        if loss is Loss.BEFORE:
            raise PeerUnreachable(f"{self.name} does not answer")
        try:
            answer = await self._handled(method, path, body)
        except WirtError as error:
            self._check()
            error.message = f"{self.name}: {error.message}"
            raise
        self._check()
        if loss is Loss.CUT:
            links.sever(self._here, self.name)
        if loss in (Loss.AFTER, Loss.CUT):
            raise PeerUnreachable(f"{self.name} does not answer")
        return answer

    async def _handled(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        task = asyncio.ensure_future(self._links.handlers[self.name](method, path, body))
        under_way = self._links.under_way.setdefault(self.name, set())
        under_way.add(task)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            under_way.discard(task)
        if task.cancelled():
            raise PeerUnreachable(f"{self.name} does not answer")
        return task.result()

    async def stream(self, door: Door, deadline_s: float = 10.0) -> socket.socket:
        self._check()
        mine, theirs = socket.socketpair()
        assert door.port is not None
        host, waiting = self._links.doors[door.port]
        self._links.streams.append((frozenset((self._here, host)), mine.dup(), theirs.dup()))
        waiting.append(theirs)
        return mine

    async def close(self) -> None:
        pass

    def _check(self) -> None:
        links, pair = self._links, frozenset((self._here, self.name))
        if pair in links.cut or self.name in links.dead or self._life != links.lives.get(self._here, 0):
            raise PeerUnreachable(f"{self.name} does not answer", hint="is it there?")


class FakeDoor:
    protected = False

    def __init__(self, links: FakeLinks, clock: Clock, port: int) -> None:
        self._links = links
        self._clock = clock
        self._port = port

    @property
    def door(self) -> Door:
        return Door(port=self._port)

    async def accept(self, deadline_s: float) -> socket.socket:
        waiting = self._links.doors[self._port][1]
        end = self._clock.monotonic() + deadline_s
        while not waiting:
            if self._clock.monotonic() >= end:
                raise DeadlinePassed("nobody came")
            await self._clock.sleep(0.01)
        return waiting.pop(0)

    def listener(self) -> socket.socket:
        """A number in the place of one: whoever knows the fakes takes its streams out of the links."""
        return socket.socket()

    def close(self) -> None:
        for stream in self._links.doors.pop(self._port, ("", []))[1]:
            stream.close()


class FakePeers:
    def __init__(self, links: FakeLinks, here: str, clock: Clock) -> None:
        self._links = links
        self._here = here
        self._clock = clock
        self._opened = 0

    async def credentials(self) -> tuple[Credentials, Credentials]:
        made = Credentials("authority", "certificate", "key", "receiver")
        return made, made

    async def reach(self, target: str) -> FakePeer:
        if target not in self._links.handlers:
            raise NotFound(f"there is no peer {target}", hint="wirt peer list shows all")
        peer = FakePeer(self._links, self._here, target)
        peer._check()
        return peer

    async def open_door(self, *, through_ssh: bool, token: bool) -> FakeDoor:
        port = 1000 + len(self._links.calls) * 10 + len(self._links.doors)
        while port in self._links.doors:
            port += 1
        self._links.doors[port] = (self._here, [])
        return FakeDoor(self._links, self._clock, port)

"""Hosts in memory that talk, and links between them that lose, delay and break as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Any

from wirt.model.errors import BadInput, DeadlinePassed, NotFound, PeerUnreachable, WirtError
from wirt.model.peer import Certificate, KnownPeer
from wirt.peers.http import told
from wirt.ports.clock import Clock, within
from wirt.ports.migration import Channel, Credentials
from wirt.ports.peers import Door

Handler = Callable[[str, str, Any], Coroutine[Any, Any, Any]]
"""What a host does with ``(method, path, body)``: JSON, or a ``WirtError``."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n"
FIRST_PORT = 49152


class Kind(StrEnum):
    LOST_BEFORE = "lost before it had an effect"
    LOST_AFTER = "lost after it had its effect"
    DELAYED = "delayed"
    CUT_BEFORE = "the link is cut before it had an effect"
    CUT_AFTER = "the link is cut after it had its effect"


@dataclass(frozen=True, slots=True)
class Call:
    """One that is about to be made, for those who decide its fate."""

    source: str
    target: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Fault:
    kind: Kind
    delay_s: float = 0.0


Fate = Callable[[Call], Fault | None]


class FakeLinks:
    """Every host reaches every other, by the name it has here, by its name as a peer or as ``ssh://NAME``.

    A request that has arrived is worked on to its end, whether or not who asked still waits: so it is with real
    ones. ``calls`` holds all that were made."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: list[Call] = []
        self.fate: Fate = lambda call: None
        self.doors: dict[tuple[str, int | str], FakeDoor] = {}
        self._hosts: dict[str, FakePeers] = {}
        self._handlers: dict[str, Handler] = {}
        self._cut: set[frozenset[str]] = set()
        self._cuts: dict[frozenset[str], asyncio.Event] = {}
        self._streams: list[tuple[frozenset[str], weakref.ref[socket.socket]]] = []
        self._numbers = count(FIRST_PORT)
        self._work: set[asyncio.Task[Any]] = set()

    def host(self, name: str) -> FakePeers:
        """The same one each time: it is the machine, not its daemon."""
        return self._hosts.setdefault(name, FakePeers(self, name))

    def __contains__(self, name: str) -> bool:
        return name in self._hosts

    def serve(self, name: str, handler: Handler | None) -> None:
        """What answers at the host ``name`` from now on; ``None``: no daemon runs there."""
        self.host(name)
        if handler is None:
            self._handlers.pop(name, None)
        else:
            self._handlers[name] = handler

    def serves(self, name: str) -> bool:
        return name in self._handlers

    # Faults

    def inject(
        self, kind: Kind, method: str = "", path: str = "", *, times: int = 1, delay_s: float = 0.0
    ) -> None:
        """Befalls the next ``times`` calls of ``method`` whose path contains ``path``."""
        before, left = self.fate, times

        def fate(call: Call) -> Fault | None:
            nonlocal left
            if left > 0 and method in ("", call.method) and path in call.path:
                left -= 1
                return Fault(kind, delay_s)
            return before(call)

        self.fate = fate

    def cut(self, one: str, other: str) -> None:
        """Until it is mended no call gets through and no stream is opened; those that were open end at once."""
        link = frozenset((one, other))
        self._cut.add(link)
        self._cuts.pop(link, asyncio.Event()).set()
        for which, reference in self._streams:
            stream = reference()
            if which == link and stream is not None and stream.fileno() >= 0:
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
        self._streams = [each for each in self._streams if each[0] != link and each[1]() is not None]

    def mend(self, one: str, other: str) -> None:
        self._cut.discard(frozenset((one, other)))

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._cut

    # What hosts do

    async def carry(self, call: Call, body: str | None, deadline_s: float) -> Any:
        """The answer to ``call``, as the JSON it is over the wire. ``PeerUnreachable``."""
        self.calls.append(call)
        fault = self.fate(call)
        kind = fault.kind if fault is not None else None
        if fault is not None and kind is Kind.DELAYED:
            await self.clock.sleep(fault.delay_s)
        if kind is Kind.CUT_BEFORE:
            self.cut(call.source, call.target)
        handler = self._handlers.get(call.target)
        if self.is_cut(call.source, call.target) or kind is Kind.LOST_BEFORE:
            raise _lost(call)
        if handler is None:
            raise PeerUnreachable(f"{call.target}: connection refused", hint="does wirtd run there?")
        work = asyncio.create_task(_answered(handler, call, body))
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        answer = await self._until_cut(call, work, deadline_s)
        if kind is Kind.CUT_AFTER:
            self.cut(call.source, call.target)
        if kind in (Kind.LOST_AFTER, Kind.CUT_AFTER):
            raise _lost(call)
        document = json.loads(answer)
        if "error" in document:
            raise told(document["error"], call.target)
        return document["answer"]

    def join(self, one: str, other: str, door: FakeDoor) -> socket.socket:
        """A stream from ``one`` to ``other``, who waits behind ``door``."""
        near, far = door.joined()
        link = frozenset((one, other))
        self._streams += [(link, weakref.ref(each)) for each in (near, far) if each is not None]
        return near

    def number(self) -> int:
        return next(self._numbers)

    async def _until_cut(self, call: Call, work: asyncio.Task[str], deadline_s: float) -> str:
        link = frozenset((call.source, call.target))
        cut = asyncio.create_task(self._cuts.setdefault(link, asyncio.Event()).wait())
        try:
            either = asyncio.wait({work, cut}, return_when=asyncio.FIRST_COMPLETED)
            await within(self.clock, deadline_s, either, "an answer")
        except DeadlinePassed:
            raise _lost(call) from None
        finally:
            cut.cancel()
        if not work.done():
            raise _lost(call)
        return work.result()


class FakePeers:
    def __init__(self, links: FakeLinks, name: str) -> None:
        self._links = links
        self._name = name
        self.known: dict[str, KnownPeer] = {}

    async def reach(self, target: str) -> FakePeer:
        through_ssh = target.startswith("ssh://")
        name = target.removeprefix("ssh://").rpartition("@")[2].partition(":")[0] if through_ssh else target
        if target in self.known:
            name = self.known[target].certificate.name
        if name not in self._links or name == self._name:
            raise NotFound(f"there is no peer {target}", hint="wirt peer list shows all")
        if self._links.is_cut(self._name, name):
            raise PeerUnreachable(f"{name}: no route to host", hint="is the link up?")
        if not self._links.serves(name):
            raise PeerUnreachable(f"{name}: connection refused", hint="does wirtd run there?")
        return FakePeer(self._links, self._name, name, protects=through_ssh)

    async def open_door(self, *, through_ssh: bool, token: bool) -> FakeDoor:
        number = self._links.number()
        shown = secrets.token_hex(32) if token else None
        door = Door(path=f"/door-{number}", token=shown) if through_ssh else Door(port=number, token=shown)
        return FakeDoor(self._links, self._name, door)

    async def credentials(self) -> tuple[Credentials, Credentials]:
        number = self._links.number()
        name = f"migration-{number}"
        sides = [
            Credentials(f"authority {number}", f"certificate {side}", f"PRIVATE KEY {side}", name)
            for side in ("of the receiver", "of the sender")
        ]
        return sides[0], sides[1]

    async def protect(self, channel: Channel, *, receives: bool) -> socket.socket:
        return channel.stream

    async def tunnel(self, channel: Channel, *, receives: bool) -> socket.socket:
        return channel.stream

    async def identity(self) -> Certificate:
        return self.examine(f"{_BEGIN}{self._name}{_END}")

    def examine(self, text: str) -> Certificate:
        name = text.removeprefix(_BEGIN).removesuffix(_END)
        if text != f"{_BEGIN}{name}{_END}":
            raise BadInput(
                "this is no certificate", hint="wirt peer certificate, on the other host, prints its own"
            )
        return Certificate(text, name, name.encode().hex(":").upper(), 0.0, 4e9)

    def know(self, peers: Iterable[KnownPeer]) -> None:
        self.known = {peer.name: peer for peer in peers}

    @property
    def troubles(self) -> tuple[str, ...]:
        return ()


class FakePeer:
    def __init__(self, links: FakeLinks, here: str, there: str, *, protects: bool) -> None:
        self._links = links
        self._here = here
        self.name = there
        self.protects = protects

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, deadline_s: float = 10.0
    ) -> Any:
        sent = None if body is None else json.dumps(body)
        return await self._links.carry(Call(self._here, self.name, method, path), sent, deadline_s)

    async def stream(self, door: Door, deadline_s: float = 10.0) -> socket.socket:
        key = door.port if door.port is not None else door.path or ""
        found = self._links.doors.get((self.name, key))
        if self._links.is_cut(self._here, self.name) or found is None or found.door.token != door.token:
            raise PeerUnreachable(f"{self.name}, {key}: connection refused")
        return self._links.join(self._here, self.name, found)

    async def close(self) -> None:
        pass


class FakeDoor:
    def __init__(self, links: FakeLinks, host: str, door: Door) -> None:
        self._links = links
        self._key = (host, door.port if door.port is not None else door.path or "")
        self._door = door
        self._streams: asyncio.Queue[socket.socket] = asyncio.Queue()
        self._listening: socket.socket | None = None
        links.doors[self._key] = self

    @property
    def door(self) -> Door:
        return self._door

    @property
    def protected(self) -> bool:
        return self._door.path is not None

    async def accept(self, deadline_s: float) -> socket.socket:
        return await within(self._links.clock, deadline_s, self._streams.get(), "a stream")

    def listener(self) -> socket.socket:
        if self._listening is None:
            self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listening.bind("")  # a free abstract address (unix(7), autobind)
            self._listening.listen()
        return self._listening

    def joined(self) -> tuple[socket.socket, socket.socket | None]:
        """Both ends of a new stream; the far one is ``None`` where somebody accepts by itself."""
        if self._listening is not None:
            near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            near.connect(self._listening.getsockname())
            return near, None
        near, far = socket.socketpair()
        self._streams.put_nowait(far)
        return near, far

    def close(self) -> None:
        self._links.doors.pop(self._key, None)
        while not self._streams.empty():
            self._streams.get_nowait().close()
        if self._listening is not None:
            self._listening.close()


async def _answered(handler: Handler, call: Call, body: str | None) -> str:
    try:
        answer = await handler(call.method, call.path, None if body is None else json.loads(body))
    except WirtError as error:
        return json.dumps({"error": {"code": error.code, "title": error.message, "hint": error.hint}})
    return json.dumps({"answer": answer})


def _lost(call: Call) -> PeerUnreachable:
    return PeerUnreachable(f"{call.target} did not answer ({call.method} {call.path})", hint="is the link up?")

"""Other hosts' daemons, as far as this one may talk to them.

A peer is known by its certificate, which somebody has laid down here (``wirt peer add``), or is reached through
``ssh``, which knows it. Requests and answers are JSON, those of :mod:`wirt.wire.v1_incoming`; bulk data goes
through streams of its own, past the daemons' event loops.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wirt.model.peer import Certificate, KnownPeer
from wirt.ports.migration import Channel, Credentials


@dataclass(frozen=True, slots=True)
class Door:
    """Where streams come in, as the side that opened it tells the other: a TCP ``port`` of the host that was
    reached, or the ``path`` of a unix socket on it. ``token``: the first 32 bytes of each stream, as hex digits
    are 64; without one nothing is sent before the stream's own protocol."""

    port: int | None = None
    path: str | None = None
    token: str | None = None


class OpenDoor(Protocol):
    """One that is open here."""

    @property
    def door(self) -> Door: ...

    @property
    def protected(self) -> bool:
        """Whether all that comes through it is protected already (ssh ends on this host)."""
        ...

    async def accept(self, deadline_s: float) -> socket.socket:
        """The next stream that has the token, behind the token. Others are closed, whoever they are.
        ``DeadlinePassed``."""
        ...

    def listener(self) -> socket.socket:
        """The listening socket itself, for whoever accepts by itself; no token is asked for then."""
        ...

    def close(self) -> None: ...


class Peer(Protocol):
    """A connection to one other daemon."""

    @property
    def name(self) -> str:
        """What that host calls itself."""
        ...

    @property
    def protects(self) -> bool:
        """Whether :meth:`stream` goes through something that protects it by itself (ssh)."""
        ...

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, deadline_s: float = 10.0
    ) -> Any:
        """The answer's JSON. ``PeerUnreachable``: whether the request had an effect is not known. An error that
        the peer answered is raised as what it is, with the peer's name before its message."""
        ...

    async def stream(self, door: Door, deadline_s: float = 10.0) -> socket.socket:
        """Connected to ``door`` of that host, its token sent. Blocking mode; the caller's to close."""
        ...

    async def close(self) -> None: ...


class Peers(Protocol):
    async def reach(self, target: str) -> Peer:
        """``target`` is the name of a peer that is known here, or ``ssh://[USER@]HOST[:PORT]``. ``NotFound``,
        ``PeerUnreachable`` (with what the network or ssh said)."""
        ...

    async def open_door(self, *, through_ssh: bool, token: bool) -> OpenDoor:
        """For streams of a peer that reached this host by TLS, or through ssh. ``Shortage``: no port is left."""
        ...

    async def credentials(self) -> tuple[Credentials, Credentials]:
        """The receiving side's and the sending side's for one migration, signed by an authority that is thrown
        away with its key."""
        ...

    async def protect(self, channel: Channel, *, receives: bool) -> socket.socket:
        """``channel``'s stream, under TLS with its credentials, for what this host itself sends or takes; as it is
        where it has none. Blocking mode; the caller's to close. ``Unavailable``: then it is closed."""
        ...

    async def tunnel(self, channel: Channel, *, receives: bool) -> socket.socket:
        """As :meth:`protect`, for a hypervisor: what it is handed is a plain socket of this host, and the bytes of
        one direction are carried through TLS as long as both sides want it. Nothing need be read at once: the
        receiving side keeps some until then, less than the memory of any guest with a system in it."""
        ...

    async def identity(self) -> Certificate:
        """This host's own certificate, made when it is first asked for. ``Shortage``: it can't be written;
        ``CorruptState``: what is there is none."""
        ...

    def examine(self, text: str) -> Certificate:
        """What ``text`` (PEM) says. ``BadInput``: it is no certificate, or more than one, or one whose time is not
        now."""
        ...

    def know(self, peers: Iterable[KnownPeer]) -> None:
        """These, and no others, may call from now on, and can be reached by name. Connections of those that are
        not among them any more are closed."""
        ...

    @property
    def troubles(self) -> tuple[str, ...]:
        """What keeps other hosts from reaching this one, a sentence each."""
        ...

"""The :class:`~wirt.ports.peers.Peers` of a real host."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import structlog

from wirt.model.errors import BadInput, NotFound, Shortage, WirtError
from wirt.model.peer import Address, Certificate, KnownPeer
from wirt.peers.doors import HostDoor, open_tcp, open_unix
from wirt.peers.listener import PeerListener, Protocols
from wirt.peers.ssh import Ssh, SshPeer, parse_target
from wirt.peers.tls import Own, TlsPeer
from wirt.ports.migration import Channel, Credentials
from wirt.ports.peers import Peer

log = structlog.get_logger()

REACH_S = 15.0


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """``directory`` keeps this host's certificate, ``doors`` the sockets of doors. ``listen``: where other hosts
    reach this one by TLS, if they do; guests come in through one of ``ports`` of that address."""

    name: str
    directory: Path
    doors: Path
    listen: Address | None
    ports: range
    ssh: Ssh


class HostPeers:
    def __init__(self, settings: PeerSettings) -> None:
        self._settings = settings
        self._known: dict[str, KnownPeer] = {}
        self._own: Own | None = None
        self._listener: PeerListener | None = None
        self._trouble = ""

    async def reach(self, target: str) -> Peer:
        peer: TlsPeer | SshPeer
        if target.startswith("ssh:"):
            peer = SshPeer(parse_target(target), self._settings.ssh)
        elif target in self._known:
            peer = TlsPeer(self._known[target], await self._identity())
        else:
            raise NotFound(f"there is no peer {target}", hint=_near(target, self._known))
        try:
            await peer.introduce(REACH_S)
        except BaseException:
            await peer.close()
            raise
        return peer

    async def open_door(self, *, through_ssh: bool, token: bool) -> HostDoor:
        if through_ssh:
            return open_unix(self._settings.doors, token=token)
        if self._settings.listen is None:
            raise Shortage("no stream can come in from other hosts", hint="set peer-listen, as in 10.99.0.1:16509")
        return open_tcp(self._settings.listen.host, self._settings.ports, token=token)

    async def credentials(self) -> tuple[Credentials, Credentials]:
        from wirt.peers import certificates

        return await asyncio.to_thread(certificates.for_one_migration)

    async def protect(self, channel: Channel, *, receives: bool) -> socket.socket:
        from wirt.peers import streams

        return await asyncio.to_thread(streams.protected, channel, receives=receives)

    async def tunnel(self, channel: Channel, *, receives: bool) -> socket.socket:
        from wirt.peers import tunnels

        return await asyncio.to_thread(tunnels.dug, channel, receives=receives)

    async def identity(self) -> Certificate:
        return (await self._identity()).certificate

    def examine(self, text: str) -> Certificate:
        from wirt.peers import certificates

        found = certificates.read(text)
        now = time.time()
        if now > found.not_after:
            raise BadInput(
                f"this certificate expired on {time.strftime('%Y-%m-%d', time.gmtime(found.not_after))}",
                hint="its host makes a new one once the old one is removed from its home",
            )
        if now < found.not_before:
            raise BadInput("this certificate is not valid yet", hint="is one of the two hosts' clocks wrong?")
        return found

    def know(self, peers: Iterable[KnownPeer]) -> None:
        self._known = {peer.name: peer for peer in peers}
        if self._listener is not None:
            self._listener.know(self._known.values())

    @property
    def troubles(self) -> tuple[str, ...]:
        trouble = self._listener.trouble if self._listener is not None else self._trouble
        return (trouble,) if trouble else ()

    async def serve(self, protocols: Protocols) -> None:
        """Listen for other hosts, if the settings say where. What an earlier daemon's doors left is removed."""
        for left in self._settings.doors.glob("door-*"):
            left.unlink(missing_ok=True)
        if self._settings.listen is None:
            return
        try:
            own = await self._identity()
        except WirtError as error:
            # This host's own guests must be served all the same.
            self._trouble = f"other hosts can't reach this one: {error}"
            log.warning("no listener for other hosts", error=str(error))
            return
        self._listener = PeerListener(self._settings.listen, own)
        self._listener.know(self._known.values())
        await self._listener.start(protocols)

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()

    async def _identity(self) -> Own:
        if self._own is None:
            # Here and not above: a host that talks to no others starts 7 ms sooner.
            from wirt.peers import certificates

            self._own = Own(*certificates.own(self._settings.directory, self._settings.name))
        return self._own


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "wirt peer list shows all; wirt peer add makes one known; or give ssh://USER@HOST"

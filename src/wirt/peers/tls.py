"""A peer that is reached by TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirt.model.errors import PeerUnreachable
from wirt.model.peer import Certificate, KnownPeer
from wirt.peers import contexts
from wirt.peers.caller import Caller
from wirt.peers.doors import show
from wirt.peers.http import Connection, HungUp
from wirt.peers.prompt import make_prompt
from wirt.ports.peers import Door

HANDSHAKE_S = 10.0
MOST_AT_ONCE = 4
"""Who waits for something long must not keep others from asking."""


@dataclass(frozen=True, slots=True)
class Own:
    """This host's certificate, and the files that it and its key are in."""

    certificate: Certificate
    file: Path
    key: Path


class TlsPeer:
    protects = False

    def __init__(self, known: KnownPeer, own: Own) -> None:
        self._known = known
        self._own = own
        self._caller = Caller(known.name, self._dial, self._words, MOST_AT_ONCE)
        self._host = ""

    @property
    def name(self) -> str:
        return self._caller.name

    async def introduce(self, deadline_s: float) -> None:
        """Ask what it calls itself."""
        said = await self._caller.call("GET", "/v1/peer", None, deadline_s)
        self._caller.name = str(said["name"]) if isinstance(said, dict) and "name" in said else self.name

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, deadline_s: float = 10.0
    ) -> Any:
        return await self._caller.call(method, path, body, deadline_s)

    async def stream(self, door: Door, deadline_s: float = 10.0) -> socket.socket:
        if door.port is None:
            raise PeerUnreachable(f"{self.name} opened no port for this host", hint="it opened a door for ssh")
        stream: socket.socket | None = None
        try:
            async with asyncio.timeout(deadline_s):
                stream = await _connected(self._known.address.host, door.port)
        except (OSError, TimeoutError) as error:
            raise self._unreachable(error, door.port) from error
        stream.setblocking(True)
        stream.settimeout(deadline_s)
        try:
            show(stream, door)
        except OSError as error:
            stream.close()
            raise self._unreachable(error, door.port) from error
        stream.settimeout(None)
        return stream

    async def close(self) -> None:
        await self._caller.close()

    async def _dial(self) -> Connection:
        context = contexts.client(self._own.file, self._own.key, self._known.certificate)
        address = self._known.address
        try:
            reader, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except (OSError, ssl.SSLError) as error:
            raise await self._words(error) from error
        if _shown(writer) != contexts.der(self._known.certificate):
            writer.transport.abort()
            raise await self._other()
        return Connection(reader, writer)

    async def _words(self, error: Exception) -> PeerUnreachable:
        if isinstance(error, ssl.SSLCertVerificationError):
            return await self._other()
        if isinstance(error, ssl.SSLError) and "ALERT" in str(error.reason):
            return PeerUnreachable(
                f"{self.name} does not take this host's certificate ({_reason(error)})",
                hint="there: wirt peer add, with what wirt peer certificate prints here",
            )
        if isinstance(error, (HungUp, ConnectionResetError, BrokenPipeError)):
            # Also when it refuses the certificate: what it would say then is lost with the connection.
            return PeerUnreachable(
                f"{self.name} hung up before it had answered",
                hint="does it know this host's certificate? There: wirt peer list, wirt peer add",
            )
        return self._unreachable(error, self._known.address.port)

    async def _other(self) -> PeerUnreachable:
        """Who answered did not show what was pinned. Both are told, so that somebody can compare them."""
        pinned, address = self._known.certificate, self._known.address
        shown = await self._look()
        if shown is not None and shown == contexts.der(pinned):
            return PeerUnreachable(
                f"the certificate of {self.name} is not valid now",
                hint="it has expired, or one of the two hosts' clocks is wrong",
            )
        from wirt.peers.certificates import fingerprint

        told = "nothing" if shown is None else fingerprint(shown)
        return PeerUnreachable(
            f"at {address} answers another host than {self.name}: "
            f"its certificate is {told}, not {pinned.fingerprint}",
            hint=f"is the address right? If {self.name} has a new certificate: wirt peer remove {self.name}, "
            "and add it again",
        )

    async def _look(self) -> bytes | None:
        """The certificate of whoever answers; nothing is sent."""
        context = contexts.curious(self._own.file, self._own.key)
        address = self._known.address
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(HANDSHAKE_S):
                _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
            shown = _shown(writer)
            writer.transport.abort()
            return shown
        return None

    def _unreachable(self, error: Exception, port: int) -> PeerUnreachable:
        reason = "no answer in time" if isinstance(error, TimeoutError) else _reason(error)
        return PeerUnreachable(
            f"{self.name} ({self._known.address.host}, port {port}): {reason}",
            hint="is the link up, does wirtd run there, and does it listen (peer-listen)?",
        )


async def _connected(host: str, port: int) -> socket.socket:
    """The first of the host's addresses that answers."""
    loop = asyncio.get_running_loop()
    last = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        stream = socket.socket(family, kind, protocol)
        stream.setblocking(False)
        try:
            await loop.sock_connect(stream, address)
            make_prompt(stream)
        except OSError as error:
            stream.close()
            last = error
        except BaseException:
            stream.close()
            raise
        else:
            return stream
    raise last


def _shown(writer: asyncio.StreamWriter) -> bytes | None:
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).lower().replace("_", " ")
    strerror = getattr(error, "strerror", None)
    return str(strerror or error)

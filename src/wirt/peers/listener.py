"""Where other hosts reach this one by TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable

import structlog

from wirt.model.peer import Address, KnownPeer
from wirt.peers import contexts
from wirt.peers.tls import Own

log = structlog.get_logger()

HANDSHAKE_S = 15.0
"""A host with much to do takes seconds; who never ends one is one of :data:`MOST_SHAKING`."""
MOST_SHAKING = 32
"""Handshakes at once: who is not known gets no further than that."""
MOST_CONNECTIONS = 256
BACKLOG = 64
RETRY_S = 2.0

Protocols = Callable[[str], asyncio.Protocol]
"""Makes what serves a connection of the peer with that name."""


class PeerListener:
    """Pinned peers may change at any time: the next handshake goes by those there are then, and connections of one
    that is gone are closed.

    An address that can't be had (not there yet when the host boots, taken) does not keep the daemon from serving
    its own host: it is tried again and again, and ``trouble`` says so."""

    def __init__(self, address: Address, own: Own) -> None:
        self._address = address
        self._own = own
        self._known: dict[bytes, KnownPeer] = {}
        self._context = contexts.server(own.file, own.key, ())
        self._listening: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._shaking: set[asyncio.Task[None]] = set()
        self._open: dict[asyncio.BaseTransport, bytes] = {}
        self.trouble = ""

    def know(self, peers: Iterable[KnownPeer]) -> None:
        self._known = {contexts.der(peer.certificate): peer for peer in peers}
        self._context = contexts.server(
            self._own.file, self._own.key, [peer.certificate for peer in self._known.values()]
        )
        for transport, shown in list(self._open.items()):
            if shown not in self._known:
                transport.abort()  # type: ignore[attr-defined]

    async def start(self, protocols: Protocols) -> None:
        """Returns when the first try to listen has been made."""
        self._bind()
        self._task = asyncio.create_task(self._serve(protocols))

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._shaking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()
        for transport in list(self._open):
            transport.close()

    def _bind(self) -> None:
        host, port = self._address.host, self._address.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # With its protocol, or asyncio would not see that it is TCP, and leave Nagle's algorithm on.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            trouble = f"other hosts can't reach this one at {self._address}: {error.strerror} (peer-listen)"
            if trouble != self.trouble:
                log.warning("no listener for other hosts yet", address=str(self._address), error=error.strerror)
            self.trouble = trouble
        else:
            listening.setblocking(False)
            self._listening, self.trouble = listening, ""
            log.info("listening for other hosts", address=str(self._address))

    async def _serve(self, protocols: Protocols) -> None:
        loop = asyncio.get_running_loop()
        while self._listening is None:
            await asyncio.sleep(RETRY_S)
            self._bind()
        while True:
            try:
                stream, _ = await loop.sock_accept(self._listening)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            if len(self._shaking) >= MOST_SHAKING or len(self._open) >= MOST_CONNECTIONS:
                stream.close()
                continue
            task = asyncio.create_task(self._shake(stream, protocols))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake(self, stream: socket.socket, protocols: Protocols) -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(self, protocols)
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            stream.setblocking(False)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: gate, stream, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )

    def admit(self, transport: asyncio.Transport) -> KnownPeer | None:
        """The peer whose certificate was shown; a byte of difference, and it is none."""
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True) or b""
        peer = self._known.get(shown)
        if peer is not None:
            self._open[transport] = shown
        return peer

    def left(self, transport: asyncio.BaseTransport) -> None:
        self._open.pop(transport, None)


class Gate(asyncio.Protocol):
    """Stands before what serves, which is made when it is known who calls."""

    def __init__(self, listener: PeerListener, protocols: Protocols) -> None:
        self._listener = listener
        self._protocols = protocols
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peer = self._listener.admit(transport)
        if peer is None:
            transport.abort()
            return
        self._transport = transport
        self._inner = self._protocols(peer.name)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._listener.left(self._transport)
        if self._inner is not None:
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

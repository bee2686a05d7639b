"""Doors: where streams come in, each shown by a token to be the one that is waited for."""

from __future__ import annotations

import asyncio
import errno
import hmac
import os
import secrets
import socket
from pathlib import Path

from wirt.model.errors import DeadlinePassed, Shortage
from wirt.peers.prompt import make_prompt
from wirt.ports.peers import Door

TOKEN_BYTES = 32
TOKEN_S = 15.0
"""How long one stream may take to show its token."""
MOST_WAITING = 16
"""Streams whose tokens are waited for at once; who comes then pushes out who has waited longest."""
BACKLOG = 16


class HostDoor:
    """Open until it is closed. ``path`` of a unix socket is removed then."""

    def __init__(self, listening: socket.socket, door: Door, *, protected: bool) -> None:
        self._listening = listening
        self._door = door
        self._protected = protected
        self._streams: asyncio.Queue[socket.socket] = asyncio.Queue()
        self._porter: asyncio.Task[None] | None = None
        self._waiting: dict[asyncio.Task[None], socket.socket] = {}

    @property
    def door(self) -> Door:
        return self._door

    @property
    def protected(self) -> bool:
        return self._protected

    async def accept(self, deadline_s: float) -> socket.socket:
        if self._porter is None:
            self._listening.setblocking(False)
            self._porter = asyncio.create_task(self._let_in())
        try:
            async with asyncio.timeout(deadline_s):
                stream = await self._streams.get()
        except TimeoutError:
            raise DeadlinePassed(f"no stream came in through {self._place} within {deadline_s:g} s") from None
        stream.setblocking(True)
        return stream

    def listener(self) -> socket.socket:
        return self._listening

    def close(self) -> None:
        if self._porter is not None:
            self._porter.cancel()
            _leave(self._listening)
        for task, stream in self._waiting.items():
            task.cancel()
            _leave(stream)
        while not self._streams.empty():
            self._streams.get_nowait().close()
        self._listening.close()
        if self._door.path is not None:
            Path(self._door.path).unlink(missing_ok=True)

    @property
    def _place(self) -> str:
        return f"port {self._door.port}" if self._door.port is not None else str(self._door.path)

    async def _let_in(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                stream, _ = await loop.sock_accept(self._listening)
            except OSError:
                # Descriptors ran out, or who knocked went away.
                await asyncio.sleep(0.1)
                continue
            stream.setblocking(False)
            if len(self._waiting) >= MOST_WAITING:
                next(iter(self._waiting)).cancel()
            task = asyncio.create_task(self._ask(stream))
            self._waiting[task] = stream
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        stream = self._waiting.pop(task)
        if task.cancelled():
            stream.close()

    async def _ask(self, stream: socket.socket) -> None:
        try:
            if self._door.token is None or await self._shows(stream, bytes.fromhex(self._door.token)):
                make_prompt(stream)
                self._streams.put_nowait(stream)
            else:
                stream.close()
        except (OSError, TimeoutError):
            stream.close()

    async def _shows(self, stream: socket.socket, token: bytes) -> bool:
        """Whether what comes first is ``token``. Not a byte more is read."""
        loop = asyncio.get_running_loop()
        shown = b""
        async with asyncio.timeout(TOKEN_S):
            while len(shown) < len(token):
                piece = await loop.sock_recv(stream, len(token) - len(shown))
                if not piece:
                    return False
                shown += piece
        return hmac.compare_digest(shown, token)


def open_tcp(host: str, ports: range, *, token: bool) -> HostDoor:
    """On the first free one of ``ports``. ``Shortage`` if there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            if error.errno != errno.EADDRINUSE:
                raise Shortage(
                    f"no stream can come in at {host}: {error.strerror}",
                    hint="is that address (peer-listen) this host's, and up?",
                ) from error
        else:
            return HostDoor(listening, Door(port=port, token=_token(token)), protected=False)
    raise Shortage(
        f"none of the ports {ports.start}-{ports.stop - 1} is free",
        hint="wait for migrations that are under way, or give migration-ports a larger range",
    )


def open_unix(directory: Path, *, token: bool) -> HostDoor:
    """A socket of its own in ``directory``, for its owner only."""
    path = directory / f"door-{secrets.token_hex(8)}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Through the descriptor: a socket's name may have 107 bytes only (unix(7)).
            listening.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        finally:
            os.close(descriptor)
        path.chmod(0o600)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Shortage(f"no socket can be made in {directory}: {error.strerror}") from error
    return HostDoor(listening, Door(path=str(path), token=_token(token)), protected=True)


def show(stream: socket.socket, door: Door) -> None:
    """The token, as the first that goes through ``stream``."""
    if door.token is not None:
        stream.sendall(bytes.fromhex(door.token))


def _leave(waited_for: socket.socket) -> None:
    """The loop lets go of it before its number can be another's."""
    if waited_for.fileno() >= 0:
        asyncio.get_running_loop().remove_reader(waited_for.fileno())


def _token(wanted: bool) -> str | None:
    return secrets.token_hex(TOKEN_BYTES) if wanted else None

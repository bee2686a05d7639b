"""A peer that is reached through ssh, which knows it, or whose user knows it: nothing is laid down here.

At the other end of each ssh process runs ``wirt relay`` (``cli/relay``), joined to a socket of the wirtd there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wirt.model.errors import BadInput, PeerUnreachable
from wirt.peers.caller import Caller
from wirt.peers.doors import show
from wirt.peers.http import Connection
from wirt.ports.peers import Door
from wirt.wire.relay import GREETING

CONNECT_S = 10
GREETING_S = 40.0
"""ssh has to connect, and over there a wirtd may have to be started."""
MOST_NOISE_BYTES = 4096
"""What a shell's start-up files may print before the relay speaks."""
MOST_WORDS_BYTES = 4096
END_S = 2.0
OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_S}",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "RequestTTY=no",
    # A process of its own for each stream: one connection would share one window, and one core.
    "ControlMaster=no",
    "ControlPath=none",
    "PermitLocalCommand=no",
    "Compression=no",
)
_TARGET = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*))(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class Ssh:
    """``program`` is ssh, ``remote`` what runs wirt over there: words of a shell."""

    program: str = "ssh"
    remote: str = "wirt"


@dataclass(frozen=True, slots=True)
class Target:
    host: str
    user: str | None
    port: int | None

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host


def parse_target(text: str) -> Target:
    """``ssh://[USER@]HOST[:PORT]``; ``BadInput``. Nothing in it can be taken for one of ssh's options."""
    found = _TARGET.fullmatch(text)
    if found is None or (found["port"] and not 0 < int(found["port"]) < 65536):
        raise BadInput(f"{text[:120]} is no host to reach", hint="as in ssh://root@host2 or ssh://host2:2222")
    return Target(found["v6"] or found["host"], found["user"], int(found["port"]) if found["port"] else None)


class SshPeer:
    protects = True

    def __init__(self, target: Target, ssh: Ssh) -> None:
        self._target = target
        self._ssh = ssh
        self._caller = Caller(str(target), self._dial, self._words)
        self._control: Relay | None = None
        self._streams: list[Relay] = []

    @property
    def name(self) -> str:
        return self._caller.name

    async def introduce(self, deadline_s: float) -> None:
        """Ask what it calls itself."""
        said = await self._caller.call("GET", "/v1/peer", None, deadline_s + GREETING_S)
        self._caller.name = str(said["name"]) if isinstance(said, dict) and "name" in said else self.name

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, deadline_s: float = 10.0
    ) -> Any:
        return await self._caller.call(method, path, body, deadline_s)

    async def stream(self, door: Door, deadline_s: float = 10.0) -> socket.socket:
        if door.path is None:
            raise PeerUnreachable(f"{self.name} opened no socket for ssh", hint="it opened a port for TLS")
        relay = await Relay.begin(self._ssh, self._target, door.path)
        try:
            async with asyncio.timeout(deadline_s):
                await relay.greeted()
        except TimeoutError:
            await relay.end()
            raise self._silent(deadline_s) from None
        except BaseException:
            await relay.end()
            raise
        self._streams = [each for each in self._streams if not each.ended]
        self._streams.append(relay)
        stream = relay.taken()
        stream.setblocking(True)
        try:
            show(stream, door)
        except OSError as error:
            stream.close()
            raise await relay.failure(str(error)) from error
        return stream

    async def close(self) -> None:
        """Streams go on: they are whose they were given to."""
        await self._caller.close()
        if self._control is not None:
            await self._control.end()

    async def _dial(self) -> Connection:
        if self._control is not None:
            await self._control.end()
        self._control = await Relay.begin(self._ssh, self._target, None)
        try:
            async with asyncio.timeout(GREETING_S):
                await self._control.greeted()
        except TimeoutError:
            await self._control.end()
            raise self._silent(GREETING_S) from None
        except BaseException:
            await self._control.end()
            raise
        reader, writer = await asyncio.open_unix_connection(sock=self._control.taken())
        return Connection(reader, writer)

    async def _words(self, error: Exception) -> PeerUnreachable:
        assert self._control is not None
        return await self._control.failure(str(error))

    def _silent(self, deadline_s: float) -> PeerUnreachable:
        return PeerUnreachable(
            f"nothing came through ssh from {self._target} within {deadline_s:g} s",
            hint=f"try it by hand: ssh {self._target} {self._ssh.remote} list",
        )


class Relay:
    """One ssh process whose standard input and output are one end of a socket pair."""

    def __init__(self, process: asyncio.subprocess.Process, near: socket.socket, target: Target, ssh: Ssh) -> None:
        self._process = process
        self._near = near
        self._target = target
        self._ssh = ssh
        self._stderr = bytearray()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def begin(cls, ssh: Ssh, target: Target, door: str | None) -> Relay:
        """``door`` is the path of a socket over there, without one it is that of the wirtd itself."""
        near, far = socket.socketpair()
        with far:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command(ssh, target, door),
                    stdin=far.fileno(),
                    stdout=far.fileno(),
                    stderr=asyncio.subprocess.PIPE,
                )
            except OSError as error:
                near.close()
                raise PeerUnreachable(
                    f"{ssh.program} can't be run: {error.strerror}", hint="install openssh-client"
                ) from error
            except BaseException:
                near.close()
                raise
        near.setblocking(False)
        return cls(process, near, target, ssh)

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    def taken(self) -> socket.socket:
        """The near end, from now on the caller's."""
        near, self._near = self._near, socket.socket()
        self._near.close()
        return near

    async def greeted(self) -> None:
        """Returns when the relay over there has its socket. ``PeerUnreachable`` if it never does."""
        loop = asyncio.get_running_loop()
        noise = bytearray()
        while not noise.endswith(GREETING):
            # Byte by byte: what comes after it is no longer ours.
            try:
                piece = await loop.sock_recv(self._near, 1)
            except OSError as error:
                raise await self.failure(str(error)) from error
            if not piece:
                raise await self.failure("it ended without a word")
            noise += piece
            if len(noise) > MOST_NOISE_BYTES:
                raise PeerUnreachable(
                    f"{self._target} answers through ssh, but not as wirt does",
                    hint=f"does a start-up file of the shell there print something? ssh {self._target} true",
                )

    async def failure(self, otherwise: str) -> PeerUnreachable:
        """What ssh said, once it has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await asyncio.shield(self._listening)
                await self._process.wait()
        said = [line.strip() for line in self._stderr.decode(errors="replace").splitlines() if line.strip()]
        words = "; ".join(said[-3:]) or otherwise
        return PeerUnreachable(f"ssh to {self._target}: {words}", hint=self._hint(words))

    async def end(self) -> None:
        self._near.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        await self._process.wait()
        await asyncio.wait({self._listening}, timeout=END_S)
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        """What ssh says is kept as far as it is of use, and never blocks it."""
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(4096):
            self._stderr += piece
            del self._stderr[:-MOST_WORDS_BYTES]

    def _hint(self, words: str) -> str:
        by_hand = f"ssh -o BatchMode=yes {self._target} true"
        if "Permission denied" in words:
            return f"this must work without a password, as the user wirtd runs as: {by_hand}"
        if "Host key verification failed" in words:
            return f"make that host known to ssh first, as the user wirtd runs as: ssh {self._target}"
        if "not found" in words or self._process.returncode == 127:
            return "is wirt installed there? The setting remote-wirt says how it is called there"
        return f"this must work, as the user wirtd runs as: {by_hand}"


def command(ssh: Ssh, target: Target, door: str | None) -> list[str]:
    options = [word for option in OPTIONS for word in ("-o", option)]
    port = [] if target.port is None else ["-p", str(target.port)]
    user = [] if target.user is None else ["-l", target.user]
    relay = f"{ssh.remote} relay" + ("" if door is None else f" {shlex.quote(door)}")
    return [ssh.program, *options, "-e", "none", *port, *user, "--", target.host, relay]

"""User-mode cards through passt(1), a process beside QEMU: then QEMU itself needs no network of the host's.

Each card has a passt of its own. The two share a socket (passt ``--fd``, QEMU ``-netdev stream``), so a passt ends
with its QEMU; it goes to the background once it serves, which tells that it does, and has by then taken on a user
of its own without rights, namespaces with nothing in them but the host's network, and a filter of system calls.

The guest finds the network that QEMU's own user mode would give it: the same addresses, ports forwarded from the
host's loopback. Not the same: the host's loopback can't be reached through the gateway (``--no-map-gw``), unless a
UDP port is forwarded, whose answers passt of 2023 takes no other way.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wirt.hypervisors.qemu.devices import LOOPBACK
from wirt.model.devices import PortForward
from wirt.model.errors import LaunchFailed
from wirt.plan.nics import NicPlan

Spawn = Callable[[Callable[[int | None], subprocess.CompletedProcess[bytes]]], subprocess.CompletedProcess[bytes]]
"""Calls its argument with a uid (``None``: whom passt becomes by itself), as :meth:`Sandbox.beside` does."""

NONE = "none"
START_S = 10.0
HINT = "apt-get install passt"
GATEWAY_MAC = "52:55:0a:00:02:02"
"""What QEMU's own user mode has there (libslirp, src/slirp.h); passt's own choice would be the host's."""
NOBODY = 65534
ROUTES = Path("/proc/self/net/route")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second names the true resolvers where the first has but a stub on the loopback (systemd-resolved(8))."""
_UP, _GATEWAY = 1, 2


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of a card's network, IPv4. ``guest`` is what DHCP gives whoever asks."""

    guest: ipaddress.IPv4Interface
    gateway: ipaddress.IPv4Address


USUAL = Addresses(ipaddress.IPv4Interface("10.0.2.15/24"), ipaddress.IPv4Address("10.0.2.2"))


def addresses(nic: NicPlan) -> Addresses:
    """Laid around the card's first address that has a prefix with room for a gateway."""
    for text in nic.addresses:
        guest = ipaddress.ip_interface(text)
        if isinstance(guest, ipaddress.IPv4Interface) and guest.network.prefixlen < 30:
            first = guest.network.network_address + 1
            return Addresses(guest, first if first != guest.ip else first + 1)
    return USUAL


def command_line(
    name: str,
    chosen: Addresses,
    forwards: Sequence[PortForward],
    descriptor: int,
    uid: int | None,
    resolvers: Sequence[str] = (),
    log: str | None = None,
) -> tuple[str, ...]:
    """passt's argv. ``name`` stands for the program: by it the process is found again."""
    return (
        name,
        *("--fd", str(descriptor), "--quiet"),
        *(("--log-file", log) if log is not None else ()),
        *(("--runas", f"{uid}:{uid}") if uid is not None else ()),
        *("--address", str(chosen.guest.ip), "--netmask", str(chosen.guest.network.prefixlen)),
        *("--gateway", str(chosen.gateway), "--mac-addr", GATEWAY_MAC),
        *(() if any(forward.protocol == "udp" for forward in forwards) else ("--no-map-gw",)),
        *(word for resolver in resolvers for word in ("--dns", resolver)),
        *(word for forward in forwards for word in _forward(forward)),
    )


def _forward(forward: PortForward) -> Iterator[str]:
    yield "--tcp-ports" if forward.protocol == "tcp" else "--udp-ports"
    yield f"{LOOPBACK}/{forward.host_port}:{forward.guest_port}"


def announcement(mac: str, address: ipaddress.IPv4Address) -> bytes:
    """What passt must have heard of a card before it can reach it: any frame of its, here an ARP announcement (RFC
    5227). A guest with a fixed address may say nothing until it is spoken to, and passt of 2023 does not ask. With
    the length before it that ``-netdev stream`` has."""
    source = bytes.fromhex(mac.replace(":", ""))
    ethernet = b"\xff" * 6 + source + b"\x08\x06"
    request = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1)
    frame = ethernet + request + source + address.packed + bytes(6) + address.packed
    return struct.pack(">I", len(frame)) + frame


def resolvers(texts: Sequence[str]) -> tuple[str, ...]:
    """The name servers of the first of these resolv.conf(5) that names one a guest can reach; none if that is the
    first, since passt reads it by itself."""
    for place, text in enumerate(texts):
        found = [
            words[1] for line in text.splitlines() if (words := line.split())[:1] == ["nameserver"] and words[1:]
        ]
        reachable = tuple(address for address in found[:3] if _reachable(address))
        if reachable:
            return () if place == 0 else reachable
    return ()


def _reachable(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def has_default_route(routes: str) -> bool:
    """Whether IPv4 leads anywhere, from the text of proc_net_route(5)."""
    rows = (line.split() for line in routes.splitlines()[1:])
    return any(
        len(row) > 7 and row[1] == row[7] == "00000000" and int(row[3], 16) & (_UP | _GATEWAY) for row in rows
    )


@dataclass(frozen=True, slots=True)
class Served:
    """A card's network: QEMU's end, and the task that ends once passt serves at the other, or fails."""

    end: socket.socket
    begun: asyncio.Task[None]


class Passt:
    """passt as it is on this host. ``program`` by name or path, or :data:`NONE`; ``trial`` is a directory near to
    those of runs, which a host's rules may keep passt from writing to."""

    def __init__(self, program: str, trial: Path) -> None:
        self._wanted = program != NONE
        self._program = shutil.which(program) if self._wanted else None
        self._trial = trial
        self._tried: asyncio.Task[str | None] | None = None
        self._logs = True

    async def missing(self) -> str | None:
        """Why user-mode cards can't go through it now; ``None`` if they can."""
        if self._program is None:
            return f"passt is not installed ({HINT})" if self._wanted else "the setting passt is none"
        if not has_default_route(_text(ROUTES)):
            return "this host has no IPv4 default route, which passt needs"
        if self._tried is None:
            self._tried = asyncio.create_task(asyncio.to_thread(self._try, self._program))
        return await asyncio.shield(self._tried)

    @property
    def expected(self) -> bool:
        """Whether :meth:`missing` will most likely be ``None``, for a command line that is only shown."""
        return self._program is not None and has_default_route(_text(ROUTES))

    def pair(self, nic: NicPlan) -> tuple[socket.socket, socket.socket]:
        """QEMU's end and passt's, both the caller's to close until passt's is handed to :meth:`begin`."""
        ours, theirs = socket.socketpair()
        ours.send(announcement(nic.mac, addresses(nic).guest.ip))
        return ours, theirs

    def begin(
        self, nic: NicPlan, forwards: Sequence[PortForward], directory: Path, spawn: Spawn, theirs: socket.socket
    ) -> asyncio.Task[None]:
        """Begin to serve at ``theirs``. The task raises ``LaunchFailed`` with passt's words."""
        return asyncio.create_task(self._serve(nic, forwards, directory, spawn, theirs))

    def serve(self, nic: NicPlan, forwards: Sequence[PortForward], directory: Path, spawn: Spawn) -> Served:
        """Both at once; both parts of what comes back are the caller's to end."""
        ours, theirs = self.pair(nic)
        return Served(ours, self.begin(nic, forwards, directory, spawn, theirs))

    async def _serve(
        self, nic: NicPlan, forwards: Sequence[PortForward], directory: Path, spawn: Spawn, theirs: socket.socket
    ) -> None:
        name = name_of(directory, nic.id)
        servers = resolvers([_text(path) for path in RESOLVERS])
        log = f"{name}.log" if self._logs else None

        def run(uid: int | None) -> subprocess.CompletedProcess[bytes]:
            with theirs:
                words = command_line(name, addresses(nic), forwards, theirs.fileno(), uid, servers, log)
                return _run(self._program or NONE, words, theirs.fileno())

        done = await asyncio.to_thread(spawn, run)
        if done.returncode != 0:
            raise LaunchFailed(
                f"passt can't serve {nic.id}: {_words(done)}",
                hint='with passt = "none" in wirt.toml QEMU\'s own user-mode network is taken',
            )

    def _try(self, program: str) -> str | None:
        """Start one for nobody. Where it may not write a log near ours (AppArmor) it does without."""
        uid = NOBODY if os.geteuid() == 0 else None
        trial = f"{self._trial}/passt-trial.log"
        for log in (trial, None):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                words = command_line("passt", USUAL, (), theirs.fileno(), uid, log=log)
                done = _run(program, words, theirs.fileno())
            with contextlib.suppress(OSError):
                Path(trial).unlink()
            if done.returncode == 0:
                self._logs = log is not None
                return None
        return f"passt can't work here ({_words(done)})"


def name_of(directory: Path, card: str) -> str:
    """passt looks at the last part of its name only, which must have ``passt`` in it."""
    return f"{directory}/passt-{card}"


def _run(program: str, words: Sequence[str], descriptor: int) -> subprocess.CompletedProcess[bytes]:
    """Until it serves, and has left its end to a process of its own; it is killed if that takes too long."""
    try:
        return subprocess.run(
            words,
            executable=program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(descriptor,),
            start_new_session=True,
            timeout=START_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(words, -signal.SIGKILL, error.output or b"it did not come up")
    except OSError as error:
        return subprocess.CompletedProcess(words, -1, str(error.strerror).encode())


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    """The last line that is not about its log; it complains when there is no syslog."""
    lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines()]
    told = [line for line in lines if line and not line.startswith(("Failed to send", "Don't run as root"))]
    return told[-1] if told else f"exit status {done.returncode}"


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""

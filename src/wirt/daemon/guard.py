"""One daemon for one home: a lock that dies with its holder, and a socket that only the holder may replace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from wirt.model.errors import ResourceBusy, Shortage
from wirt.wire.home import Home


class HomeTaken(ResourceBusy):
    """Another daemon has it."""


def prepare(home: Home) -> None:
    """The home's directories, private to their owner. ``Shortage`` if they can't be made."""
    try:
        for directory in (home.state, home.run, home.domains, str(Path(home.log).parent)):
            Path(directory).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Shortage(
            f"{error.filename} can't be made: {error.strerror}",
            hint="make room or get the right to it, or set WIRT_HOME to another directory",
        ) from error


def lock(home: Home) -> int:
    """Take the home. The descriptor must stay open as long as the daemon serves; the kernel lets go of the lock
    when the process ends, however it does. ``HomeTaken`` names the daemon that has it."""
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Shortage(
            f"{home.lock} can't be opened: {error.strerror}",
            hint="make room or get the right to it, or set WIRT_HOME to another directory",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise HomeTaken(
            f"a wirtd (process {holder}) serves {home.state} already",
            hint="use that one, end it first, or set WIRT_HOME to another directory",
        ) from error
    with contextlib.suppress(OSError):  # only for the message above; the store tells of a full disk
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def listen(home: Home) -> socket.socket:
    """The API's socket. Whoever holds the lock may replace one that a dead daemon left."""
    path = Path(home.socket)
    path.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Through the descriptor, so that a long home does not exceed what a socket's name may have.
        server.bind(f"/proc/self/fd/{directory}/{path.name}")
        path.chmod(0o600)
        server.listen(128)
        server.setblocking(False)
    except OSError as error:
        server.close()
        raise Shortage(f"no socket can be made at {path}: {error.strerror}") from error
    finally:
        os.close(directory)
    return server

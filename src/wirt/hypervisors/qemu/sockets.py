"""Unix sockets whose path may be longer than the 107 bytes that the kernel takes (unix(7)).

They are reached through their directory's descriptor: /proc/self/fd/N/name is always short.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def _short(path: Path) -> Iterator[str]:
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """A listening socket for QEMU to inherit. It exists before QEMU does, so a connection to it never has to
    be tried again: it waits in the queue until QEMU accepts. Mode 0600; a stale file is replaced."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            server.bind(name)
        path.chmod(0o600)
        server.listen(4)
    except BaseException:
        server.close()
        raise
    return server


def connect(path: Path) -> socket.socket:
    """A connected, non-blocking socket. Raises ``OSError`` when nobody listens."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _short(path) as name:
            client.connect(name)
    except BaseException:
        client.close()
        raise
    return client

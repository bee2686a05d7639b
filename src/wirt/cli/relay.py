"""``wirt relay``: called through ssh by another host's wirtd, to be joined to this host's, or to a door of it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

CONNECT_S = 10.0
PIECE_BYTES = 1024 * 1024


def options_relay(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", help="a unix socket (default: this home's wirtd's)")


def run_relay(args: Namespace, session: Session) -> int:
    """Returns once the socket's side has ended; the end of standard input is passed on before."""
    from threading import Thread

    from wirt.client import http
    from wirt.wire.relay import GREETING

    if args.path is None:
        session.api.ensure_daemon()
    connection = http.connect(args.path or session.api.home.socket, CONNECT_S)
    connection.settimeout(None)
    os.write(sys.stdout.fileno(), GREETING)
    # A daemon thread: when the socket has ended there is nobody left to pass standard input on to.
    Thread(target=_inward, args=(connection,), daemon=True).start()
    try:
        copy(connection.fileno(), sys.stdout.fileno())
    except (BrokenPipeError, ConnectionResetError):
        return 1
    return 0


def _inward(connection: socket.socket) -> None:
    import socket

    try:
        copy(sys.stdin.fileno(), connection.fileno())
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        # The other side will see that for itself: the socket's end ends the whole.
        pass


def copy(source: int, target: int) -> None:
    """Everything, until the end of ``source``, without a copy in this process if the kernel can (splice(2), which
    wants a pipe at one side: ssh's server gives one; between two others, one is put there)."""
    import fcntl
    from contextlib import suppress

    readable, writable = os.pipe()
    with suppress(OSError):  # an ordinary user has only so much of it
        fcntl.fcntl(writable, fcntl.F_SETPIPE_SZ, PIECE_BYTES)
    try:
        while True:
            try:
                size = os.splice(source, writable, PIECE_BYTES)
            except OSError as error:
                if error.errno not in (22, 95):  # EINVAL, EOPNOTSUPP: a terminal, say
                    raise
                _plainly(source, target)
                return
            if size == 0:
                return
            while size > 0:
                size -= os.splice(readable, target, size)
    finally:
        os.close(readable)
        os.close(writable)


def _plainly(source: int, target: int) -> None:
    while piece := os.read(source, PIECE_BYTES):
        while piece:
            piece = piece[os.write(target, piece) :]

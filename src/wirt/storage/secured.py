"""A stream between two daemons for one migration, in TLS 1.3 with certificates of both sides that were made for
it."""

from __future__ import annotations

import os
import socket
import ssl

from wirt.model.errors import Unavailable
from wirt.ports.migration import Channel, Credentials

SHAKE_S = 20.0


def secured(channel: Channel, *, serves: bool) -> socket.socket:
    """``channel``'s stream, protected if it needs to be. In a thread: it waits for the other side.
    ``Unavailable``: who is there is not who should be."""
    mine, stream = channel.credentials, channel.stream
    if mine is None:
        return stream
    stream.settimeout(SHAKE_S)
    name = None if serves else mine.name
    try:
        protected = _context(mine, serves=serves).wrap_socket(stream, server_side=serves, server_hostname=name)
    except (OSError, ValueError) as error:
        raise Unavailable(f"the stream of a disk's layers can't be protected: {error}") from error
    protected.settimeout(None)
    return protected


def _context(mine: Credentials, *, serves: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET
    if serves:
        context.num_tickets = 0
    context.load_verify_locations(cadata=mine.authority)
    # The key is in no file: ssl reads it from memory that has a name only here (memfd_create(2)).
    descriptor = os.memfd_create("wirt-migration", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(f"{mine.certificate}\n{mine.key}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context

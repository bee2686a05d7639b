"""A migration's stream under TLS where this host itself sends or takes what goes through it, and not its QEMU."""

from __future__ import annotations

import os
import socket
import ssl

from wirt.model.errors import Unavailable
from wirt.ports.migration import Channel, Credentials

HANDSHAKE_S = 20.0


def protected(channel: Channel, *, receives: bool) -> socket.socket:
    """``channel``'s stream, in which all is encrypted from now on; as it is where something protects it already.
    Waits. On an error it is closed."""
    credentials, stream = channel.credentials, channel.stream
    if credentials is None:
        return stream
    try:
        context = context_of(credentials, receives=receives)
        stream.settimeout(HANDSHAKE_S)
        name = None if receives else credentials.name
        return context.wrap_socket(stream, server_side=receives, server_hostname=name)
    except OSError as error:
        stream.close()
        raise Unavailable(f"a stream between the two hosts could not be protected: {error}") from error


def context_of(credentials: Credentials, *, receives: bool) -> ssl.SSLContext:
    """Of one side, which believes nobody but the other one of the same migration."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if receives else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    if receives:
        context.num_tickets = 0  # a sender that reads nothing would lose its last words by hanging up on them
    context.load_verify_locations(cadata=credentials.authority)
    descriptor = os.memfd_create("wirt-credentials", os.MFD_CLOEXEC)
    try:  # load_cert_chain takes files only, and these shall be on no disk
        os.write(descriptor, (credentials.certificate + credentials.key).encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context

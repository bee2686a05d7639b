"""TLS 1.3 between two hosts, each of which has the other's certificate and trusts nothing else.

Both sides must show a certificate. One counts only if it is, byte for byte, one that was laid down here: a
certificate that is pinned can't vouch for another. A host's name says nothing, so it is not looked at.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from wirt.model.peer import Certificate


def client(certificate: Path, key: Path, pinned: Certificate) -> ssl.SSLContext:
    """For calls to the one host that has ``pinned``."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, (pinned,))


def server(certificate: Path, key: Path, pinned: Iterable[Certificate]) -> ssl.SSLContext:
    """For hosts that call this one."""
    return _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, pinned)


def curious(certificate: Path, key: Path) -> ssl.SSLContext:
    """For a look at who answers, when it is not who should: nothing may be sent through it."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, ())
    context.verify_mode = ssl.CERT_NONE
    return context


def der(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.pem)


def _context(
    protocol: ssl._SSLMethod, certificate: Path, key: Path, pinned: Iterable[Certificate]
) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # Sessions are not resumed: who is not known any more must not get in on an old ticket.
    context.options |= ssl.OP_NO_TICKET
    if protocol is ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    text = "".join(each.pem for each in pinned)
    if text:
        context.load_verify_locations(cadata=text)
    return context

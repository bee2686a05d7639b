"""Wire types of other hosts; as in :mod:`wirt.wire.v1`, fields are only ever added."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class PeerSelf:
    """What a host says of itself to other hosts."""

    name: str
    wirt_version: str
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """``address`` is ``HOST`` or ``HOST:PORT``, ``certificate`` the other host's as PEM."""

    name: str
    address: str
    certificate: str


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """``fingerprint`` is the SHA-256 of its certificate, whose time ends at ``expires_at`` (seconds since the
    epoch)."""

    name: str
    address: str
    fingerprint: str
    expires_at: float
    certificate: str
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class PeerList:
    peers: list[PeerRecord]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """This host's, to be made known to others."""

    name: str
    fingerprint: str
    expires_at: float
    certificate: str
    api: str = VERSION

"""Other hosts that this one knows by their certificates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` is a name or a numeric address, IPv6 without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """``pem`` holds it and nothing else; ``name`` is what it says its host is called. ``fingerprint`` is the
    SHA-256 of its DER form, ``AB:CD:...`` as openssl prints it. Times are seconds since the epoch."""

    pem: str
    name: str
    fingerprint: str
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """``name`` is what it is called here, which may differ from what it calls itself."""

    name: str
    address: Address
    certificate: Certificate

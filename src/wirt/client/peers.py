"""Calls about other hosts. Answers are JSON objects as they came (:mod:`wirt.wire.v1_peers`)."""

from __future__ import annotations

from wirt.client import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wirt.client.api import Api
    from wirt.client.errors import Json


def listed(api: Api) -> Json:
    """A ``PeerList``."""
    return api.get("/v1/peers")


def add(api: Api, name: str, address: str, certificate: str) -> Json:
    """A ``PeerRecord``."""
    return api.post("/v1/peers", {"name": name, "address": address, "certificate": certificate})


def remove(api: Api, name: str) -> None:
    api.delete(f"/v1/peers/{http.quote(name)}")


def certificate(api: Api) -> Json:
    """An ``OwnCertificate``."""
    return api.get("/v1/peer-certificate")

"""Routes under ``/v1/peers``: which other hosts this one knows."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.reply import NO_CONTENT, reply
from wirt.model.peer import KnownPeer
from wirt.operations import peers
from wirt.operations.environment import Environment
from wirt.wire import v1_peers


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["peers"])

    @routes.get("/peers", response_model=v1_peers.PeerList)
    async def listed() -> Response:
        """All peers, by name."""
        return reply(v1_peers.PeerList([_record(peer) for peer in environment.known_peers]))

    @routes.post("/peers", response_model=v1_peers.PeerRecord)
    async def add(request: v1_peers.PeerRequest) -> Response:
        """Make another host known. From now on it may call, and can be reached by this name."""
        return reply(_record(await peers.add(environment, request.name, request.address, request.certificate)))

    @routes.delete("/peers/{name}", status_code=NO_CONTENT)
    async def remove(name: str) -> None:
        """Forget a peer. Its connections are closed."""
        await peers.remove(environment, name)

    @routes.get("/peer-certificate", response_model=v1_peers.OwnCertificate)
    async def certificate() -> Response:
        """This host's own certificate, made when it is first asked for."""
        own = await peers.own(environment)
        return reply(v1_peers.OwnCertificate(environment.machine.name, own.fingerprint, own.not_after, own.pem))

    return routes


def _record(peer: KnownPeer) -> v1_peers.PeerRecord:
    known = peer.certificate
    return v1_peers.PeerRecord(peer.name, str(peer.address), known.fingerprint, known.not_after, known.pem)

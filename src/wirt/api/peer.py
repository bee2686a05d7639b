"""What a host says of itself to others: the first that is asked."""

from __future__ import annotations

from fastapi import APIRouter, Response

import wirt
from wirt.api.reply import reply
from wirt.operations.environment import Environment
from wirt.wire import v1_peers


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/peer", tags=["peers"])

    @routes.get("", response_model=v1_peers.PeerSelf)
    async def peer() -> Response:
        """What this host is called, and which wirt it has."""
        return reply(v1_peers.PeerSelf(environment.machine.name, wirt.__version__))

    return routes

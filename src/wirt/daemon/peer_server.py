"""The second server of wirtd: the routes for other hosts, behind TLS with their certificates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from wirt.api.caller import CALLER
from wirt.api.peer_app import make_peer_app
from wirt.operations.environment import Environment
from wirt.peers.caller import KEEP_ALIVE_S
from wirt.peers.host import HostPeers

__all__ = ["KEEP_ALIVE_S", "serving_peers"]

END_S = 2.0


@asynccontextmanager
async def serving_peers(environment: Environment) -> AsyncIterator[None]:
    """Serves those peers that are known, as they are at each moment, for as long as this is open."""
    peers = environment.peers
    if not isinstance(peers, HostPeers):
        yield
        return
    config = uvicorn.Config(
        make_peer_app(environment),
        log_config=None,
        access_log=False,
        http="h11",
        ws="none",
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()
    state = ServerState()

    def protocol(peer: str) -> asyncio.Protocol:
        return H11Protocol(config, state, {CALLER: peer})

    await peers.serve(protocol)
    try:
        yield
    finally:
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=END_S)
        await peers.stop()

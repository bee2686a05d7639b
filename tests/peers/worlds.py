"""Two hosts that talk, in each of the ways there are; what answers at the other one is a handler of the test's."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from wirt.api import problems
from wirt.api.caller import caller
from wirt.model.peer import Address, KnownPeer
from wirt.peers.caller import KEEP_ALIVE_S
from wirt.peers.fake import FakeLinks
from wirt.peers.host import HostPeers, PeerSettings
from wirt.peers.ssh import Ssh
from wirt.ports.clock import SystemClock
from wirt.ports.peers import Peers

from .sshd import Sshd

Handler = Callable[[str, str, Any], Awaitable[Any]]


@dataclass
class World:
    """``near`` reaches ``far`` as ``target``; ``handlers`` holds what answers there. ``callers``: whom it knew
    each request to be from."""

    near: Peers
    far: Peers
    target: str
    handlers: list[Handler]
    callers: list[str | None]
    through_ssh: bool = False

    def serve(self, handler: Handler) -> None:
        self.handlers[:] = [handler]


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def settings(directory: Path, name: str, *, listen: Address | None, ssh: Ssh | None = None) -> PeerSettings:
    return PeerSettings(
        name=name,
        directory=directory / name / "peers",
        doors=directory / name / "doors",
        listen=listen,
        ports=range(41000, 41400),
        ssh=ssh or Ssh(),
    )


def app_of(handlers: list[Handler], callers: list[str | None]) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/peer")
    async def peer() -> Response:
        return Response(json.dumps({"name": "far", "wirt_version": "0"}), media_type="application/json")

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
    async def anything(path: str, request: Request) -> Response:
        callers.append(caller(request))
        body = await request.body()
        answer = await handlers[0](request.method, f"/{path}", json.loads(body) if body else None)
        return Response(json.dumps(answer), media_type="application/json")

    problems.install(app)
    return app


async def pin(one: HostPeers, name: str, address: Address, certificate: HostPeers) -> None:
    one.know([KnownPeer(name, address, await certificate.identity())])


@asynccontextmanager
async def serving(peers: HostPeers, app: FastAPI) -> AsyncIterator[None]:
    """As ``daemon/peer_server`` does it."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", http="h11", timeout_keep_alive=KEEP_ALIVE_S)
    config.load()
    state = ServerState()
    await peers.serve(lambda name: H11Protocol(config, state, {"peer": name}))
    try:
        yield
    finally:
        for connection in list(state.connections):
            connection.shutdown()
        await peers.stop()
        await asyncio.sleep(0)


@asynccontextmanager
async def tls_world(directory: Path) -> AsyncIterator[World]:
    address = Address("127.0.0.1", free_port())
    near = HostPeers(settings(directory, "near", listen=Address("127.0.0.1", free_port())))
    far = HostPeers(settings(directory, "far", listen=address))
    await pin(near, "over-there", address, far)
    await pin(far, "over-here", Address("127.0.0.1", 1), near)
    handlers: list[Handler] = []
    callers: list[str | None] = []
    async with serving(far, app_of(handlers, callers)):
        yield World(near, far, "over-there", handlers, callers)


@asynccontextmanager
async def ssh_world(directory: Path, sshd: Sshd) -> AsyncIterator[World]:
    """The far host's own socket, where its user's ``wirt relay`` finds it."""
    far_home = directory / "far-home"
    ssh = Ssh(program=str(sshd.ssh), remote=sshd.remote(far_home))
    near = HostPeers(settings(directory, "near", listen=None, ssh=ssh))
    far = HostPeers(settings(directory, "far", listen=None))
    handlers: list[Handler] = []
    callers: list[str | None] = []
    async with at_socket(far_home / "run" / "wirtd.sock", app_of(handlers, callers)):
        yield World(near, far, sshd.target, handlers, callers, through_ssh=True)
    await all_ended()


async def all_ended() -> None:
    """Every ssh process, each of which ends when both ends of its stream are closed."""
    async with asyncio.timeout(30.0):
        while any("Relay._listen" in repr(task) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


@asynccontextmanager
async def at_socket(path: Path, app: FastAPI) -> AsyncIterator[None]:
    """As the daemon serves its own host."""
    path.parent.mkdir(parents=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()
    config = uvicorn.Config(app, log_config=None, lifespan="off", http="h11", timeout_keep_alive=KEEP_ALIVE_S)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: H11Protocol(config, state, {}), sock=listening
    )
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await asyncio.sleep(0)


@asynccontextmanager
async def fake_world(*, through_ssh: bool) -> AsyncIterator[World]:
    links = FakeLinks(SystemClock())
    near, far = links.host("near"), links.host("far")
    handlers: list[Handler] = []

    async def handle(method: str, path: str, body: Any) -> Any:
        return await handlers[0](method, path, body)

    links.serve("far", handle)
    yield World(near, far, "ssh://root@far" if through_ssh else "far", handlers, [], through_ssh=through_ssh)

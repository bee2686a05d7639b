"""What other hosts may ask of this one. Everything else is for those who may use this host's own socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI, Request, Response

import wirt
from wirt.api import peer, problems
from wirt.operations.environment import Environment

log = structlog.get_logger()

CALLER = "peer"
"""The name of the state of a request that holds which peer it comes from, known by its certificate."""

PEER_ROUTES = (peer,)
"""They are in the host's own application too: through ssh, which ends at its socket, a host reaches those."""


def make_peer_app(environment: Environment) -> FastAPI:
    app = FastAPI(title="wirt", version=wirt.__version__, openapi_url=None, docs_url=None, redoc_url=None)
    for module in PEER_ROUTES:
        app.include_router(module.router(environment))
    problems.install(app)

    @app.middleware("http")
    async def told(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        """Who changed what, in the log."""
        response = await go_on(request)
        if request.method != "GET":
            log.info(
                "asked by a peer",
                peer=caller(request),
                method=request.method,
                path=request.url.path,
                status=response.status_code,
            )
        return response

    return app


def caller(request: Request) -> str | None:
    """The name, here, of the peer that calls; ``None`` for whoever came by the host's own socket."""
    found = getattr(request.state, CALLER, None)
    return found if isinstance(found, str) else None

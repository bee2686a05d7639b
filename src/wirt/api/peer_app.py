"""What other hosts may ask of this one. Everything else is for those who may use this host's own socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI, Request, Response

import wirt
from wirt.api import cpu, incoming, peer, problems
from wirt.api.caller import caller
from wirt.operations.environment import Environment

log = structlog.get_logger()

PEER_ROUTES = (peer, incoming, cpu)
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

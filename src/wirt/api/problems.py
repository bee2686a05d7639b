"""Every error that leaves the daemon, as RFC 9457 problem+json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from wirt.model import errors
from wirt.wire import v1

log = structlog.get_logger()

_STATUS: tuple[tuple[type[errors.WirtError], int], ...] = (
    (errors.BadInput, 422),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Shortage, 507),
    (errors.DeadlinePassed, 504),
    (errors.Unavailable, 503),
    (errors.HypervisorError, 502),
)


def status_of(error: errors.WirtError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem_of(error: errors.WirtError) -> v1.Problem:
    place = error if isinstance(error, errors.ConfigError) else None
    return v1.Problem(
        code=error.code,
        title=error.message,
        status=status_of(error),
        hint=error.hint,
        file=place.file if place else None,
        line=place.line if place else None,
        column=place.column if place else None,
        key=place.key if place else None,
    )


def respond(problem: v1.Problem, headers: Mapping[str, str] | None = None) -> Response:
    """In ASCII: a message may quote what was sent, and that may hold what no UTF-8 can."""
    content = json.dumps(asdict(problem)).encode()
    return Response(content, problem.status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    @app.exception_handler(errors.WirtError)
    async def deliberate(_: Request, error: errors.WirtError) -> Response:
        return respond(problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return respond(v1.Problem(code="bad-request", title=f"{where}: {first['msg']}", status=422))

    @app.exception_handler(HTTPException)
    async def unrouted(_: Request, error: HTTPException) -> Response:
        problem = v1.Problem(code="bad-request", title=str(error.detail), status=error.status_code)
        return respond(problem, error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("a request failed in a way that wirt does not know", path=request.url.path, exc_info=error)
        title = f"{type(error).__name__}: {error}"
        return respond(v1.Problem("internal", title, 500, hint="this is a fault in wirt: see wirtd.log"))

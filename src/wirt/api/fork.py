"""``/v1/domains/{ref}/fork``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.model.errors import BadInput
from wirt.operations import fork as forking
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire.v1_fork import ForkRequest


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/domains/{ref}", tags=["templates"])

    @routes.post("/fork", response_model=v1.Job)
    async def fork(ref: str, request: ForkRequest, wait: bool = False) -> Response:
        """Make running copies of a domain that runs: all of them or none."""
        wish = forking.ForkWish(request.count, request.name, _cables(request.network), request.paused)
        return await job_reply(environment, await forking.fork(environment, guest(ref), wish), wait)

    return routes


def _cables(word: str) -> forking.Cables:
    try:
        return forking.Cables(word)
    except ValueError:
        raise BadInput(f"{word!r} is no network for copies", hint="none or same") from None

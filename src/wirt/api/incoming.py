"""Routes under ``/v1/incoming``: what another host's daemon asks for while a domain moves here.

They are served to peers, who come by TLS, and at the unix socket, where ssh ends.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from wirt.api.caller import caller
from wirt.api.reply import NO_CONTENT, reply
from wirt.model.migration import Forecast, Receipt
from wirt.operations import incoming
from wirt.operations.environment import Environment
from wirt.operations.turns import may_come
from wirt.wire import v1_incoming as wire
from wirt.wire import v1_migrations


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/incoming", tags=["migration"])

    @routes.post("/terms", response_model=wire.Terms)
    async def terms(offer: wire.Offer) -> Response:
        """What speaks against taking a domain, and where its disks would be. Nothing is done."""
        return reply(await incoming.terms(environment, offer))

    @routes.post("", response_model=wire.Opened)
    async def prepare(offer: wire.Offer, request: Request) -> Response:
        """Make ready for a domain; answered once it is waited for."""
        through_ssh = caller(request) is None
        return reply(await incoming.prepare(environment, offer, through_ssh=through_ssh))

    @routes.get("/{handover}", response_model=wire.Standing)
    async def standing(handover: str, phase: str = "", wait_s: float = 0.0) -> Response:
        """How a hand-over stands, once that is no longer ``phase``."""
        return reply(await incoming.standing(environment, handover, phase, wait_s))

    @routes.get("/{handover}/turn", response_model=wire.Turn)
    async def turn(handover: str) -> Response:
        """Whether there is room for this move now. The place is kept for a while; else it is asked again."""
        return reply(may_come(environment, handover))

    @routes.post("/{handover}/still", status_code=NO_CONTENT)
    async def still(handover: str) -> Response:
        """The guest stands still where it is: from now on what is sent to it is to wait here."""
        await incoming.stands_still(environment, handover)
        return Response(status_code=NO_CONTENT)

    @routes.post("/{handover}/leave", response_model=wire.Standing)
    async def leave(handover: str, request: wire.Leave | None = None) -> Response:
        """The source stands still, and leaves it to this host to go on."""
        return reply(await incoming.give_leave(environment, handover, request))

    @routes.post("/{handover}/console", status_code=NO_CONTENT)
    async def console(handover: str, request: wire.ConsolePiece) -> Response:
        """What the guest has printed where it is, piece by piece."""
        await incoming.take_console(environment, handover, request)
        return Response(status_code=NO_CONTENT)

    @routes.post("/{handover}/abort", response_model=wire.Standing)
    async def abort(handover: str) -> Response:
        """The source wants its guest back: answered once it can have it, or never more."""
        return reply(await incoming.abort(environment, handover))

    @routes.post("/{handover}/receipt", status_code=NO_CONTENT)
    async def receipt(handover: str, request: v1_migrations.Receipt) -> Response:
        """The source knows how it ended."""
        await incoming.close(environment, handover, _receipt(request))
        return Response(status_code=NO_CONTENT)

    return routes


def _receipt(of: v1_migrations.Receipt) -> Receipt:
    values = {name: getattr(of, name) for name in Receipt.__dataclass_fields__ if name != "forecast"}
    names = Forecast.__dataclass_fields__
    forecast = None if of.forecast is None else Forecast(**{name: getattr(of.forecast, name) for name in names})
    return Receipt(**values, forecast=forecast)

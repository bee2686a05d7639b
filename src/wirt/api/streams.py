"""Websockets: the event stream, and consoles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic_core import to_json

from wirt.api import convert
from wirt.api.problems import problem_of
from wirt.model.errors import WirtError
from wirt.operations.environment import Environment
from wirt.operations.running import running
from wirt.ports.hypervisor import Console

REFUSED = 4000
"""Close code of a stream that could not be opened; its reason is a Problem's title (RFC 6455, 7.4.2)."""
MOST_TYPED_BYTES = 64 * 1024
REASON_BYTES = 120


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.websocket("/events")
    async def events(socket: WebSocket, after: int | None = None) -> None:
        # Taken before the handshake: a client that is told it is connected misses nothing from there on.
        position = environment.bus.seq if after is None else after
        await socket.accept()
        await _until_either(_send_events(socket, environment, position), _until_closed(socket))

    @routes.websocket("/domains/{ref}/console")
    async def console(socket: WebSocket, ref: str, offset: int = 0, follow: bool = True) -> None:
        await socket.accept()
        try:
            opened = environment.hypervisor.console(running(environment.domains.find(ref)).uuid)
            sending = _send_console(socket, opened, offset) if follow else _send_kept(socket, opened, offset)
            await _until_either(sending, _type(socket, opened))
        except WirtError as error:
            reason = problem_of(error).title.encode()[:REASON_BYTES].decode(errors="ignore")
            await socket.close(REFUSED, reason)

    return routes


async def _send_events(socket: WebSocket, environment: Environment, after: int) -> None:
    async for happening in environment.bus.follow(after):
        await socket.send_text(to_json(convert.event(happening)).decode())


async def _send_console(socket: WebSocket, console: Console, offset: int) -> None:
    async for chunk in console.follow(offset):
        await socket.send_bytes(chunk.data)
    await socket.close(1000, "the run has ended")


async def _send_kept(socket: WebSocket, console: Console, offset: int) -> None:
    """What is kept now, and then the end: a guest that prints on and on must not make this endless."""
    end = console.read(-1).offset
    while 0 <= offset < end:
        chunk = console.read(offset)
        data = chunk.data[: max(0, end - chunk.offset)]
        if not data:
            break  # it has become shorter: whoever took over the guest's QEMU can cut the log
        offset = chunk.offset + len(data)
        await socket.send_bytes(data)
    await socket.close(1000, "that is all that is kept")


async def _type(socket: WebSocket, console: Console) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes") or (message.get("text") or "").encode()
        await console.write(data[:MOST_TYPED_BYTES])


async def _until_closed(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _until_either(one: Awaitable[None], other: Awaitable[None]) -> None:
    """Run both until one ends; the other is stopped. What the first raised is raised here."""
    tasks = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

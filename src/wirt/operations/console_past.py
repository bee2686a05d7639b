"""What a guest printed on the host that it comes from: it goes along, so that its console begins where the guest
did and not where it arrived. The source sends what it has before memory, and the rest with its leave."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from wirt.model.errors import BadInput, WirtError
from wirt.operations.environment import Environment
from wirt.operations.handovers import MOST_PAST, Attempt
from wirt.ports.hypervisor import Console, ConsoleChunk
from wirt.wire.v1_incoming import ConsolePiece

if TYPE_CHECKING:
    from wirt.operations.migrate_link import Link

log = structlog.get_logger()

MOST_PIECE = 64 * 1024
"""The guest stands still while the last piece travels."""


@dataclass(slots=True)
class Telling:
    """What a guest has printed goes over beside its memory. ``sent``: up to which offset."""

    sent: int = 0
    _task: asyncio.Task[None] | None = None

    def begin(self, environment: Environment, uuid: UUID, link: Link) -> None:
        self._task = asyncio.create_task(self._send(environment, uuid, link))

    async def end(self) -> None:
        """What has not gone by now stays: nobody stands still for it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self, environment: Environment, uuid: UUID, link: Link) -> None:
        """All that is kept by now. What can't be sent is no reason to stay."""
        try:
            for chunk in kept_from(environment.hypervisor.console(uuid), 0):
                await link.console(_piece(chunk.offset, chunk.data))
                self.sent = chunk.offset + len(chunk.data)
        except (WirtError, OSError) as error:
            log.warning("what a guest has printed does not go along", domain=str(uuid), error=str(error))


def last_piece(environment: Environment, uuid: UUID, sent: int) -> ConsolePiece | None:
    """What a guest that stands still has printed since, or the end of that."""
    data, end = b"", sent
    try:
        for chunk in kept_from(environment.hypervisor.console(uuid), sent):
            data = data if chunk.offset == end else b""
            data, end = (data + chunk.data)[-MOST_PIECE:], chunk.offset + len(chunk.data)
    except (WirtError, OSError) as error:
        log.warning("a guest's last words do not go along", domain=str(uuid), error=str(error))
    return _piece(end - len(data), data) if data else None


def kept_from(console: Console, offset: int) -> Iterator[ConsoleChunk]:
    """What is kept from ``offset`` on and was there when this began, in pieces. A guest that has taken over its
    QEMU may cut the log, or fill it faster than anyone reads."""
    end = console.read(-1).offset
    offset = max(offset, end - MOST_PAST)
    while offset < end:
        chunk = console.read(offset)
        data = chunk.data[: min(MOST_PIECE, max(0, end - chunk.offset))]
        if not data or chunk.offset < offset:
            return
        yield ConsoleChunk(chunk.offset, data)
        offset = chunk.offset + len(data)


def _piece(offset: int, data: bytes) -> ConsolePiece:
    return ConsolePiece(offset, base64.b64encode(data).decode())


def take_piece(attempt: Attempt, piece: ConsolePiece) -> None:
    """``BadInput``: there is no such piece."""
    try:
        data = base64.b64decode(piece.data, validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadInput("what a guest has printed comes in a form that can't be right") from error
    if len(data) > MOST_PIECE or not 0 <= piece.offset < 1 << 60:
        raise BadInput("what a guest has printed comes in a form that can't be right")
    attempt.past.add(piece.offset, data)


def begin_console(environment: Environment, uuid: UUID, attempt: Attempt) -> None:
    """Of a guest that has arrived and does nothing yet."""
    past = attempt.past
    if not past.data:
        return
    try:
        environment.hypervisor.console(uuid).begin_from(past.offset, bytes(past.data))
    except WirtError as error:
        log.warning("what a guest printed before is not kept", domain=str(uuid), error=str(error))

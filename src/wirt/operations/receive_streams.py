"""What the receiving side asks the source to send before the guest: told with the answer to its offer, and taken
one stream after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from wirt.model.errors import DeadlinePassed
from wirt.operations.handovers import Attempt
from wirt.operations.running import EnvContext
from wirt.ports.migration import Channel, Credentials
from wirt.ports.peers import OpenDoor, Peers
from wirt.wire.v1_incoming import Certificates, Offer, Opened, OpenedDoor, WantedLayer

STREAM_S = 30.0
"""A source that was told where to send something does so within this."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Where streams come from for one job."""

    context: EnvContext
    attempt: Attempt
    offer: Offer
    peers: Peers


@dataclass(frozen=True, slots=True)
class Streams:
    _intake: Intake
    _door: OpenDoor
    _mine: Credentials | None

    async def next(self, what: str) -> Channel:
        try:
            stream = await self._door.accept(STREAM_S)
        except DeadlinePassed as error:
            raise DeadlinePassed(f"{self._intake.offer.source} does not send {what}") from error
        self._intake.attempt.tell(opened=None)  # it has heard where to; asked again, it is to hear what is next
        return Channel(stream, self._mine)


@asynccontextmanager
async def asked_for(
    intake: Intake, *, layers: Sequence[WantedLayer] = (), files: Sequence[str] = ()
) -> AsyncIterator[Streams]:
    """The source sends these, in this order."""
    context, attempt = intake.context, intake.attempt
    ssh = context.job.arguments["through-ssh"]
    mine, theirs = (None, None) if ssh else await intake.peers.credentials()
    door = await intake.peers.open_door(through_ssh=ssh, token=True)
    try:
        opened = Opened(
            job=context.job.id,
            memory=OpenedDoor(),
            certificates=None if theirs is None else Certificates(**asdict(theirs)),
            layers=OpenedDoor(door.door.port, door.door.path, door.door.token),
            wanted=list(layers),
            wanted_files=list(files),
        )
        attempt.tell(opened=asdict(opened))
        yield Streams(intake, door, mine)
    finally:
        door.close()
        attempt.tell(opened=None)

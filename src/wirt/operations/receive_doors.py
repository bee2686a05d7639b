"""Where a guest comes in from another host: doors, and who stands at them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, dataclass
from uuid import UUID

from wirt.model.errors import DeadlinePassed
from wirt.operations.hearing import SILENCE_S
from wirt.operations.running import EnvContext
from wirt.ports.migration import Channel, Credentials, LiveMigrations
from wirt.ports.peers import Door, OpenDoor, Peers
from wirt.wire.v1_incoming import Certificates, Offer, Opened, OpenedDoor


@dataclass(slots=True)
class Entrance:
    """``opened`` is what the source is told of it. Closed, nobody comes in any more, and whoever came and was not
    taken is sent away."""

    opened: Opened
    mine: Credentials | None
    _doors: list[OpenDoor]
    _memory: asyncio.Task[Channel]
    _taken: bool = False

    async def memory(self) -> Channel:
        """The caller's to close."""
        channel = await self._memory
        self._taken = True
        return channel

    async def serve(self, live: LiveMigrations, uuid: UUID, vdevs: tuple[str, ...]) -> None:
        """Have a guest that waits take its disks' contents, if there is a door for them."""
        if self.opened.disks is not None:
            await live.serve(uuid, vdevs, self._doors[-1].listener(), self.mine)

    async def close(self) -> None:
        self._memory.cancel()
        await asyncio.gather(self._memory, return_exceptions=True)
        if not self._taken and not self._memory.cancelled() and self._memory.exception() is None:
            self._memory.result().stream.close()
        for door in self._doors:
            door.close()


def comes_early(context: EnvContext, offer: Offer) -> bool:
    """Whether memory may be on its way before there is a hypervisor to take it. Some of it is kept for that
    (:data:`wirt.peers.tunnels.AHEAD_BYTES`); then the source's hypervisor waits. A disk needs somebody who takes
    it at once."""
    return offer.tunnels and not context.job.arguments["through-ssh"] and not context.job.arguments["copies"]


async def open_entrance(context: EnvContext, offer: Offer, peers: Peers) -> Entrance:
    arguments = context.job.arguments
    ssh = arguments["through-ssh"]
    async with contextlib.AsyncExitStack() as closing:
        mine, theirs = (None, None) if ssh else await peers.credentials()
        doors: list[OpenDoor] = []
        for token in (True, *((False,) if arguments["copies"] else ())):
            doors.append(await peers.open_door(through_ssh=ssh, token=token))
            closing.callback(doors[-1].close)
        closing.pop_all()
    tunnelled = offer.tunnels and mine is not None
    opened = Opened(
        job=context.job.id,
        memory=opened_door(doors[0].door),
        disks=opened_door(doors[1].door) if arguments["copies"] else None,
        certificates=None if theirs is None else Certificates(**asdict(theirs)),
        chained=list(arguments.get("chained", ())),
        tunnelled=tunnelled,
    )
    entering = asyncio.create_task(_let_in(doors[0], mine, peers if tunnelled else None))
    return Entrance(opened, mine, doors, entering)


def opened_door(door: Door) -> OpenedDoor:
    return OpenedDoor(door.port, door.path, door.token)


async def _let_in(door: OpenDoor, mine: Credentials | None, tunnel: Peers | None) -> Channel:
    while True:
        try:
            channel = Channel(await door.accept(SILENCE_S), mine)
            break
        except DeadlinePassed:
            continue  # disks may take hours before; whether the source lives is watched beside
    return channel if tunnel is None else Channel(await tunnel.tunnel(channel, receives=True), None)

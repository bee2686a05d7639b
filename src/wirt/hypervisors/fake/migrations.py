"""The port for moving guests, in memory: what a guest has in its memory goes through the very stream."""

from __future__ import annotations

import contextlib
import socket
from uuid import UUID

from wirt.hypervisors.fake.driver import FakeHypervisor
from wirt.hypervisors.fake.faults import Verb
from wirt.hypervisors.fake.guest import FakeGuest
from wirt.model.errors import HypervisorError, IllegalState
from wirt.model.lifecycle import State
from wirt.ports.migration import Channel, Course, Credentials, Phase, Report, Travelled
from wirt.ports.storage import Progress

_REST = b"\nthe rest\n"
_TURNS = 4


class FakeLiveMigrations:
    """Of the guests of one driver, and of its daemon. Guests remember what they are in the middle of, so that a
    new daemon finds it."""

    def __init__(self, hypervisor: FakeHypervisor) -> None:
        self._hypervisor = hypervisor
        self._clock = hypervisor.world.clock
        self._listeners: dict[UUID, socket.socket] = {}

    async def no_postcopy(self) -> str | None:
        return "a guest in memory has no post-copy"

    async def dirty_rate(self, domain: UUID, for_s: float) -> int:
        async with self._hypervisor.reach(Verb.DIRTY_RATE, domain) as guest:
            return int(guest.load * (1 << 20))

    async def send(self, domain: UUID, channel: Channel, course: Course, report: Report) -> Travelled:
        with contextlib.closing(channel.stream):
            async with self._hypervisor.reach(Verb.SEND, domain) as guest:
                if guest.travel is not None:
                    raise IllegalState(f"{guest.name} is on its way already")
                return await self._send(guest, channel.stream, report)

    async def _send(self, guest: FakeGuest, stream: socket.socket, report: Report) -> Travelled:
        size = guest.memory_mib << 20
        for turn in range(_TURNS):
            report(Travelled(Phase.COPYING, size, size * turn // _TURNS, size - size * turn // _TURNS, 1))
            await self._clock.sleep(0.01)
            self._hypervisor.check_alive()
            _check(guest, stream)
        guest.travel = guest.observed.state, stream.dup()
        guest.pause()
        standing = Travelled(Phase.STANDING, size, size, 4096, 2)
        report(standing)
        return standing

    async def go_over(self, domain: UUID) -> None:
        raise IllegalState("a guest in memory has no post-copy")

    async def finish(self, domain: UUID) -> Travelled:
        async with self._hypervisor.reach(Verb.FINISH, domain) as guest:
            if guest.travel is None:
                raise IllegalState(f"{guest.name} is not about to move")
            _, stream = guest.travel
            try:
                _check(guest, stream)
                stream.send(guest.state + _REST)
            except OSError as error:
                raise HypervisorError(f"{guest.name}: the stream is cut: {error.strerror}") from error
            finally:
                stream.close()
            for disk in tuple(guest.mirrors):
                guest.mirrors.discard(disk)
            guest.release_disks()
            size = guest.memory_mib << 20
            return Travelled(Phase.COMPLETED, size, size, 0, 2, downtime_ms=10, total_ms=50)

    async def delivered(self, domain: UUID, report: Report) -> Travelled:
        raise IllegalState("a guest in memory has no post-copy")

    async def back(self, domain: UUID) -> None:
        async with self._hypervisor.reach(Verb.BACK, domain) as guest:
            guest.mirrors.clear()
            if guest.travel is None:
                return
            state, stream = guest.travel
            guest.travel = None
            stream.close()
            if state is State.RUNNING and guest.observed.end is None:
                guest.resume()

    async def mirror(
        self,
        domain: UUID,
        vdev: str,
        channel: Channel,
        progress: Progress,
        *,
        bytes_per_s: int | None = None,
        top: bool = False,
    ) -> None:
        with contextlib.closing(channel.stream):
            async with self._hypervisor.reach(Verb.MIRROR, domain) as guest:
                guest.disks.find(vdev)
                for turn in range(_TURNS):
                    progress(turn / _TURNS)
                    await self._clock.sleep(0.01)
                    self._hypervisor.check_alive()
                    _check(guest, channel.stream)
                guest.mirrors.add(vdev)

    async def serve(
        self, domain: UUID, vdevs: tuple[str, ...], listener: socket.socket, credentials: Credentials | None
    ) -> None:
        with contextlib.ExitStack() as closing:
            closing.callback(listener.close)
            async with self._hypervisor.reach(Verb.SERVE, domain) as guest:
                for vdev in vdevs:
                    guest.disks.find(vdev)
            closing.pop_all()
            self._listeners[domain] = listener

    async def receive(self, domain: UUID, channel: Channel, course: Course) -> Phase:
        stream = channel.stream
        with contextlib.ExitStack() as closing:
            closing.callback(stream.close)
            if domain in self._listeners:
                closing.callback(self._listeners.pop(domain).close)
            async with self._hypervisor.reach(Verb.RECEIVE, domain) as guest:
                stream.setblocking(False)
                data = b""
                while not data.endswith(_REST):
                    try:
                        more = stream.recv(65536)
                    except BlockingIOError:
                        await self._clock.sleep(0.005)
                        self._hypervisor.check_alive()
                        if guest.gone:
                            raise HypervisorError(f"{guest.name} ended while it was received") from None
                        continue
                    if not more:
                        guest.vanish("the stream was cut")
                        raise HypervisorError(f"{guest.name}: the stream was cut")
                    data += more
                try:
                    guest.begin_from(data.removesuffix(_REST))
                except HypervisorError as error:
                    guest.vanish(error.message)
                    raise
                return Phase.COMPLETED

    async def settle(self, domain: UUID) -> None:
        """Nothing of the way is kept."""


def _check(guest: FakeGuest, stream: socket.socket) -> None:
    if guest.gone:
        raise HypervisorError(f"{guest.name} ended while it was sent")
    try:
        if stream.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
            raise HypervisorError(f"{guest.name}: the stream is cut")
    except BlockingIOError:
        pass
    except OSError as error:
        raise HypervisorError(f"{guest.name}: the stream is cut: {error.strerror}") from error

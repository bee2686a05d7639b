"""Guests that move: sent and received, and back at every stage."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.hypervisors.fake.images import ImageLocks
from wirt.hypervisors.qemu.sending import FIRST_DOWNTIME_MS, allowed_ms
from wirt.model.devices import DiskFormat, DiskSpec, PortForward
from wirt.model.errors import HypervisorError, IllegalState, WirtError
from wirt.model.lifecycle import State
from wirt.model.memory import GivenMemory
from wirt.model.storage import Volume
from wirt.peers.certificates import for_one_migration
from wirt.ports.migration import Channel, Course, Phase, Travelled
from wirt.ports.virtual_clock import VirtualClock

from .conftest import FAKE, make_rig
from .rigs import FakeRig, QemuRig, Rig, Started, eventually, free_port, ready

real = pytest.mark.real
EVERY = [
    FAKE,
    pytest.param("qemu qemu", marks=real),
    pytest.param("qemu-7.2 qemu", marks=real),
    pytest.param("qemu qemu-7.2", marks=(real, pytest.mark.long)),
    pytest.param("qemu-7.2 qemu-7.2", marks=(real, pytest.mark.long)),
]
LONG = [
    pytest.param("qemu-7.2 qemu", marks=(real, pytest.mark.long)),
    pytest.param("qemu-7.2 qemu-7.2", marks=(real, pytest.mark.long)),
]
every_pair = pytest.mark.parametrize("pair", EVERY, indirect=True)
layers_pair = pytest.mark.parametrize("pair", [*EVERY[:2], *LONG], indirect=True)
new_pair = pytest.mark.parametrize("pair", [FAKE, pytest.param("qemu qemu", marks=real)], indirect=True)


@dataclass
class Pair:
    """Two hosts."""

    here: Rig
    there: Rig
    clock: VirtualClock | None

    async def waits(self, work: Awaitable[object]) -> object:
        """``work``'s result. Time goes by for those who only pretend."""
        task = asyncio.ensure_future(work)
        while not task.done():
            if self.clock is not None:
                await self.clock.advance(0.01)
            await asyncio.wait({task}, timeout=0.05)
        return task.result()

    async def guest(self, *volumes: Volume, reporting: bool = True) -> Started:
        """One that runs here, and remembers something."""
        specs = tuple(
            DiskSpec(vdev=f"xvd{letter}", target=volume.path, format=volume.format)
            for letter, volume in zip("ab", volumes, strict=False)
        )
        config = replace(self.here.config(), disks=specs, free_page_reporting=reporting)
        started = await self.here.start(config)
        await self.here.hypervisor.resume(started.domain)
        await ready(self.here, started.domain)
        await self.here.remember(started)
        return started

    async def place(self, started: Started, *volumes: Volume) -> Started:
        """Where it can go on, waiting for it."""
        config = started.config
        if volumes:
            disks = (
                replace(d, target=v.path, format=v.format) for d, v in zip(config.disks, volumes, strict=True)
            )
            config = replace(config, disks=tuple(disks))
        if config.vifs:
            forward = PortForward("tcp", config.vifs[0].forwards[0].guest_port, free_port())
            config = replace(config, vifs=(replace(config.vifs[0], forwards=(forward,)),))
        return await self.there.start(config, started.domain, incoming=True, given=started.given)


@pytest.fixture
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    places = [tmp_path / "here", tmp_path / "there"]
    for place in places:
        place.mkdir()
    rigs: list[Rig]
    if request.param == "fake":
        clock, images = VirtualClock(), ImageLocks()
        rigs = [FakeRig(place, clock, images) for place in places]
        made = Pair(rigs[0], rigs[1], clock)
    else:
        names = request.param.split()
        rigs = [make_rig(request, name, place) for name, place in zip(names, places, strict=True)]
        made = Pair(rigs[0], rigs[1], None)
    yield made
    for rig in rigs:
        await rig.close()


@dataclass
class Journey:
    """One under way: both ends, and where it can be cut."""

    pair: Pair
    started: Started
    there: Started
    ends: tuple[socket.socket, socket.socket]
    course: Course
    receiving: asyncio.Task[Phase]
    sender: Channel
    seen: list[Travelled]

    @classmethod
    async def begin(cls, pair: Pair, started: Started, course: Course | None = None, *volumes: Volume) -> Journey:
        there = await pair.place(started, *volumes)
        near, far = socket.socketpair()
        course = course or Course()
        ends = (near.dup(), far.dup())
        receiver, sender = for_one_migration()
        receive = pair.there.migrations.receive(started.domain, Channel(far, receiver), course)
        return cls(pair, started, there, ends, course, asyncio.create_task(receive), Channel(near, sender), [])

    async def send(self) -> Travelled:
        migrations = self.pair.here.migrations
        send = migrations.send(self.started.domain, self.sender, self.course, self.seen.append)
        found = await self.pair.waits(send)
        assert isinstance(found, Travelled)
        return found

    async def begin_to_send(self) -> asyncio.Task[Travelled]:
        """Under way, and far from its end if the course is slow."""
        sending = asyncio.create_task(self.send())
        while not self.seen:
            await asyncio.sleep(0.01)
            if self.pair.clock is not None:
                await self.pair.clock.advance(0.005)
        return sending

    async def finish(self) -> Travelled:
        found = await self.pair.waits(self.pair.here.migrations.finish(self.started.domain))
        assert isinstance(found, Travelled)
        assert await self.pair.waits(self.receiving) is Phase.COMPLETED
        return found

    async def arrive(self) -> None:
        await self.pair.there.hypervisor.resume(self.started.domain)
        await self.pair.here.hypervisor.destroy(self.started.domain)
        await self.pair.there.migrations.settle(self.started.domain)
        assert await self.pair.there.remembers(self.there)

    def cut(self) -> None:
        for end in self.ends:
            end.shutdown(socket.SHUT_RDWR)

    async def back(self) -> None:
        """The place is given up, and the guest is as it was."""
        await self.pair.there.hypervisor.destroy(self.started.domain)
        self.receiving.cancel()
        await asyncio.gather(self.receiving, return_exceptions=True)
        await self.pair.here.migrations.back(self.started.domain)
        assert await self.pair.here.remembers(self.started)


@every_pair
async def test_a_guest_arrives_with_its_memory_and_goes_on(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    standing = await journey.send()
    assert standing.phase is Phase.STANDING
    done = await journey.finish()
    assert done.phase is Phase.COMPLETED and done.total_bytes > 0
    await journey.arrive()
    await ready_again(pair, journey)


async def ready_again(pair: Pair, journey: Journey) -> None:
    """It is like any other run there: it can be paused, and move on."""
    await pair.there.migrations.settle(journey.started.domain)
    await pair.there.hypervisor.pause(journey.started.domain)
    await pair.there.hypervisor.resume(journey.started.domain)
    assert await pair.there.remembers(journey.there)


@new_pair
async def test_it_goes_on_here_if_it_is_called_back_while_it_stands(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    await journey.send()
    await journey.back()


@every_pair
async def test_it_goes_on_here_if_it_is_called_back_after_all_was_sent(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    await journey.send()
    await journey.finish()
    await journey.back()
    again = await Journey.begin(pair, journey.started)
    await again.send()
    await again.finish()
    await again.arrive()


@new_pair
async def test_a_stream_that_is_cut_leaves_it_here(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest(), Course(bytes_per_s=1 << 20))
    sending = await journey.begin_to_send()
    journey.cut()
    with pytest.raises(HypervisorError):
        await sending
    with pytest.raises(WirtError):
        await pair.waits(journey.receiving)
    await journey.back()


@new_pair
async def test_a_stream_that_is_cut_before_the_rest_leaves_it_here(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    await journey.send()
    journey.cut()
    with pytest.raises(HypervisorError):
        await journey.finish()
    await journey.back()


@new_pair
async def test_a_cancelled_send_leaves_it_here(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest(), Course(bytes_per_s=1 << 20))
    sending = await journey.begin_to_send()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    if pair.clock is not None:
        await pair.clock.advance(0.05)
    await journey.back()


@new_pair
async def test_another_daemon_finds_it_standing_and_takes_it_back(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    await journey.send()
    await journey.finish()
    await pair.here.lose_daemon()
    observed = await pair.here.hypervisor.adopt(journey.started.incarnation, journey.started.directory)
    assert observed is not None and observed.state is State.PAUSED
    await journey.back()


@new_pair
async def test_a_paused_guest_stays_paused(pair: Pair) -> None:
    started = await pair.guest()
    await pair.here.hypervisor.pause(started.domain)
    journey = await Journey.begin(pair, started)
    await journey.send()
    await journey.finish()
    await pair.there.hypervisor.destroy(started.domain)
    await pair.here.migrations.back(started.domain)
    status = [change.state for change in pair.here.changes.seen if change.domain == started.domain]
    assert status[-1] is State.PAUSED
    await pair.here.hypervisor.resume(started.domain)
    assert await pair.here.remembers(started)


@every_pair
async def test_a_disk_comes_along_byte_for_byte(pair: Pair) -> None:
    old = pair.here.image("old", 8 << 20, DiskFormat.RAW)
    Path(old.path).write_bytes((b"what the disk holds" * 1000).ljust(8 << 20, b"\0"))
    new = pair.there.image("new", 8 << 20, DiskFormat.RAW)
    started = await pair.guest(old)
    there = await carry(pair, started, new)
    assert await pair.there.remembers(there)
    if pair.clock is None:
        await pair.there.hypervisor.destroy(started.domain)
        assert Path(old.path).read_bytes() == Path(new.path).read_bytes()


@layers_pair
async def test_of_a_disk_that_stands_on_the_same_there_only_its_own_comes_along(pair: Pair) -> None:
    bases = [rig.image("base", 8 << 20, DiskFormat.RAW) for rig in (pair.here, pair.there)]
    for base in bases:
        Path(base.path).write_bytes(b"what the base is" * ((8 << 20) // 16))
    old = pair.here.image("old", 8 << 20, DiskFormat.QCOW2, bases[0])
    new = pair.there.image("new", 8 << 20, DiskFormat.QCOW2, bases[1])
    started = await pair.guest(old)
    if isinstance(pair.here, QemuRig):
        assert "ok=1" in await pair.here.command(started, f"disk-write vda {1 << 20} {1 << 20} 7", 30.0)
    there = await carry(pair, started, new, top=True)
    assert await pair.there.remembers(there)
    if isinstance(pair.there, QemuRig):
        assert "ok=1" in await pair.there.command(there, f"disk-verify vda {1 << 20} {1 << 20} 7", 30.0)
        await pair.there.hypervisor.destroy(started.domain)
        compare = ("qemu-img", "compare", old.path, new.path)
        await asyncio.to_thread(subprocess.run, compare, check=True, capture_output=True)
        assert Path(new.path).stat().st_blocks * 512 < 4 << 20


async def carry(pair: Pair, started: Started, new: Volume, *, top: bool = False) -> Started:
    """The guest and its disk, into ``new``; it goes on there."""
    there = await pair.place(started, new)
    course, (near, far) = Course(), socket.socketpair()
    receiver, sender = for_one_migration()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    address = listener.getsockname()
    await pair.there.migrations.serve(started.domain, ("xvda",), listener, receiver)
    channel = Channel(socket.create_connection(address), sender)
    await pair.waits(pair.here.migrations.mirror(started.domain, "xvda", channel, lambda share: None, top=top))
    receive = pair.there.migrations.receive(started.domain, Channel(far, receiver), course)
    receiving = asyncio.create_task(receive)
    await pair.waits(pair.here.migrations.send(started.domain, Channel(near, sender), course, lambda now: None))
    await pair.waits(pair.here.migrations.finish(started.domain))
    assert await pair.waits(receiving) is Phase.COMPLETED
    await pair.there.hypervisor.resume(started.domain)
    await pair.here.hypervisor.destroy(started.domain)
    return there


@new_pair
async def test_one_that_is_on_its_way_does_not_set_out_again(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    await journey.send()
    near, far = socket.socketpair()
    with pytest.raises(IllegalState):
        await pair.here.migrations.send(journey.started.domain, Channel(near, None), Course(), lambda now: None)
    far.close()
    await journey.back()


@pytest.mark.parametrize("pair", [pytest.param("qemu qemu", marks=real)], indirect=True)
async def test_nothing_of_the_certificates_stays(pair: Pair) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    await journey.send()
    await journey.finish()
    await journey.arrive()
    await eventually(lambda: not list((journey.there.directory / "credentials").iterdir()))


@pytest.mark.parametrize(
    "pair",
    [pytest.param("qemu-unjailed qemu-unjailed", marks=real), pytest.param("qemu qemu", marks=real)],
    indirect=True,
)
async def test_a_guest_goes_over_early_and_fetches_the_rest_or_it_is_said_why_not(pair: Pair) -> None:
    why = await pair.there.migrations.no_postcopy()
    if why is not None:
        assert "sysctl" in why
        return
    journey = await Journey.begin(pair, await pair.guest(), Course(bytes_per_s=20 << 20, postcopy=True))
    sending = asyncio.create_task(journey.send())
    while not any(now.phase is Phase.COPYING for now in journey.seen):
        await asyncio.sleep(0.02)
    await pair.here.migrations.go_over(journey.started.domain)
    assert (await sending).phase is Phase.STANDING
    found = await pair.here.migrations.finish(journey.started.domain)
    assert found.phase is Phase.POSTCOPY
    assert await journey.receiving is Phase.POSTCOPY
    with pytest.raises(IllegalState):
        await pair.here.migrations.back(journey.started.domain)
    await pair.there.hypervisor.resume(journey.started.domain)
    delivered = await pair.here.migrations.delivered(journey.started.domain, journey.seen.append)
    assert delivered.phase is Phase.COMPLETED
    await pair.here.hypervisor.destroy(journey.started.domain)
    assert await pair.there.remembers(journey.there)


@pytest.mark.parametrize("pair", [pytest.param("qemu-7.2 qemu-7.2", marks=real)], indirect=True)
async def test_a_guest_that_an_old_qemu_would_forget_pages_of_moves_only_while_it_is_paused(pair: Pair) -> None:
    started = await pair.here.start(pair.here.config(), given=GivenMemory(padding_kib=0))
    await pair.here.hypervisor.resume(started.domain)
    journey = await Journey.begin(pair, started)
    with pytest.raises(IllegalState, match="would lose some of its memory"):
        await journey.send()
    await pair.there.hypervisor.destroy(started.domain)
    await asyncio.gather(journey.receiving, return_exceptions=True)
    await pair.here.hypervisor.pause(started.domain)
    journey = await Journey.begin(pair, started)
    await journey.send()
    assert (await journey.finish()).phase is Phase.COMPLETED


@given(rounds=st.integers(0, 200), most_ms=st.integers(1, 2_000_000))
def test_a_guest_may_stand_still_longer_with_each_round_that_did_not_do(rounds: int, most_ms: int) -> None:
    allowed = allowed_ms(rounds, most_ms)
    assert 0 < allowed <= most_ms
    assert allowed <= allowed_ms(rounds + 1, most_ms)
    assert allowed_ms(0, most_ms) == min(most_ms, FIRST_DOWNTIME_MS)
    assert allowed_ms(30, most_ms) == most_ms

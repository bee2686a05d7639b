"""Links in memory fail as they are told to, and only so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wirt.model.errors import PeerUnreachable
from wirt.peers.fake import FakeLinks, FakePeer, Kind
from wirt.ports.clock import SystemClock
from wirt.ports.virtual_clock import VirtualClock, settle


class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, method: str, path: str, body: Any) -> Any:
        self.count += 1
        return self.count


async def linked(links: FakeLinks, counter: Counter) -> FakePeer:
    links.serve("far", counter)
    return await links.host("near").reach("far")


@pytest.mark.parametrize(
    ("kind", "effects", "cut"),
    [
        (Kind.LOST_BEFORE, 0, False),
        (Kind.LOST_AFTER, 1, False),
        (Kind.CUT_BEFORE, 0, True),
        (Kind.CUT_AFTER, 1, True),
    ],
)
async def test_a_fault_befalls_the_call_it_is_meant_for(kind: Kind, effects: int, cut: bool) -> None:
    links, counter = FakeLinks(SystemClock()), Counter()
    peer = await linked(links, counter)
    links.inject(kind, "POST", "/commit")
    await peer.call("GET", "/commit")
    await peer.call("POST", "/other")
    assert counter.count == 2
    with pytest.raises(PeerUnreachable):
        await peer.call("POST", "/v1/commit", {})
    assert counter.count == 2 + effects
    assert links.is_cut("near", "far") is cut
    links.mend("near", "far")
    await peer.call("POST", "/v1/commit", {})


async def test_a_call_that_is_under_way_when_the_link_is_cut_is_lost_and_has_its_effect() -> None:
    links, going, go_on, done = FakeLinks(SystemClock()), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(method: str, path: str, body: Any) -> Any:
        going.set()
        await go_on.wait()
        done.set()

    links.serve("far", slow)
    peer = await links.host("near").reach("far")
    call = asyncio.create_task(peer.call("POST", "/x"))
    await going.wait()
    links.cut("near", "far")
    with pytest.raises(PeerUnreachable):
        await call
    go_on.set()
    await asyncio.wait_for(done.wait(), 30.0)


async def test_streams_end_when_their_link_is_cut_and_others_go_on() -> None:
    links = FakeLinks(SystemClock())
    ends = []
    for name in ("far", "other"):
        links.serve(name, Counter())
        door = await links.host(name).open_door(through_ssh=False, token=True)
        peer = await links.host("near").reach(name)
        ends.append((await peer.stream(door.door), await door.accept(30.0)))
    links.cut("far", "near")
    (out, inner), (out2, inner2) = ends
    assert out.recv(1) == b""
    assert inner.recv(1) == b""
    out2.sendall(b"x")
    assert inner2.recv(1) == b"x"
    for stream in (out, inner, out2, inner2):
        stream.close()


async def test_deadlines_and_delays_are_the_clocks() -> None:
    clock = VirtualClock()
    links, counter = FakeLinks(clock), Counter()
    peer = await linked(links, counter)
    links.inject(Kind.DELAYED, delay_s=5.0)
    call = asyncio.create_task(peer.call("POST", "/x"))
    await clock.advance(4.9)
    assert not call.done()
    await clock.advance(0.2)
    await settle()
    assert await call == 1


async def test_a_host_without_a_daemon_can_not_be_reached() -> None:
    links, counter = FakeLinks(SystemClock()), Counter()
    peer = await linked(links, counter)
    links.serve("far", None)
    with pytest.raises(PeerUnreachable):
        await peer.call("GET", "/x")
    with pytest.raises(PeerUnreachable):
        await links.host("near").reach("far")

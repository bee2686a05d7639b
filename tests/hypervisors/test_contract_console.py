"""A guest's console: kept from its first byte, in bounds, for any number of readers, and never a brake."""

from __future__ import annotations

import asyncio

import pytest

from wirt.hypervisors.fake import FakeGuest
from wirt.model.errors import IllegalState
from wirt.ports.hypervisor import Console

from .rigs import FakeRig, Rig


async def whole(console: Console, offset: int = 0) -> tuple[int, bytes]:
    """All that a reader from ``offset`` gets until the end, and where that began."""
    chunks = [chunk async for chunk in console.follow(offset)]
    ends = [chunk.offset + len(chunk.data) for chunk in chunks]
    assert [chunk.offset for chunk in chunks[1:]] == ends[:-1], "no gap and nothing twice"
    return (chunks[0].offset if chunks else offset), b"".join(chunk.data for chunk in chunks)


async def test_a_console_serves_many_readers_and_never_waits_for_a_slow_one(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain = started.domain
    console = rig.hypervisor.console(domain)
    readers = [asyncio.create_task(whole(console)) for _ in range(20)]
    slow = console.follow(0)
    await rig.hypervisor.resume(domain)
    first = await anext(slow)
    assert first.offset == 0, "from the first byte"
    # Long enough for the real one to come in many pieces; nobody needs to wait for it to be ready.
    end = len(first.data) if isinstance(rig, FakeRig) else 4096
    async for chunk in console.follow(0):
        if chunk.offset + len(chunk.data) >= end:
            break
    await rig.hypervisor.destroy(domain)
    texts = await asyncio.gather(*readers)
    assert len(set(texts)) == 1
    offset, text = texts[0]
    assert offset == 0
    assert len(text) >= end
    last = b"".join([chunk.data async for chunk in slow])
    assert text.endswith(last), "the slow one gets the rest in its own time"
    assert (await whole(console, 7))[1] == text[7:]
    assert (await whole(console, len(text) + 99))[1] == b""
    assert (await whole(console, -1))[1] == b"", "from the end on there is nothing"
    with pytest.raises(IllegalState):
        await console.write(b"too late\n")


def flood(guest: FakeGuest) -> None:
    for line in range(10_000):
        guest.print(b"%08d\n" % line)


async def test_what_a_fake_console_keeps_is_bounded_and_offsets_go_on(fake_rig: FakeRig) -> None:
    fake_rig.world.on_boot = flood
    started = await fake_rig.start(fake_rig.config())
    await fake_rig.hypervisor.resume(started.domain)
    console = fake_rig.hypervisor.console(started.domain)
    chunk = console.read(0)
    assert chunk.offset == 90_000 - 64 * 1024
    assert chunk.offset + len(chunk.data) == 90_000
    assert chunk.data.endswith(b"00009999\n")
    assert console.read(89_991).data == b"00009999\n"


async def test_a_fake_guest_hears_what_is_typed(fake_rig: FakeRig) -> None:
    started = await fake_rig.start(fake_rig.config())
    guest = fake_rig.world.guest(started.domain)
    guest.console.answer = lambda typed: guest.print(b"you said " + typed)
    await fake_rig.hypervisor.resume(started.domain)
    await fake_rig.hypervisor.console(started.domain).write(b"hello\n")
    assert fake_rig.hypervisor.console(started.domain).read(0).data.endswith(b"you said hello\n")
    for _ in range(100):
        await fake_rig.hypervisor.console(started.domain).write(b"x" * 1000)
        guest.console.answer = None
    assert len(guest.console.typed) <= 4096

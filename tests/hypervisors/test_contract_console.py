"""A guest's console: kept from its first byte, in bounds, for any number of readers, and never a brake."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.hypervisors.fake import FakeGuest
from wirt.hypervisors.qemu import console as console_module
from wirt.hypervisors.qemu import logs
from wirt.model.errors import IllegalState
from wirt.plan.jail import Limits
from wirt.ports.hypervisor import Console
from wirt.sandbox import host as jail

from .rigs import FakeRig, QemuRig, Rig, ready


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


async def test_a_guest_that_came_here_begins_where_it_printed_last(rig: Rig) -> None:
    past = b"what it printed on another host\n" * 40
    started = await rig.start(rig.config())
    console = rig.hypervisor.console(started.domain)
    console.begin_from(1_000_000, past)
    chunk = console.read(0)
    assert (chunk.offset, chunk.data) == (1_000_000, past)
    await rig.hypervisor.resume(started.domain)
    await ready(rig, started.domain)
    with pytest.raises(IllegalState):
        console.begin_from(0, b"too late")
    await rig.lose_daemon()
    await rig.hypervisor.adopt(started.incarnation, started.directory)
    again = rig.hypervisor.console(started.domain)
    await rig.hypervisor.destroy(started.domain)
    offset, text = await whole(again)
    assert offset == 1_000_000 and text.startswith(past) and text.count(past) == 1
    assert text.count(b"wirt-tiny ready") == 1 and again.read(-1).offset == 1_000_000 + len(text)


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


@pytest.mark.real
async def test_what_is_typed_while_a_guest_boots_is_neither_lost_nor_costs_output(
    qemu_rig: QemuRig,
) -> None:
    """The socket is connected and left again and again meanwhile, and each byte of the log is there once."""
    started = await qemu_rig.start(qemu_rig.config())
    console = qemu_rig.hypervisor.console(started.domain)
    reader = asyncio.create_task(until(console, b"typed-in-all: 5"))
    await console.write(b"n=0\n")
    await qemu_rig.hypervisor.resume(started.domain)
    await ready(qemu_rig, started.domain)
    for _ in range(5):
        await console.write(b"n=$((n+1))\n")
        await asyncio.sleep(0.3)
    await console.write(b"echo typed-in-all: $n\n")
    text = await asyncio.wait_for(reader, 60)
    assert text.count(b"Linux version") == 1
    assert text == (started.directory / "console.log").read_bytes()[: len(text)]


@pytest.mark.real
async def test_a_console_goes_on_where_its_process_may_write_no_further(
    qemu_rig: QemuRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A second of a flood, for the reader as for the cut: so long may a busy machine keep this loop waiting.
    monkeypatch.setattr(logs, "RESTART_BYTES", 512 * 1024)
    monkeypatch.setattr(logs, "TRIM_S", 0.1)
    monkeypatch.setattr(console_module, "RING_BYTES", 512 * 1024)
    limit = 1024 * 1024
    lay = jail.lay_limits

    def lay_less(pid: int, limits: Limits, *, movable: bool) -> None:
        lay(pid, replace(limits, file_bytes=limit), movable=movable)

    monkeypatch.setattr(jail, "lay_limits", lay_less)
    started = await qemu_rig.start(qemu_rig.config())
    console = qemu_rig.hypervisor.console(started.domain)
    if f" {limit} " not in Path(f"/proc/{started.incarnation.pid}/limits").read_text():
        pytest.skip("needs a jail, whose limits these are: make setup (Debian: apt-get install bubblewrap)")
    await qemu_rig.hypervisor.resume(started.domain)
    await ready(qemu_rig, started.domain)
    reader = asyncio.create_task(until(console, b"1000000 was the last", console.read(-1).offset))
    await console.write(b"seq 800000 1000000; echo $((999999+1)) was the last\n")
    text = await asyncio.wait_for(reader, 120)
    assert console.read(-1).offset > limit, "more than it may write at a time"
    numbers = [int(line) for line in text.replace(b"\r", b"").split(b"\n") if line.isdigit()]
    # A cut may lose a few bytes, and make one number of two.
    assert sum(later < earlier for earlier, later in itertools.pairwise(numbers)) < 20
    assert len(numbers) > 199_000, "but for what was written in the moment of a cut"
    assert (started.directory / "console.log").stat().st_size < limit


async def until(console: Console, words: bytes, offset: int = 0) -> bytes:
    text = b""
    async for chunk in console.follow(offset):
        text += chunk.data
        if words in text:
            return text
    raise AssertionError(f"it ended: {text[-500:]!r}")

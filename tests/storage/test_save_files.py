"""Files that hold a guest: what is written is read again, and nothing else is taken for it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import struct
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wirt.model.errors import BadInput, CorruptState, HypervisorError, NameInUse, NotFound, Unavailable, WirtError
from wirt.plan import save_format as frame
from wirt.ports.hypervisor import MemoryStream
from wirt.ports.save_files import SaveFacts
from wirt.storage.save_files import HostSaveFiles
from wirt.storage.save_streams import Reader

HEADER, TAIL = b'{"who": "web"}', b'{"disks": []}'
FILES = HostSaveFiles()


def nothing(share: float) -> None:
    pass


def send(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


async def write(path: Path, content: bytes) -> SaveFacts:
    async def fill(descriptor: int) -> bytes:
        await asyncio.to_thread(send, descriptor, content)
        return TAIL

    return await FILES.write(str(path), HEADER, fill)


async def read(path: Path) -> bytes:
    async with FILES.memory(str(path), nothing) as stream:
        return await asyncio.to_thread(stream.file.readall)


def read_now(path: Path) -> bytes:
    """The same without an event loop: thousands of times."""
    reader, (reading, writing) = Reader(path), os.pipe()
    received = []

    def receive() -> None:
        with os.fdopen(reading, "rb") as pipe:
            received.append(pipe.read())

    receiver = threading.Thread(target=receive)
    receiver.start()
    try:
        import io

        reader.feed(io.FileIO(writing, "wb"), threading.Event(), nothing)
    finally:
        receiver.join()
    return received[0]


def memory(size: int, seed: int = 1) -> bytes:
    """Half of it can be packed."""
    return random.Random(seed).randbytes(size // 2) + bytes(size - size // 2)


@pytest.mark.parametrize("size", [0, 1, frame.CHUNK_BYTES - 1, frame.CHUNK_BYTES, 3 * frame.CHUNK_BYTES + 7])
async def test_what_was_written_is_read_again_and_is_smaller(tmp_path: Path, size: int) -> None:
    content = memory(size)
    facts = await write(tmp_path / "saved", content)
    assert await FILES.facts(str(tmp_path / "saved")) == facts
    assert (facts.header, facts.tail, facts.plain_bytes) == (HEADER, TAIL, size)
    assert facts.file_bytes == (tmp_path / "saved").stat().st_size
    assert (tmp_path / "saved").stat().st_mode & 0o077 == 0
    assert await read(tmp_path / "saved") == content
    if size > frame.CHUNK_BYTES:
        assert facts.file_bytes < size * 0.6


async def test_the_checksum_at_the_end_is_that_of_all_before_it(tmp_path: Path) -> None:
    await write(tmp_path / "saved", memory(5000))
    data = (tmp_path / "saved").read_bytes()
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]


async def test_a_file_that_was_cut_off_anywhere_is_told_so(tmp_path: Path) -> None:
    await write(tmp_path / "saved", memory(600))
    data = (tmp_path / "saved").read_bytes()
    for length in range(len(data)):
        (tmp_path / "saved").write_bytes(data[:length])
        with pytest.raises(CorruptState, match="cut off"):
            await FILES.facts(str(tmp_path / "saved"))


async def test_what_was_appended_is_noticed(tmp_path: Path) -> None:
    await write(tmp_path / "saved", memory(600))
    with (tmp_path / "saved").open("ab") as file:
        file.write(b"more")
    with pytest.raises(CorruptState):
        await FILES.facts(str(tmp_path / "saved"))


async def test_every_bit_that_is_another_is_noticed_before_all_was_read(tmp_path: Path) -> None:
    await write(tmp_path / "saved", memory(120))
    data = (tmp_path / "saved").read_bytes()
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        (tmp_path / "saved").write_bytes(broken)
        with pytest.raises(CorruptState, match="saved"):
            read_now(tmp_path / "saved")


async def test_chunks_that_changed_places_are_noticed(tmp_path: Path) -> None:
    """Also by whoever reads them before the end."""
    first, second = (random.Random(seed).randbytes(frame.CHUNK_BYTES) for seed in (1, 2))
    await write(tmp_path / "saved", first + second)
    data, at = bytearray((tmp_path / "saved").read_bytes()), frame.PREFIX.size + len(HEADER)
    size = frame.CHUNK.size + frame.CHUNK_BYTES
    data[at : at + 2 * size] = data[at + size : at + 2 * size] + data[at : at + size]
    (tmp_path / "saved").write_bytes(data)
    with pytest.raises(CorruptState, match=f"at byte {at}: a chunk's checksum"):
        read_now(tmp_path / "saved")


def forged(chunks: list[bytes], plain: int, header: bytes = HEADER, tail: bytes = TAIL) -> bytes:
    """A file whose checksums are all right, whoever made it."""
    data = frame.prefix(header) + b"".join(chunks)
    tail_at, data = len(data), data + frame.tail(tail)
    data += frame.end(len(chunks), plain, tail_at, len(data) + frame.END.size)
    return data + hashlib.sha256(data).digest()


def chunk(plain: int, packed: bytes, codec: int = frame.ZSTD, number: int = 0) -> bytes:
    return frame.chunk(number, codec, plain, packed) + packed


BOMB = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
UNSAID = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
HOSTILE = {
    "more than it says": [chunk(frame.CHUNK_BYTES, BOMB)],
    "less than it says": [chunk(5000, zstandard.compress(bytes(400)))],
    "of unsaid size": [chunk(1000, UNSAID)],
    "no zstd": [chunk(1000, b"nothing of the kind")],
    "two frames": [chunk(400, zstandard.compress(bytes(200)) * 2)],
    "another codec": [chunk(4, b"four", codec=7)],
    "larger than a chunk": [chunk(frame.CHUNK_BYTES + 1, bytes(frame.CHUNK_BYTES + 1), codec=frame.STORED)],
    "nothing": [chunk(0, b"")],
    "larger packed": [chunk(4, b"five5")],
}


@pytest.mark.parametrize("chunks", HOSTILE.values(), ids=HOSTILE)
async def test_a_chunk_with_the_right_checksum_is_not_believed(tmp_path: Path, chunks: list[bytes]) -> None:
    plain = min(frame.CHUNK_BYTES, struct.unpack_from(">I", chunks[0], 8)[0])
    (tmp_path / "saved").write_bytes(forged(chunks, plain))
    with pytest.raises(CorruptState):
        read_now(tmp_path / "saved")


async def test_numbers_that_lead_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    whole = forged([], 0)
    for field, value in ((8, 1 << 60), (16, 1 << 60), (24, 0), (24, 1 << 60), (24, len(whole)), (32, 1 << 60)):
        data = bytearray(whole)
        struct.pack_into(">Q", data, len(data) - frame.END.size + field, value)
        data[-32:] = hashlib.sha256(data[:-32]).digest()
        (tmp_path / "saved").write_bytes(data)
        with pytest.raises(CorruptState):
            await FILES.facts(str(tmp_path / "saved"))
    header = bytearray(whole)
    struct.pack_into(">I", header, 12, 0xFFFFFFFF)
    (tmp_path / "saved").write_bytes(header)
    with pytest.raises(CorruptState, match="header"):
        await FILES.facts(str(tmp_path / "saved"))


async def test_a_newer_version_is_told_apart(tmp_path: Path) -> None:
    data = bytearray(forged([], 0))
    struct.pack_into(">H", data, 8, 2)
    (tmp_path / "saved").write_bytes(data)
    with pytest.raises(CorruptState, match=r"version 2.*newer wirt"):
        await FILES.facts(str(tmp_path / "saved"))


@given(st.binary(max_size=400))
def test_whatever_else_a_file_holds_is_no_saved_guest(data: bytes) -> None:
    with pytest.raises(CorruptState):
        length, _ = frame.read_prefix(data, len(data), "it")
        frame.read_end(data[-frame.END.size :], len(data), length, "it")


async def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await FILES.facts(str(tmp_path / "absent"))
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(WirtError):
            await FILES.facts(str(path))


async def test_a_save_that_fails_leaves_no_file(tmp_path: Path) -> None:
    async def fail(descriptor: int) -> bytes:
        await asyncio.to_thread(send, descriptor, bytes(3 << 20))
        raise HypervisorError("it has ended")

    with pytest.raises(HypervisorError, match="it has ended"):
        await FILES.write(str(tmp_path / "saved"), HEADER, fail)
    assert list(tmp_path.iterdir()) == []


async def test_a_cancelled_save_leaves_no_file_and_no_thread(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def hang(descriptor: int) -> bytes:
        await asyncio.to_thread(send, descriptor, b"first")
        begun.set()
        await asyncio.Event().wait()
        return TAIL

    task = asyncio.create_task(FILES.write(str(tmp_path / "saved"), HEADER, hang))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
    for thread in threading.enumerate():
        if thread.name == "wirt-work":
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


async def test_a_full_disk_is_the_reason_that_is_told(tmp_path: Path) -> None:
    """Not what the hypervisor says when nobody reads its pipe any more."""

    async def fill(descriptor: int) -> bytes:
        try:
            await asyncio.to_thread(send, descriptor, memory(8 << 20))
        except BrokenPipeError as error:
            raise HypervisorError("its pipe broke") from error
        return TAIL

    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:
        with pytest.raises(WirtError, match="no room"):
            await FILES.write(str(tmp_path / "saved"), HEADER, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


async def test_a_reader_that_gives_up_is_told_why_if_it_is_the_file(tmp_path: Path) -> None:
    content = memory(4 << 20)
    await write(tmp_path / "saved", content)
    data = bytearray((tmp_path / "saved").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "saved").write_bytes(data)

    async def give_up(stream: MemoryStream) -> None:
        await asyncio.to_thread(stream.file.readall)
        raise HypervisorError("it makes no sense")

    with pytest.raises(CorruptState, match="checksum"):
        async with FILES.memory(str(tmp_path / "saved"), nothing) as stream:
            await give_up(stream)
    await write(tmp_path / "whole", content)
    with pytest.raises(HypervisorError, match="no sense"):
        async with FILES.memory(str(tmp_path / "whole"), nothing) as stream:
            await give_up(stream)


async def test_the_end_is_compared_though_nobody_reads_to_it(tmp_path: Path) -> None:
    await write(tmp_path / "saved", memory(4 << 20))
    async with FILES.memory(str(tmp_path / "saved"), nothing) as stream:
        assert await asyncio.to_thread(stream.file.read, 1) != b""
    data = bytearray((tmp_path / "saved").read_bytes())
    data[-1] ^= 1
    (tmp_path / "saved").write_bytes(data)
    with pytest.raises(CorruptState, match="checksum of all"):
        async with FILES.memory(str(tmp_path / "saved"), nothing) as stream:
            await asyncio.to_thread(stream.file.read, 1)


async def test_a_file_gets_its_name_once_and_takes_no_other_s_place_unasked(tmp_path: Path) -> None:
    part, path = tmp_path / ".web.part", tmp_path / "web"
    await FILES.check_new(str(path), replace=False)
    await write(part, b"one")
    await FILES.publish(str(part), str(path), replace=False)
    await FILES.publish(str(part), str(path), replace=False)
    assert [each.name for each in tmp_path.iterdir()] == ["web"]
    with pytest.raises(NameInUse):
        await FILES.check_new(str(path), replace=False)
    await write(part, b"two")
    with pytest.raises(NameInUse):
        await FILES.publish(str(part), str(path), replace=False)
    assert await read(path) == b"one"
    await FILES.check_new(str(path), replace=True)
    await FILES.publish(str(part), str(path), replace=True)
    await FILES.publish(str(part), str(path), replace=True)
    assert await read(path) == b"two"
    os.link(path, part)  # of a daemon that died between the two
    await FILES.publish(str(part), str(path), replace=False)
    assert [each.name for each in tmp_path.iterdir()] == ["web"]


async def test_a_place_where_nothing_can_be_written_is_told_before(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no directory"):
        await FILES.check_new(str(tmp_path / "absent" / "web"), replace=False)
    with pytest.raises(BadInput, match="no plain file"):
        await FILES.check_new(str(tmp_path), replace=True)
    with pytest.raises(Unavailable):
        await FILES.publish(str(tmp_path / "part"), str(tmp_path / "web"), replace=True)

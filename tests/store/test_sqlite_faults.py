"""The SQLite store when the machine fails it: no room, no permission, another process, kill -9."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wirt.model.errors import ResourceBusy, Shortage, Unavailable
from wirt.ports.store import Put
from wirt.ports.virtual_clock import VirtualClock
from wirt.store import open_sqlite_store

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs: run as root")

WRITER = """
import asyncio, sys
from pathlib import Path
from wirt.ports.clock import SystemClock
from wirt.ports.store import Put
from wirt.store import open_sqlite_store

async def main():
    store = await open_sqlite_store(Path(sys.argv[1]), SystemClock(), keep_revisions=100)
    entry = await store.get("left")
    number = 0 if entry is None else int(entry.value)
    while True:
        number += 1
        value = str(number).encode()
        await store.commit(Put("left", value), Put(f"numbers/{number % 50}", value * 100), Put("right", value))
        print(number, flush=True)

asyncio.run(main())
"""


# No room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "wirt-test", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        if subprocess.run(["umount", tmp_path], check=False).returncode:
            subprocess.run(["umount", "--lazy", tmp_path], check=True)
            pytest.fail("something still had a file open there")


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


@pytest.mark.root
@needs_root
async def test_a_full_disk_is_a_shortage_and_the_store_goes_on_when_there_is_room(
    small_disk: Path, clock: VirtualClock
) -> None:
    path = small_disk / "state.db"
    store = await open_sqlite_store(path, clock)
    await store.commit(Put("a", b"before"))
    ballast = fill(small_disk)
    before = await store.list("")

    for _ in range(3):
        with pytest.raises(Shortage) as failure:
            await store.commit(Put("a", b"x" * 50_000), Put("b", b""))
        assert str(path) in failure.value.message
        assert await store.list("") == before

    ballast.unlink()
    await store.commit(Put("a", b"after"))
    after = await store.list("")
    await store.close()

    store = await open_sqlite_store(path, clock)
    assert await store.list("") == after
    assert after.revision == before.revision + 1
    await store.close()


@pytest.mark.root
@needs_root
async def test_closing_on_a_full_disk_loses_nothing(small_disk: Path, clock: VirtualClock) -> None:
    path = small_disk / "state.db"
    store = await open_sqlite_store(path, clock)
    for n in range(20):
        await store.commit(Put(f"k{n}", bytes(4000)))
    before = await store.list("")
    ballast = fill(small_disk)
    await store.close()
    with pytest.raises(Shortage):  # the log could not be merged, and there is no room to look at it
        await open_sqlite_store(path, clock)

    ballast.unlink()
    store = await open_sqlite_store(path, clock)

    assert await store.list("") == before
    await store.close()


@pytest.mark.root
@needs_root
async def test_a_store_is_not_half_made_on_a_full_disk(small_disk: Path, clock: VirtualClock) -> None:
    ballast = fill(small_disk)
    with pytest.raises(Shortage):
        await open_sqlite_store(small_disk / "state.db", clock)
    assert {file.name for file in small_disk.iterdir()} <= {"ballast", "state.db.lock"}

    ballast.unlink()
    store = await open_sqlite_store(small_disk / "state.db", clock)
    await store.close()


@pytest.mark.root
@needs_root
async def test_a_lease_ends_when_there_is_room_again(small_disk: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(small_disk / "state.db", clock)
    lease = await store.grant(2)
    await store.commit(*(Put(f"{n}/{'k' * 400}", b"", lease=lease) for n in range(100)))
    ballast = fill(small_disk)
    await clock.advance(3)
    with pytest.raises(Shortage):
        await store.keep_alive(lease)
    assert len((await store.list("")).entries) == 100

    ballast.unlink()
    await clock.advance(1)
    await store.commit()

    assert (await store.list("")).entries == ()
    await store.close()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond ``size`` fails, as on a disk that does (EFBIG; SQLite sees an I/O error)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_an_input_output_error_is_a_shortage_and_writes_nothing(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "state.db"
    store = await open_sqlite_store(path, clock)
    for n in range(20):
        await store.commit(Put("a", b"%d" % n * 2000))
    before = await store.list("")
    with largest_file((tmp_path / "state.db-wal").stat().st_size + 5000):
        with pytest.raises(Shortage):
            await store.commit(Put("a", b"x" * 100_000))
        with pytest.raises(Shortage):
            await store.commit(Put("b", b"x" * 100_000))
    assert await store.list("") == before

    assert await store.commit(Put("a", b"after")) == before.revision + 1
    after = await store.list("")
    await store.close()

    store = await open_sqlite_store(path, clock)
    assert await store.list("") == after
    await store.close()


# No permission


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="wirt-") as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        yield Path(name)
        Path(name).chmod(0o700)


@pytest.mark.parametrize("exists", [False, True])
async def test_a_directory_that_is_read_only_is_named(directory: Path, clock: VirtualClock, exists: bool) -> None:
    with as_nobody():
        if exists:
            await (await open_sqlite_store(directory / "state.db", clock)).close()
            (directory / "state.db.lock").unlink()
        directory.chmod(0o500)
        with pytest.raises(Unavailable) as failure:
            await open_sqlite_store(directory / "state.db", clock)
    assert str(directory) in failure.value.message
    assert "Permission denied" in failure.value.message


async def test_a_file_that_is_read_only_is_named(directory: Path, clock: VirtualClock) -> None:
    with as_nobody():
        await (await open_sqlite_store(directory / "state.db", clock)).close()
        (directory / "state.db").chmod(0o400)
        with pytest.raises(Unavailable) as failure:
            await open_sqlite_store(directory / "state.db", clock)
    assert str(directory / "state.db") in failure.value.message


async def test_a_directory_that_is_not_there_is_named(tmp_path: Path, clock: VirtualClock) -> None:
    with pytest.raises(Unavailable, match="No such file or directory"):
        await open_sqlite_store(tmp_path / "missing" / "state.db", clock)


# Another process


async def start_writer(path: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE, env=environment
    )


async def acknowledged_before_kill(process: asyncio.subprocess.Process, count: int) -> int:
    """The last number that was acknowledged, of at least ``count`` in this run."""
    assert process.stdout is not None
    for _ in range(count):
        assert await process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    rest = (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    complete = [line for line in rest if line.endswith(b"\n")]
    return int(complete[-1]) if complete else -1


async def test_kill_9_takes_nothing_acknowledged_and_leaves_nothing_half_done(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "state.db"
    for count in (40, 170, 90):
        acknowledged = await acknowledged_before_kill(await start_writer(path), count)

        store = await open_sqlite_store(path, clock)
        left, right = await store.get("left"), await store.get("right")
        assert left is not None
        assert right is not None
        number = int(left.value)
        assert int(right.value) == number
        assert acknowledged <= number <= max(acknowledged, 0) + 1 or acknowledged == -1
        assert left.version == right.version == number
        newest = await store.get(f"numbers/{number % 50}")
        assert newest is not None
        assert newest.value == str(number).encode() * 100
        assert newest.modified == left.modified == (await store.list("")).revision == number + 1
        await store.close()


async def test_a_store_that_another_process_has_open_is_busy(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "state.db"
    process = await start_writer(path)
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        with pytest.raises(ResourceBusy) as failure:
            await open_sqlite_store(path, clock)
        assert str(path) in failure.value.message
        assert f"process {process.pid}" in failure.value.message
        assert await process.stdout.readline(), "the other process goes on"
    finally:
        process.kill()
        await process.communicate()

    await (await open_sqlite_store(path, clock)).close()


async def test_a_store_that_this_process_has_open_is_busy(tmp_path: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(tmp_path / "state.db", clock)

    with pytest.raises(ResourceBusy):
        await open_sqlite_store(tmp_path / "state.db", clock)

    await store.commit(Put("a", b""))
    await store.close()


OTHER_PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
try:
    connection.execute("BEGIN IMMEDIATE")
    print("has it", flush=True)
except sqlite3.OperationalError as error:
    print(error, flush=True)
sys.stdin.read()
"""


async def start_other_program(path: Path) -> tuple[asyncio.subprocess.Process, bytes]:
    """A program that is not wirt and wants to write to the file, and what came of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OTHER_PROGRAM,
        path,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, await process.stdout.readline()


async def test_other_programs_are_kept_out_of_an_open_store(tmp_path: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(tmp_path / "state.db", clock)

    process, answer = await start_other_program(tmp_path / "state.db")
    await process.communicate(b"")

    assert answer == b"database is locked\n"
    await store.commit(Put("a", b""))
    await store.close()


async def test_a_store_that_another_program_has_open_is_busy(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "state.db"
    await (await open_sqlite_store(path, clock)).close()
    process, answer = await start_other_program(path)
    assert answer == b"has it\n"

    with pytest.raises(ResourceBusy, match="another program"):
        await open_sqlite_store(path, clock)

    await process.communicate(b"")
    await (await open_sqlite_store(path, clock)).close()

"""Logs that QEMU appends to: small on disk, whole in what they keep, and with offsets that never begin anew."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from wirt.hypervisors.qemu import logs
from wirt.hypervisors.qemu.logs import GrowingLog, Keeper, newest

from .rigs import eventually

KEEP = 64 * 1024
RESTART = 1024 * 1024
LINES = b"".join(b"%07d\n" % number for number in range(1 << 18))


class Writer:
    """Appends, as QEMU does."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.written = 0

    def write(self, size: int) -> None:
        os.write(self._descriptor, LINES[self.written : self.written + size])
        self.written += size

    def shorten(self) -> None:
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        os.close(self._descriptor)


def kept(log: GrowingLog) -> tuple[int, bytes]:
    """All that can be read, and where it begins."""
    first, text = log.read(0, KEEP)
    offset = first + len(text)
    while data := log.read(offset, KEEP)[1]:
        text += data
        offset += len(data)
    return first, text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


def test_a_log_is_bounded_on_disk_and_in_length_and_keeps_the_newest(path: Path) -> None:
    writer, log = Writer(path), GrowingLog(path, KEEP, restart_bytes=RESTART)
    chance = random.Random(1)
    longest = 0
    while writer.written < len(LINES) - 65536:
        writer.write(chance.randrange(1, 65536))
        log.trim()
        longest = max(longest, path.stat().st_size)
        assert path.stat().st_blocks * 512 <= KEEP + logs.STEP_BYTES + 65536
        first, text = kept(log)
        assert text == LINES[first : writer.written]
        assert len(text) >= min(writer.written, KEEP)
        assert log.end == writer.written
    assert longest < RESTART + 65536, "a process that may write no further is never silenced"
    writer.close()


def test_a_new_daemon_sees_the_same_offsets(path: Path) -> None:
    writer, log = Writer(path), GrowingLog(path, KEEP, restart_bytes=RESTART)
    for _ in range(30):
        writer.write(65536)
        log.trim()
        new = GrowingLog(path, KEEP, restart_bytes=RESTART)
        assert new.end == writer.written
        first, text = kept(new)
        assert text == LINES[first : writer.written]
        assert len(text) >= min(writer.written, KEEP)
    writer.close()


@pytest.mark.parametrize("at", ["copy", "cut", "rename"])
def test_a_daemon_that_dies_while_it_cuts_leaves_no_doubt(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    writer, log = Writer(path), GrowingLog(path, KEEP, restart_bytes=RESTART)
    writer.write(RESTART + 12345)

    class Died(Exception):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        if at == "copy":
            patched.setattr(os, "ftruncate", die)
        elif at == "cut":
            really = os.ftruncate

            def cut_and_die(descriptor: int, length: int) -> None:
                really(descriptor, length)
                raise Died

            patched.setattr(os, "ftruncate", cut_and_die)
        else:
            patched.setattr(Path, "replace", die)
        with pytest.raises(Died):
            log.trim()
    writer.write(100)
    new = GrowingLog(path, KEEP, restart_bytes=RESTART)
    assert new.end == writer.written
    first, text = kept(new)
    assert text == LINES[first : writer.written]
    assert len(text) >= KEEP
    new.trim()
    assert sorted(child.name for child in path.parent.iterdir()) == ["console.log", "console.log.old"]
    writer.close()


def test_no_room_for_the_copy_leaves_the_log_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, log = Writer(path), GrowingLog(path, KEEP, restart_bytes=RESTART)
    writer.write(RESTART)
    (path.parent / "console.log.restart").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        log.trim()
    assert path.stat().st_size == RESTART
    assert path.stat().st_blocks * 512 <= KEEP + 4096, "what is too old is given back all the same"
    (path.parent / "console.log.restart").rmdir()
    assert log.trim()
    assert path.stat().st_size == 0
    writer.close()


def test_a_log_that_its_writer_cuts_or_stretches_stops_nothing(path: Path) -> None:
    """A guest that has taken over its QEMU has the file open for writing."""
    writer, log = Writer(path), GrowingLog(path, KEEP, restart_bytes=RESTART)
    writer.write(500_000)
    log.trim()
    writer.shorten()
    assert log.read(450_000, KEEP) == (0, b"")
    log.trim()
    writer.write(1000)
    assert len(log.read(0, KEEP)[1]) == 1000
    os.truncate(path, 1 << 40)
    log.trim()
    assert path.stat().st_size == 0
    assert path.stat().st_blocks < 1000
    first, text = log.read(0, KEEP)
    assert (first, text) == ((1 << 40) - KEEP, bytes(KEEP))
    writer.close()


@pytest.mark.parametrize("damage", [b"", b"wirtlog1", b"garbage" * 100, b"wirtlog1" + b"\xff" * 8 + b"x" * 99])
def test_a_damaged_copy_is_not_believed(path: Path, damage: bytes) -> None:
    path.write_bytes(b"new")
    path.with_name("console.log.old").write_bytes(damage)
    log = GrowingLog(path, KEEP)
    assert log.read(0, 100) == (0, b"new")
    assert log.end == 3


def test_the_newest_of_a_log_goes_back_over_its_cut(path: Path) -> None:
    assert newest(path, 100) == b""
    writer, log = Writer(path), GrowingLog(path, KEEP, restart_bytes=RESTART)
    writer.write(1000)
    assert newest(path, 10) == LINES[990:1000]
    writer.write(RESTART)
    log.trim()
    writer.write(50)
    assert newest(path, 100) == LINES[writer.written - 100 : writer.written]
    assert newest(path, 20) == LINES[writer.written - 20 : writer.written]
    writer.close()


def test_room_that_was_kept_free_is_kept_again(path: Path) -> None:
    writer, log = Writer(path), GrowingLog(path, 1024, restart_bytes=4096, room_bytes=256 * 1024)
    writer.write(5000)
    log.trim()
    assert (path.stat().st_size, path.stat().st_blocks * 512) == (0, 256 * 1024)
    writer.close()


async def test_logs_are_trimmed_though_nobody_reads_them_and_one_is_not_there(path: Path, tmp_path: Path) -> None:
    writer = Writer(path)
    log = GrowingLog(path, KEEP, restart_bytes=RESTART)
    keeper = Keeper((GrowingLog(tmp_path / "missing", KEEP), log), every_s=0.02)
    keeper.start()
    for _ in range(16):
        writer.write(100_000)
        await asyncio.sleep(0.05)
    await eventually(lambda: path.stat().st_blocks * 512 <= KEEP + logs.STEP_BYTES)
    assert path.stat().st_size < RESTART + 200_000
    keeper.stop()
    writer.close()

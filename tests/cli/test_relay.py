"""``wirt relay``: every byte, both ways, whatever it is between."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from wirt.cli.relay import copy
from wirt.wire.relay import GREETING

DATA = os.urandom(3_000_000)
END_S = 60.0

Ends = tuple[int, int]


def pipe() -> Ends:
    readable, writable = os.pipe()
    return writable, readable


def sockets() -> Ends:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def terminal() -> Ends:
    """Of which the kernel can't splice."""
    import tty

    ours, theirs = os.openpty()
    tty.setraw(theirs)
    return ours, theirs


@pytest.mark.parametrize("source", [pipe, sockets])
@pytest.mark.parametrize("target", [pipe, sockets])
def test_what_goes_in_comes_out(source: Callable[[], Ends], target: Callable[[], Ends]) -> None:
    (writing, inner), (outer, reading) = source(), target()

    def write() -> None:
        view = memoryview(DATA)
        while view:
            view = view[os.write(writing, view) :]
        os.close(writing)

    def relay() -> None:
        copy(inner, outer)
        os.close(outer)

    threads = [Thread(target=write), Thread(target=relay)]
    for thread in threads:
        thread.start()
    came = bytearray()
    while piece := os.read(reading, 1 << 20):
        came += piece
    for thread in threads:
        thread.join()
    assert came == DATA
    for each in (inner, reading):
        os.close(each)


def test_a_source_that_the_kernel_can_not_splice_is_read_and_written() -> None:
    (ours, theirs), (outer, reading) = terminal(), pipe()
    thread = Thread(target=lambda: _until_error(theirs, outer))
    thread.start()
    os.write(ours, b"typed")
    assert os.read(reading, 5) == b"typed"
    os.close(ours)
    thread.join()
    for each in (theirs, outer, reading):
        os.close(each)


def _until_error(source: int, target: int) -> None:
    with contextlib.suppress(OSError):  # a terminal's end is an error (EIO)
        copy(source, target)


def test_the_end_of_standard_input_is_passed_on_and_the_answer_still_comes(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "door"))
        listening.listen()
        relay = subprocess.Popen(
            [sys.executable, "-m", "wirt.cli.main", "relay", str(home / "door")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ,
        )
        assert relay.stdin is not None
        assert relay.stdout is not None
        listening.settimeout(END_S)
        inner, _ = listening.accept()
        with inner:
            inner.settimeout(END_S)
            assert relay.stdout.read(len(GREETING)) == GREETING
            relay.stdin.write(b"question")
            relay.stdin.close()
            asked = b""
            while piece := inner.recv(100):
                asked += piece
            assert asked == b"question"
            inner.sendall(b"answer")
        assert relay.stdout.read() == b"answer"
        assert relay.wait(END_S) == 0


def test_it_ends_with_the_socket_though_standard_input_is_open(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "door"))
        listening.listen()
        relay = subprocess.Popen(
            [sys.executable, "-m", "wirt.cli.main", "relay", str(home / "door")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ,
        )
        listening.settimeout(END_S)
        listening.accept()[0].close()
        assert relay.wait(END_S) == 0
        assert relay.stdout is not None
        assert relay.stdout.read() == GREETING
        assert relay.stdin is not None
        relay.stdin.close()
        relay.stdout.close()


def test_a_door_that_is_not_there_is_told(home: Path) -> None:
    command = [sys.executable, "-m", "wirt.cli.main", "relay", str(home / "door")]
    done = subprocess.run(command, capture_output=True, env=os.environ, check=False, timeout=END_S)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"door" in done.stderr

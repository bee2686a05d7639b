"""What a QEMU that was taken over leaves behind: an exit status and last words of the guest's choice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from wirt.hypervisors.qemu import process


@pytest.mark.parametrize(("status", "words"), [(200, "signal 72"), (139, "signal SIGSEGV"), (3, "exit status 3")])
async def test_a_jailed_program_may_end_with_any_number(status: int, words: str, tmp_path: Path) -> None:
    """Above 128 the jail means a signal, and a guest that has taken its QEMU over chooses what it likes."""
    # What is watched is not the child itself, as in a jail.
    inside = sleeper()
    child = process.start(["/bin/sh", "-c", f"exit {status}"], (), tmp_path / "log")
    watched = process.watched(child, inside.pid)
    inside.kill()
    inside.wait()
    await watched.wait()
    assert watched.exit_words() == words


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"])


def test_last_words_are_printable_and_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b]0;x\x07 one\r\n\xff\xfe two \xe2\x80\xae\n" + b"y" * 100_000 + b"\n")
    words = process.last_words(log)
    assert words.isprintable()
    assert len(words) <= process.LAST_WORDS_BYTES

"""Processes of a lab are ended for good."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wirt.lab.processes import end

LISTEN = """
import socket, sys, time
held = bytearray(64 << 20)
with socket.socket(socket.AF_UNIX) as own:
    own.bind(sys.argv[1])
    own.listen()
    print("listens", flush=True)
    time.sleep(600)
"""


def test_nobody_answers_for_a_process_that_was_ended(tmp_path: Path) -> None:
    for number in range(5):
        path = str(tmp_path / f"s{number}")
        process = subprocess.Popen([sys.executable, "-S", "-c", LISTEN, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "listens\n"
        end(process.pid)
        with socket.socket(socket.AF_UNIX) as tried, pytest.raises(ConnectionRefusedError):
            tried.connect(path)
        process.returncode = 0  # reaped already


def test_a_process_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    end(process.pid)

"""Processes that are like many QEMUs to whoever counts: threads that run now and then, and a monitor that answers.

A program of its own, ended by the end of its standard input: ``python -m bench.rigs.crowd DIRECTORY COUNT VCPUS``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEAT_S = 0.25
"""Each thread runs so often, if only for a moment: none of them may be skipped as one that rested."""
DISKS = 2
_OPERATIONS = ("rd", "wr", "flush")
_GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 10}}, "capabilities": []}}


@contextlib.contextmanager
def crowd(directory: Path, count: int, vcpus: int) -> Iterator[dict[int, Path]]:
    """Each one's monitor, by its pid."""
    command = [sys.executable, "-m", "bench.rigs.crowd", str(directory), str(count), str(vcpus)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdin is not None and program.stdout is not None
    try:
        pids = json.loads(program.stdout.readline())
        yield {pid: directory / f"{number}.sock" for number, pid in enumerate(pids)}
    finally:
        program.stdin.close()
        program.wait(30)


def main(directory: Path, count: int, vcpus: int) -> None:
    pids = []
    for number in range(count):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / f"{number}.sock"))
        listener.listen()
        pid = os.fork()
        if pid == 0:
            _one(listener, vcpus)
            os._exit(0)
        listener.close()
        pids.append(pid)
    print(json.dumps(pids), flush=True)
    for pid in pids:
        os.waitpid(pid, 0)


def _one(listener: socket.socket, vcpus: int) -> None:
    threads = [threading.Thread(target=_beat, daemon=True) for _ in range(vcpus)]
    for thread in threads:
        thread.start()
    told = [thread.native_id for thread in threads]
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if listener not in readable:
            return
        connection, _ = listener.accept()
        threading.Thread(target=_talk, args=(connection, told), daemon=True).start()


def _beat() -> None:
    while True:
        time.sleep(BEAT_S)


def _talk(connection: socket.socket, threads: list[int | None]) -> None:
    stats = {f"{name}_{what}": 1 for name in _OPERATIONS for what in ("operations", "bytes", "total_time_ns")}
    answers: dict[str, Any] = {
        "query-cpus-fast": [{"cpu-index": at, "thread-id": tid} for at, tid in enumerate(threads)],
        "query-blockstats": [{"qdev": f"disk-xvd{'ab'[at]}-device", "stats": stats} for at in range(DISKS)],
        "query-balloon": {"actual": 128 << 20},
    }
    with connection, contextlib.suppress(OSError):
        connection.sendall(json.dumps(_GREETING).encode() + b"\n")
        while said := connection.recv(65536):
            # One question at a time, and no line breaks between them.
            asked = json.loads(said)
            answer = {"return": answers.get(asked["execute"], {}), "id": asked.get("id")}
            connection.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

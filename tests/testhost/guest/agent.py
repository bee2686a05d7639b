"""Runs commands in the test host for those outside. Standard library only; Python 3.11.

Both ways go JSON headers, one a line, each followed by as many bytes as its ``bytes`` says.

To here: ``{"id", "run": [argv], "cwd", "env", "timeout_s", "terminal": [rows, columns] or null, "bytes"}`` starts
a command; the bytes are its standard input, unless it has a terminal, into which ``{"id", "type": true, "bytes"}``
types. ``{"id", "end": true}`` kills it. ``{"id", "clock": seconds}`` sets the clock, which stood still in the
snapshot.
From here: ``{"id", "stream": "out" or "err", "bytes"}``, at last ``{"id", "code", "timed_out"}``.

Each command is in a control group of its own with the controllers handed down, as a service with Delegate= is
(Linux, Documentation/admin-guide/cgroup-v2.rst); the end of its time ends all that is in there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import IO, Any

CHUNK = 64 * 1024
ENTER = ("sh", "-c", 'echo 0 >"$0" && exec "$@"')
"""A command's way into its group, before it is itself."""
HOME = {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class Port:
    """The line to the world outside. Reading gives nothing while nobody is connected there."""

    def __init__(self, name: str) -> None:
        self._descriptor = os.open(port_named(name), os.O_RDWR | os.O_CLOEXEC)
        self._kept = b""
        self._lock = threading.Lock()

    def line(self) -> bytes:
        while b"\n" not in self._kept:
            self._kept += self._more()
        line, _, self._kept = self._kept.partition(b"\n")
        return line

    def data(self, size: int) -> bytes:
        parts = [self._kept[:size]]
        self._kept = self._kept[size:]
        missing = size - len(parts[0])
        while missing > 0:
            more = self._more()
            parts.append(more[:missing])
            self._kept = more[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def tell(self, header: dict[str, Any], data: bytes = b"") -> None:
        if data:
            header["bytes"] = len(data)
        rest = memoryview(json.dumps(header).encode() + b"\n" + data)
        with self._lock:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def _more(self) -> bytes:
        while not (data := os.read(self._descriptor, CHUNK)):
            time.sleep(0.05)
        return data


class Groups:
    """Control groups below the agent's own, which it leaves for a leaf so that they may have controllers."""

    def __init__(self) -> None:
        _, _, own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")
        self._base = Path("/sys/fs/cgroup") / own.removeprefix("/")
        leaf = self._base / "agent"
        leaf.mkdir(exist_ok=True)
        for pid in (self._base / "cgroup.procs").read_text().split():
            (leaf / "cgroup.procs").write_text(pid)
        names = (self._base / "cgroup.controllers").read_text().split()
        (self._base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))

    def make(self, name: str) -> Path:
        place = self._base / name
        place.mkdir()
        return place

    def remove(self, place: Path) -> None:
        """Groups that are empty; processes that a command left behind keep theirs."""
        for folder, _, _ in os.walk(place, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106


class Agent:
    def __init__(self, port: Port, groups: Groups) -> None:
        self._port = port
        self._groups = groups
        self._terminals: dict[int, int] = {}
        self._ending: dict[int, Path] = {}

    def serve(self) -> None:
        while True:
            try:
                request = json.loads(self._port.line())
                data = self._port.data(request.get("bytes", 0))
            except (ValueError, AttributeError):
                continue
            if "run" in request:
                threading.Thread(target=self._run, args=(request, data), daemon=True).start()
            elif "type" in request and request["id"] in self._terminals:
                with contextlib.suppress(OSError):
                    os.write(self._terminals[request["id"]], data)
            elif "end" in request and request["id"] in self._ending:
                kill(self._ending[request["id"]])
            elif "clock" in request:
                time.clock_settime(time.CLOCK_REALTIME, request["clock"])
                self._port.tell({"id": request["id"], "code": 0, "timed_out": False})

    def _run(self, request: dict[str, Any], data: bytes) -> None:
        number = request["id"]
        group = self._groups.make(f"command-{number}-{time.monotonic_ns()}")
        self._ending[number] = group
        try:
            code, timed_out = self._command(number, request, data, group)
        except OSError as error:
            self._port.tell({"id": number, "stream": "err"}, f"testhost: {error}\n".encode())
            code, timed_out = 127, False
        del self._ending[number]
        self._groups.remove(group)
        self._port.tell({"id": number, "code": code, "timed_out": timed_out})

    def _command(self, number: int, request: dict[str, Any], data: bytes, group: Path) -> tuple[int, bool]:
        options: dict[str, Any] = {
            "cwd": request["cwd"],
            "env": {**HOME, **request["env"]},
        }
        words = [*ENTER, str(group / "cgroup.procs"), *request["run"]]
        if request["terminal"] is None:
            pipe = subprocess.PIPE
            child = subprocess.Popen(
                words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, **options
            )
            assert child.stdin and child.stdout and child.stderr
            threads = [self._thread(feed, child.stdin, data)]
            threads += [self._thread(self._pump, number, "out", child.stdout.fileno())]
            threads += [self._thread(self._pump, number, "err", child.stderr.fileno())]
        else:
            child, terminal = self._in_terminal(words, request["terminal"], options)
            self._terminals[number] = terminal
            threads = [self._thread(self._pump, number, "out", terminal)]
        timed_out = False
        try:
            child.wait(request["timeout_s"])
        except subprocess.TimeoutExpired:
            timed_out = True
            kill(group)
            child.wait()
        for thread in threads:
            thread.join(2.0)  # what was left behind may hold the pipe open for ever
        if number in self._terminals:
            os.close(self._terminals.pop(number))
        return child.returncode, timed_out

    @staticmethod
    def _in_terminal(
        words: list[str], size: list[int], options: dict[str, Any]
    ) -> tuple[subprocess.Popen[bytes], int]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        child = subprocess.Popen(
            ["setsid", "--ctty", *words], stdin=theirs, stdout=theirs, stderr=theirs, **options
        )
        os.close(theirs)
        return child, ours

    def _pump(self, number: int, stream: str, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # a terminal's end is EIO
            while data := os.read(descriptor, CHUNK):
                self._port.tell({"id": number, "stream": stream}, data)

    @staticmethod
    def _thread(function: Any, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        return thread


def port_named(name: str) -> str:
    """Waits for it, and for no one else: udev's own names come later, and a unit that waits for them gives up."""
    while True:
        for place in Path("/sys/class/virtio-ports").glob("*"):
            with contextlib.suppress(OSError):
                if (place / "name").read_text().strip() == name:
                    return f"/dev/{place.name}"
        time.sleep(0.1)


def feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError), pipe:
        pipe.write(data)


def kill(group: Path) -> None:
    """Everything in there and below, at once (cgroup-v2.rst, cgroup.kill)."""
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")


if __name__ == "__main__":
    Agent(Port(sys.argv[1]), Groups()).serve()

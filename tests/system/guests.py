"""The tiny guest in a host's hands: its xl.cfg, its console as a person watches it, its answers to commands."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from wirt.images.tiny import TinyImage

from .host import Host

READY = b"wirt-tiny ready"
BOOT_S = 120.0
"""A boot takes 4 s under software emulation on an idle machine, and this one may not be idle."""
ECHO_PORT = 7
_ADDRESS = "10.0.2.15/24"
_TICK = re.compile(rb"tick (\d+) mono=")


def pvh(tiny: TinyImage, name: str, *, cmdline: str = "", more: str = "", vif: str | None = None) -> str:
    """An xl.cfg that enters the kernel directly. It answers on a free port of the loopback, unless ``vif`` says
    otherwise."""
    vif = f"net=user,ip={_ADDRESS},forward=tcp:{ECHO_PORT}" if vif is None else vif
    return f"""
name = "{name}"
type = "pvh"
kernel = "{tiny.kernel}"
ramdisk = "{tiny.initramfs}"
cmdline = "console=ttyS0 ip={_ADDRESS} {cmdline}"
memory = 96
vif = ["{vif}"]
{more}
"""


def hvm(disk: Path, name: str, *, more: str = "") -> str:
    """An xl.cfg that boots ``disk`` through its firmware."""
    return f"""
name = "{name}"
type = "hvm"
memory = 128
disk = ["{disk},qcow2,hda,rw"]
vif = ["net=user,ip={_ADDRESS},forward=tcp:{ECHO_PORT}"]
{more}
"""


def silent(tiny: TinyImage, name: str, more: str = "") -> str:
    """A guest that nobody needs to come up: it is there, and that is all."""
    return pvh(tiny, name, vif="net=none", more=more)


def fake(name: str, more: str = "") -> str:
    """For the fake hypervisor. Any file serves as a kernel."""
    return f'name = "{name}"\ntype = "pvh"\nkernel = "/etc/passwd"\nmemory = 128\n{more}\n'


class Watch:
    """``wirt console NAME``, kept open, and all that it has printed so far."""

    def __init__(self, host: Host, *words: str) -> None:
        self._host = host
        self._words = words
        self.output = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the rest)

    def __enter__(self) -> Self:
        self.process = self._host.spawn(
            "wirt", *self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=20)
        self._reader.join(timeout=20)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read(self, stream: IO[bytes]) -> None:
        while data := stream.read1(65536):  # type: ignore[attr-defined]
            self.output += data

    def until(self, words: bytes, *, count: int = 1, within_s: float = BOOT_S) -> bytes:
        """All output, once ``words`` are in it ``count`` times."""
        deadline = time.monotonic() + within_s
        while self.output.count(words) < count:
            assert time.monotonic() < deadline, f"never {words!r} on the console: {self.tail()}"
            ended = self.process.poll() is not None and not self._reader.is_alive()
            assert not ended or self.output.count(words) >= count, (
                f"no {words!r} before its end: {self.tail()}{self._host.daemon_log()}"
            )
            time.sleep(0.03)
        return self.output

    def does(self, *commands: str) -> None:
        """Type them at the guest's shell; returns once it has done them. The word that says so is put together by
        the guest: what is typed is echoed."""
        number = len(self.output)
        self.type("; ".join(commands) + f"; echo did-$(({number}+1))-it\n")
        self.until(b"did-%d-it" % (number + 1))

    def end(self, within_s: float = BOOT_S) -> int:
        """Its exit code, once it has ended by itself."""
        code = self.process.wait(timeout=within_s)
        self._reader.join(timeout=20)
        return code

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def tail(self) -> str:
        """How its output begins and ends: what came in answer to typing may be long ago in a guest that ticks."""
        shown = self.output if len(self.output) < 4000 else self.output[:2000] + b"\n...\n" + self.output[-2000:]
        return (shown + b"\n" + self.errors()).decode(errors="replace")

    def errors(self) -> bytes:
        """What it told on standard error."""
        return os.pread(self._errors.fileno(), 64 * 1024, 0)


def watch(host: Host, name: str) -> Watch:
    return Watch(host, "console", name)


def kept_console(host: Host, name: str) -> bytes:
    """``wirt console --no-follow``: what is kept, from the first byte."""
    return host.ok("console", "--no-follow", name).out.encode()


def ticks(console: bytes) -> list[int]:
    """The numbers of the ticks on a console, whole lines only."""
    return [int(number) for number in _TICK.findall(console[: console.rfind(b"\n") + 1])]


def port_of(host: Host, name: str) -> int:
    """The host's port that leads to the guest's echo service."""
    forwards = host.domain(name)["vifs"][0]["forwards"]
    assert len(forwards) == 1, forwards
    return int(forwards[0]["host_port"])


def ask(port: int, line: str, address: str = "127.0.0.1") -> str:
    """The first line that comes back from the echo service for ``line``."""
    with socket.create_connection((address, port), timeout=30) as connection, connection.makefile("rb") as answer:
        connection.sendall(line.encode() + b"\n")
        return answer.readline().decode().strip()


def command(host: Host, name: str, words: str) -> None:
    """Tell a guest to do something that it may not live to answer."""
    with contextlib.suppress(OSError):
        ask(port_of(host, name), f"wirt {words}")

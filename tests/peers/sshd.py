"""An ssh server of the tests' own, on a loopback port, with keys that were made for it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
START_S = 30.0
SERVER = "/usr/sbin/sshd"

SERVER_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
"""
CLIENT_CONFIG = """\
IdentityFile {directory}/user
IdentitiesOnly yes
IdentityAgent none
UserKnownHostsFile {directory}/known
GlobalKnownHostsFile none
StrictHostKeyChecking yes
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """``ssh`` is a program that calls ssh so that it knows this server, ``stranger`` one that does not, and
    ``keyless`` one that shows no key."""

    directory: Path
    port: int

    @property
    def target(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def ssh(self) -> Path:
        return self._program("ssh", "")

    @property
    def stranger(self) -> Path:
        return self._program("stranger", "-o UserKnownHostsFile=/dev/null")

    @property
    def keyless(self) -> Path:
        return self._program("keyless", "-o PubkeyAuthentication=no")

    def remote(self, home: Path, **environment: str) -> str:
        """What runs wirt over there."""
        values = {"WIRT_HOME": str(home), "WIRT_NO_AUTOSTART": "1", "PYTHONPATH": str(SOURCE), **environment}
        words = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
        return " ".join([*words, shlex.quote(sys.executable), "-m", "wirt.cli.main"])

    def _program(self, name: str, options: str) -> Path:
        path = self.directory / name
        path.write_text(f'#!/bin/sh\nexec ssh {options} -F {self.directory}/client "$@"\n')
        path.chmod(0o755)
        return path


@contextmanager
def an_sshd(directory: Path) -> Iterator[Sshd]:
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(directory / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    kind, key, *_ = (directory / "host.pub").read_text().split()
    (directory / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    (directory / "server").write_text(SERVER_CONFIG.format(port=port, directory=directory))
    (directory / "client").write_text(CLIENT_CONFIG.format(directory=directory))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    assert shutil.which(SERVER), "this test needs openssh-server: tools/setup.sh test"
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [SERVER, "-D", "-e", "-f", str(directory / "server")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _await(server, port, directory / "log")
        yield Sshd(directory, port)
    finally:
        server.terminate()
        server.wait(START_S)


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text(errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise AssertionError(f"sshd does not listen: {log.read_text(errors='replace')}")

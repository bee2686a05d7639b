"""A wirtd with a home of its own, and the command ``wirt`` that talks to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.rigs.api import Refused, Request
from bench.rigs.processes import end, started_command, timed_command
from bench.rigs.workshop import BIN, Workshop
from wirt.hypervisors.qemu.driver import DEFAULT_BINARY, QemuHypervisor, QemuSettings
from wirt.sandbox import best_sandbox

START_S = 180.0
"""In the test host everything takes ten times as long."""


class NotServing(Exception):
    """wirtd ended, or never answered."""


@dataclass(frozen=True, slots=True)
class Wirtd:
    home: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str] = field(repr=False)

    @property
    def socket(self) -> str:
        return str(self.home / "run" / "wirtd.sock")

    @property
    def pid(self) -> int:
        return self.process.pid

    def request(self, method: str, target: str, body: object = None) -> Request:
        return Request(self.socket, method, target, body)

    def create(self, text: str, *, paused: bool) -> int:
        """The domid of the new domain. Returns when the guest's QMP has answered and its run is recorded."""
        body = {"text": text, "file": "bench.cfg", "cwd": "/", "paused": paused}
        return int(self.request("POST", "/v1/domains?wait=1", body).finished()["result"]["domid"])

    def destroy(self, name: str) -> None:
        self.request("POST", f"/v1/domains/{name}/destroy?wait=1").finished()

    def qemu_pid(self, name: str) -> int:
        return int(self.request("GET", f"/v1/domains/{name}").answer()["domain"]["pid"])

    def planned_command(self, text: str) -> list[str]:
        """What ``wirt create -n -o json`` shows as ``command``."""
        body = {"text": text, "file": "bench.cfg", "cwd": "/"}
        preview: dict[str, Any] = self.request("POST", "/v1/plan", body).answer()
        return [str(word) for word in preview["command"]]

    def console_log(self, domid: int) -> Path:
        return self.home / "run" / "domains" / str(domid) / "console.log"

    @contextlib.contextmanager
    def cleared(self, name: str) -> Iterator[None]:
        """Whether the block succeeds or fails, no domain ``name`` is left after it."""
        try:
            yield
        finally:
            with contextlib.suppress(Refused):  # there is none, most often
                self.destroy(name)

    def run(self, *words: str) -> float:
        """Seconds that the whole command ``wirt WORDS`` takes."""
        return timed_command([str(BIN / "wirt"), *words], self.environment, {})

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """``wirt WORDS``, not waited for."""
        return started_command([str(BIN / "wirt"), *words], self.environment, {})


@contextlib.contextmanager
def serving(
    workshop: Workshop,
    *,
    fake: bool = False,
    settings: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Wirtd]:
    """A wirtd that serves; with ``fake`` its guests are in memory. It and its guests end with the block.
    ``settings`` are of its environment, ``prefix`` a command that starts it."""
    home = workshop.folder("home")
    environment = {
        **workshop.environment,
        "WIRT_HOME": str(home),
        "WIRT_HYPERVISOR": "fake" if fake else "qemu",
        **(settings or {}),
    }
    if not fake:
        # What the probe of KVM finds holds for the machine: once is enough for all homes.
        shared = workshop.directory / "probed"
        shared.mkdir(exist_ok=True)
        (home / "cache").symlink_to(shared)
    log = home / "stderr"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*prefix, str(BIN / "wirtd")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    wirtd = Wirtd(home, process, environment)
    try:
        _wait_serving(wirtd, log)
        if not fake:
            workshop.accelerator = str(wirtd.request("GET", "/v1/info").answer()["accelerator"])
        yield wirtd
    finally:
        end(process)
        if not fake:
            asyncio.run(_sweep(home))


async def _sweep(home: Path) -> None:
    """Guests outlive their daemon, and their jails outlive them, if it came to a bad end."""
    sandbox = await best_sandbox(wanted=True)
    hypervisor = QemuHypervisor(QemuSettings(DEFAULT_BINARY, home / "cache" / "qemu.json"), sandbox)
    await hypervisor.sweep(home / "run" / "domains", frozenset())


def _wait_serving(wirtd: Wirtd, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(wirtd.socket):
        if wirtd.process.poll() is not None or time.monotonic() > deadline:
            raise NotServing(f"wirtd does not serve: {os.fsdecode(log.read_bytes()[-1000:]).strip()}")
        time.sleep(0.02)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True

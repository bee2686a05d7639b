"""A real guest is moved between two hosts of a lab while either daemon, either QEMU or the line between them dies
at any moment: afterwards it runs on one host only, with its memory and its disk, unless it was itself killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wirt.images.tiny import TinyImage
from wirt.lab import Lab
from wirt.lab.processes import processes_of
from wirt.model.units import MIB

from .guests import pvh
from .host import wait_until

pytestmark = [pytest.mark.real, pytest.mark.root]
SEED = int(os.environ.get("WIRT_SEED", "20261129"))
ROUNDS = int(os.environ.get("WIRT_ROUNDS", "200"))
FEW = 3
ADDRESS = "10.219.0.11"
WAIT_S = 180.0
ENDED = ("done", "failed", "cancelled")
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), 20) as guest:
    guest.settimeout(60)
    guest.sendall(f"wirt {sys.argv[2]}\\n".encode())
    print(guest.makefile().readline())
"""


@dataclass
class Shaken:
    """``killed``: the guest may have been, where it was or where it was to go on."""

    lab: Lab
    chance: random.Random
    tiny: TinyImage
    scratch: Path
    written: int = 0
    killed: bool = False
    log: str = ""

    def wirt(self, name: str, *words: str) -> Any:
        return self.lab.host(name).json(*words)

    def names(self, name: str) -> list[str]:
        return [each["name"] for each in self.wirt(name, "list")["domains"] if each["name"] == "web"]

    def where(self) -> list[str]:
        return [host.name for host in self.lab.hosts if self.names(host.name)]

    def ask(self, words: str) -> str:
        command = [*self.lab.entered("net"), sys.executable, "-c", ASK, ADDRESS, words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout + done.stderr[-300:]

    def create(self) -> None:
        text = pvh(self.tiny, "web", vif=f"ip={ADDRESS}", more='disk = ["shared/web,,xvda,rw"]')
        config = self.scratch / "web.cfg"
        config.write_text(text.replace("ip=10.0.2.15/24", f"ip={ADDRESS}/24"))
        self.lab.host("h1").wirt("create", str(config))
        wait_until(lambda: "ok=1" in self.ask("dirty 8 4"), WAIT_S, "the guest to answer")
        self.killed = False

    def shake(self) -> None:
        (here,) = self.where()
        there = "h2" if here == "h1" else "h1"
        self.written = self.chance.randrange(1, 1 << 30)
        assert "ok=1" in self.ask(f"disk-write vda 0 {MIB} {self.written}")
        host = self.lab.host(here)
        words = [*host.prefix, sys.executable, "-m", "wirt.cli.main", "migrate", "web", there]
        moving = subprocess.Popen(
            words, env=host.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        how = self.chance.choice(("nothing", "here", "there", "line", "line", "both", "qemu-there", "qemu-here"))
        after = self.chance.uniform(0.0, 4.0)
        self.log = f"{how} after {after:.2f} s, {here} to {there}"
        time.sleep(after)
        self._strike(how, here, there)
        time.sleep(self.chance.uniform(0.0, 2.0))
        self._mend(how, here, there)
        _, told = moving.communicate(timeout=WAIT_S)
        assert b"Traceback" not in told, told.decode()

    def _strike(self, how: str, here: str, there: str) -> None:
        if how in ("here", "both"):
            self.lab.kill_daemon(here)
        if how in ("there", "both"):
            self.lab.kill_daemon(there)
        if how == "line":
            self.lab.cut(there)
        if how.startswith("qemu-"):
            self._kill_qemus(here if how == "qemu-here" else there)
            self.killed = True

    def _mend(self, how: str, here: str, there: str) -> None:
        if how in ("here", "both"):
            self.lab.start_daemon(here)
        if how in ("there", "both"):
            self.lab.start_daemon(there)
        if how == "line":
            self.lab.mend(there)

    def _kill_qemus(self, name: str) -> None:
        for pid in processes_of(self.lab.host(name).home):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"guest=web" in words and b"qemu-system" in words.split(b"\0")[0]:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def at_rest(self) -> bool:
        jobs = [job for host in self.lab.hosts for job in self.wirt(host.name, "jobs")["jobs"]]
        return all(job["state"] in ENDED for job in jobs)

    def is_settled(self) -> bool:
        """It is nowhere, or on one host, and is well. What ends a guest is followed up by the hosts' own loops."""
        where = self.where() if self.at_rest() else ["nobody knows", "yet"]
        if len(where) > 1:
            return False
        if not where:
            return True
        found = [each["state"] for each in self.wirt(where[0], "list")["domains"] if each["name"] == "web"]
        return found == ["running"] and "ok=1" in self.ask("mem-verify")

    def check(self) -> None:
        wait_until(self.is_settled, WAIT_S, "all jobs to end, and the guest to be in one place with its memory")
        if not self.where():
            assert self.killed, "it is gone, and nobody killed it"
            self.create()
            return
        assert "ok=1" in self.ask(f"disk-verify vda 0 {MIB} {self.written}"), "its disk"
        self.killed = False


@pytest.fixture
def shaken(tmp_path: Path, tiny: TinyImage) -> Iterator[Shaken]:
    with Lab.up(f"t{uuid.uuid4().hex[:8]}", 2, tmp_path / "lab") as lab:
        lab.host("h1").wirt("volume", "create", "shared/web", "--size", "8M", "--format", "raw")
        made = Shaken(lab, random.Random(SEED), tiny, tmp_path)
        made.create()
        yield made


def rounds(shaken: Shaken, number: int) -> None:
    for count in range(number):
        shaken.shake()
        try:
            shaken.check()
        except BaseException:
            print(f"round {count} of seed {SEED}: {shaken.log}")
            raise


def test_a_guest_survives_what_befalls_its_moves(shaken: Shaken) -> None:
    rounds(shaken, FEW)


@pytest.mark.long
def test_a_guest_survives_what_befalls_hundreds_of_moves(shaken: Shaken) -> None:
    rounds(shaken, ROUNDS)

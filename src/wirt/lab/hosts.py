"""One host of a lab: its daemon, and commands for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from wirt.config.settings import SETTINGS
from wirt.lab import namespaces
from wirt.lab.errors import LabError
from wirt.lab.plan import BRIDGE, PEER_PORT, HostPlan
from wirt.lab.processes import TAG, end, end_all, processes_of
from wirt.sandbox import HostSandbox
from wirt.wire.home import Home, find_home

START_S = 60.0
COMMAND_S = 300.0
_TICK_S = 0.02


class LabHost:
    """``WIRT_HOME=home wirt ...`` acts on it."""

    def __init__(self, plan: HostPlan) -> None:
        self.plan = plan
        self.name = plan.name
        self.home = plan.home
        self.namespace = plan.namespace
        self.prefix = namespaces.entered(plan.namespace)
        """The words before a command that is to run on this host."""
        self.places: Home = find_home({"WIRT_HOME": str(plan.home)}, 0)

    @property
    def settings(self) -> dict[str, str]:
        """wirt's variables for this host. No command may start a daemon for it: it would be in no namespace."""
        chosen = {
            "host": self.name,
            "bridge": BRIDGE,
            "bridge-address": self.plan.bridge_address,
            "peer-listen": f"{self.plan.address}:{PEER_PORT}",
        }
        return {
            **{setting.variable: chosen[setting.name] for setting in SETTINGS if setting.name in chosen},
            "WIRT_HOME": str(self.home),
            "WIRT_NO_AUTOSTART": "1",
            TAG: str(self.home),
        }

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings}

    # The daemon

    def spawn_daemon(self) -> subprocess.Popen[bytes]:
        """Does not wait for it: :meth:`await_daemon` does."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.home / "wirtd.stderr").open("ab") as log:
            return subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "wirt.daemon.main"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def await_daemon(self, process: subprocess.Popen[bytes]) -> None:
        """Returns once it serves."""
        deadline = time.monotonic() + START_S
        while not self.serves():
            if process.poll() is not None:
                words = (self.home / "wirtd.stderr").read_text(errors="replace").strip()[-2000:]
                raise LabError(f"wirtd of {self.name} can't start: {words}")
            if time.monotonic() > deadline:
                raise LabError(f"wirtd of {self.name} does not serve after {START_S:g} s")
            time.sleep(_TICK_S)

    def start_daemon(self) -> None:
        if not self.serves():
            self.await_daemon(self.spawn_daemon())

    def kill_daemon(self) -> None:
        """Without a word; guests go on."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(Path(self.places.lock).read_text())
            if pid in processes_of(self.home):
                end(pid)

    def lose_power(self) -> None:
        """Everything that runs on it is gone at once; what is on its disks stays."""
        end_all(self.home)

    def clear(self) -> None:
        """Of a host whose processes are gone: file systems and control groups of its runs."""
        runs = Path(self.places.domains)
        for directory in sorted(runs.iterdir()) if runs.is_dir() else ():
            asyncio.run(HostSandbox.here().clear(directory))

    def serves(self) -> bool:
        """The path may be too long for an address: it is reached through its directory."""
        try:
            directory = os.open(self.places.run, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as tried:
                tried.settimeout(5)
                tried.connect(f"/proc/self/fd/{directory}/{Path(self.places.socket).name}")
        except OSError:
            return False
        finally:
            os.close(directory)
        return True

    # Commands

    def wirt(self, *words: str, stdin: str = "") -> str:
        """What ``wirt WORDS`` prints. ``LabError`` with its own words if it fails."""
        done = self.run(sys.executable, "-m", "wirt.cli.main", *words, stdin=stdin)
        if done.returncode != 0:
            raise LabError(f"{self.name}: wirt {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.wirt("-o", "json", *words))

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Any command, on this host; it may fail."""
        return subprocess.run(
            [*self.prefix, *command],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_S,
            env=self.environment,
            check=False,
        )

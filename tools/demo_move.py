"""The second half of ``make demo``: a guest moves between two hosts of a lab and back while it answers pings.

The lab is made while the first half's guests boot, since one of them leaves a CPU idle for most of that time; what
was done is shown when it is its turn.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIRT = ROOT / ".venv" / "bin" / "wirt"
LAB = "demo"
ADDRESS = "10.219.0.11"
READY_S = 120.0
EVERY_S = 0.01
BESIDE_S = 0.5
"""Before and after a move it is asked as well."""
PINGER = """
import json, socket, sys, time
guest = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
guest.connect((sys.argv[1], 7))
guest.settimeout(float(sys.argv[2]))
sent = got = 0
last, longest = None, 0.0
print(flush=True)
import select
while not select.select([sys.stdin], [], [], 0)[0]:
    begin = time.monotonic()
    try:
        guest.send(b"%d" % sent)
        sent += 1
        guest.recv(100)
        now = time.monotonic()
        got += 1
        longest, last = max(longest, now - (last or now)), now
    except OSError:
        pass
    time.sleep(max(0.0, begin + float(sys.argv[2]) - time.monotonic()))
guest.settimeout(0.5)
try:
    while got < sent:
        guest.recv(100)  # an answer that comes late is not lost
        got += 1
except OSError:
    pass
print(json.dumps({"sent": sent, "got": got, "longest_s": longest}))
"""
CONFIG = """\
name = "traveller"
type = "pvh"
kernel = "{tiny}/vmlinuz"
ramdisk = "{tiny}/initramfs"
cmdline = "console=ttyS0 ip={address}/24"
memory = 256
vif = [""]
"""


class Lab:
    """Two hosts and a guest, made in the background from :meth:`begin` on. Each command is kept with what it
    printed."""

    def __init__(self, tiny: Path) -> None:
        self.homes = [Path("/var/lib/wirt-labs", LAB, name) for name in ("h1", "h2")]
        self._tiny = tiny
        self._said: list[str] = []
        self._failed = ""
        self._thread = threading.Thread(target=self._make)
        self._begun = False

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._thread.start()

    def await_made(self) -> None:
        """Ends the demo with a word where a command fails."""
        self.begin()
        self._thread.join()
        print("\n".join(self._said))
        if self._failed:
            sys.exit(f"demo: {self._failed}")

    def down(self) -> None:
        if self._begun:
            self._thread.join()
            shown("lab", "down", "--name", LAB)

    def _make(self) -> None:
        made = self._kept("lab", "up", "--hosts", "2", "--name", LAB) and self._kept_create()
        if made and not answers():
            self._failed = "the guest does not answer pings"

    def _kept_create(self) -> bool:
        with tempfile.NamedTemporaryFile("w", suffix=".cfg") as config:
            config.write(CONFIG.format(tiny=self._tiny, address=ADDRESS))
            config.flush()
            return self._kept("create", config.name, home=self.homes[0])

    def _kept(self, *words: str, home: Path | None = None) -> bool:
        line, environment = command(words, home)
        done = subprocess.run(
            [WIRT, *words],
            env=environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._said += [line, *done.stdout.splitlines()]
        if done.returncode != 0:
            self._failed = f"that command failed (exit code {done.returncode}); its message stands above"
        return done.returncode == 0


@contextlib.contextmanager
def lab(tiny: Path) -> Iterator[Lab | None]:
    """Nothing of it is left at the end. ``None`` where none can be made."""
    if os.geteuid() != 0:
        yield None
        return
    made = Lab(tiny)
    try:
        yield made
    finally:
        made.down()


def move(made: Lab | None, say: Callable[[str], None]) -> None:
    """``say`` prints a title. Ends the demo with a word where a command fails."""
    if made is None:
        print("(A guest that moves between two hosts of a lab on this machine: that part needs root.)")
        return
    say("Two hosts out of network namespaces, each with a daemon and a bridge: made while the others booted")
    made.await_made()
    say("It moves to the other host and back, while somebody asks it a hundred times a second")
    for home, target in zip(made.homes, ("h2", "h1"), strict=True):
        inside = ["ip", "netns", "exec", f"wirt-{LAB}-net", sys.executable, "-c", PINGER, ADDRESS, str(EVERY_S)]
        with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pinger:
            assert pinger.stdout is not None and pinger.stdin is not None
            pinger.stdout.readline()
            time.sleep(BESIDE_S)
            shown("migrate", "traveller", target, home=home)
            time.sleep(BESIDE_S)
            told, _ = pinger.communicate("enough\n")
        print(f"  asked from outside: {told.strip()}")
    shown("migrations", home=made.homes[0])


def answers() -> bool:
    """Whether the guest does within the time that a boot may take."""
    deadline = time.monotonic() + READY_S
    ping: list[str | Path] = [WIRT, "lab", "ping", ADDRESS, "--name", LAB]
    while subprocess.run(ping, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            return False
    return True


def command(words: tuple[str, ...], home: Path | None) -> tuple[str, dict[str, str]]:
    """As a person types it, and its environment."""
    where = f"WIRT_HOME={home} " if home is not None else ""
    own = {"WIRT_HOME": str(home)} if home is not None else {}
    return f"$ {where}wirt {' '.join(words)}", {**os.environ, "WIRT_NO_AUTOSTART": "1", **own}


def shown(*words: str, home: Path | None = None) -> None:
    line, environment = command(words, home)
    print(line, flush=True)
    status = subprocess.run([WIRT, *words], env=environment, check=False).returncode
    if status != 0:
        sys.exit(f"demo: that command failed (exit code {status}); its message stands above")

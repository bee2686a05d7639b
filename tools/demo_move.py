"""The second half of ``make demo``: a guest moves between two hosts of a lab and back while it answers pings."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIRT = ROOT / ".venv" / "bin" / "wirt"
LAB = "demo"
ADDRESS = "10.219.0.11"
READY_S = 120.0
EVERY_S = 0.01
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


def move(tiny: Path, say: Callable[[str], None]) -> None:
    """``say`` prints a title. Ends the demo with a word where a command fails."""
    if os.geteuid() != 0:
        print("(A guest that moves between two hosts of a lab on this machine: that part needs root.)")
        return
    say("Two hosts out of network namespaces, with a daemon, a bridge and a link each")
    shown("lab", "up", "--hosts", "2", "--name", LAB)
    try:
        _moves(tiny, say)
    finally:
        shown("lab", "down", "--name", LAB)


def _moves(tiny: Path, say: Callable[[str], None]) -> None:
    homes = [Path("/var/lib/wirt-labs", LAB, name) for name in ("h1", "h2")]
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as config:
        config.write(CONFIG.format(tiny=tiny, address=ADDRESS))
        config.flush()
        shown("create", config.name, home=homes[0])
        deadline = time.monotonic() + READY_S
        ping: list[str | Path] = [WIRT, "lab", "ping", ADDRESS, "--name", LAB]
        while subprocess.run(ping, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline:
                sys.exit("demo: the guest does not answer pings")
    say("It moves to the other host and back, while somebody asks it a hundred times a second")
    for home, target in zip(homes, ("h2", "h1"), strict=True):
        inside = ["ip", "netns", "exec", f"wirt-{LAB}-net", sys.executable, "-c", PINGER, ADDRESS, str(EVERY_S)]
        with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pinger:
            assert pinger.stdout is not None and pinger.stdin is not None
            pinger.stdout.readline()
            time.sleep(1.0)
            shown("migrate", "traveller", target, home=home)
            time.sleep(1.0)
            told, _ = pinger.communicate("enough\n")
        print(f"  asked from outside: {told.strip()}")
    shown("migrations", home=homes[0])


def shown(*words: str, home: Path | None = None) -> None:
    where = f"WIRT_HOME={home} " if home is not None else ""
    print(f"$ {where}wirt {' '.join(words)}", flush=True)
    environment = {
        **os.environ,
        "WIRT_NO_AUTOSTART": "1",
        **({"WIRT_HOME": str(home)} if home is not None else {}),
    }
    status = subprocess.run([WIRT, *words], env=environment, check=False).returncode
    if status != 0:
        sys.exit(f"demo: that command failed (exit code {status}); its message stands above")

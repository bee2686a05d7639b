"""``make demo``: real guests in a minute or two, each step shown as the command that anyone could type."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import demo_move

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
WIRT = ROOT / ".venv" / "bin" / "wirt"
GUESTS = ("pvh", "hvm")
READY = "wirt-tiny ready"
READY_S = 120.0
ECHO_PORT = 7
COLOURS = {"pvh": "36", "hvm": "33", "title": "1"}


@dataclass(frozen=True)
class Reach:
    """Where a guest's echo service is reached from here."""

    tcp: tuple[str, int]
    udp: tuple[str, int]
    how: str


def main() -> int:
    title("The image: a Linux from Debian's packages that is ready in seconds")
    show("image", "build", "tiny")
    link_image()

    with demo_move.lab((EXAMPLES / "tiny").resolve()) as lab:
        guests(lab)
        demo_move.move(lab, title)

    title("To try next")
    print(
        "  cd examples; W=../.venv/bin/wirt\n"
        "  $W console pvh              its shell (Ctrl-] leaves)\n"
        "  $W list -v ; $W vcpu-list ; $W info\n"
        "  $W pause pvh ; $W list ; $W unpause pvh\n"
        "  $W events &  $W reboot hvm  what happens, as it happens\n"
        "  $W create -n hvm.cfg        the plan and QEMU's command line, and nothing done\n"
        "  $W help ; $W help keys      everything else\n"
        "  $W shutdown -a -w           the end"
    )
    return 0


def guests(lab: demo_move.Lab | None) -> None:
    """``lab`` is begun once the first of them is ready."""
    title("Two guests from two files")
    for guest in GUESTS:
        if json.loads(quiet("list", "--all", "-o", "json", guest, check=False) or "{}").get("domains"):
            show("destroy", guest)
        show("create", f"{guest}.cfg")

    title("Their consoles")
    began = time.monotonic()
    watch_boot(began, lambda: lab.begin() if lab is not None else None)

    title("Domain-0 and both")
    show("list")

    title("Talking to both over their network")
    for guest in GUESTS:
        talk(guest, reach(guest))


def title(text: str) -> None:
    print(f"\n{paint('title', text)}", flush=True)


def paint(colour: str, text: str) -> str:
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if sys.stdout.isatty() else text


def show(*words: str) -> None:
    """Run a command of wirt's with its output on the screen; the demo ends where one fails."""
    print(f"$ wirt {' '.join(words)}", flush=True)
    status = subprocess.run([WIRT, *words], cwd=EXAMPLES, check=False).returncode
    if status != 0:
        sys.exit(f"demo: that command failed (exit code {status}); its message stands above")


def quiet(*words: str, check: bool = True) -> str:
    stderr = None if check else subprocess.DEVNULL
    return subprocess.run(
        [WIRT, *words], cwd=EXAMPLES, check=check, text=True, stdout=subprocess.PIPE, stderr=stderr
    ).stdout


def link_image() -> None:
    """``examples/tiny`` is the built image; the hvm guest gets a disk of its own."""
    (image,) = json.loads(quiet("image", "list", "-o", "json"))["images"]
    directory, link, disk = Path(image["kernel"]).parent, EXAMPLES / "tiny", EXAMPLES / "hvm.qcow2"
    print(f"$ ln -sfn {directory} tiny && cp tiny/disk.qcow2 hvm.qcow2")
    link.unlink(missing_ok=True)
    link.symlink_to(directory)
    destroy_user_of(disk)
    shutil.copyfile(link / "disk.qcow2", disk)


def destroy_user_of(disk: Path) -> None:
    """A guest of an earlier demo still has it open."""
    if disk.exists():
        subprocess.run([WIRT, "destroy", "hvm"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def watch_boot(began: float, one_ready: Callable[[], None]) -> None:
    """Both consoles line by line until both guests are ready; ``one_ready`` is called when the first one is."""
    first = threading.Lock()

    def watch(guest: str) -> None:
        follow(guest, began)
        if first.acquire(blocking=False):
            one_ready()

    readers = [threading.Thread(target=watch, args=(guest,), daemon=True) for guest in GUESTS]
    for reader in readers:
        reader.start()
    for guest, reader in zip(GUESTS, readers, strict=True):
        reader.join(max(0.0, READY_S - (time.monotonic() - began)))
        if reader.is_alive():
            sys.exit(f"demo: {guest} was not ready within {READY_S:g} s; look at: wirt console {guest}")


def follow(guest: str, began: float) -> None:
    with subprocess.Popen(
        [WIRT, "console", guest], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=EXAMPLES
    ) as console:
        assert console.stdout is not None
        for raw in console.stdout:
            line = "".join(c for c in raw.decode(errors="replace") if c.isprintable()).strip()
            if line:
                stamp = f"{time.monotonic() - began:5.1f} s"
                print(paint(guest, f"{guest} | {stamp} | {line[:140]}"), flush=True)
            if READY in line:
                console.terminate()
                return


def reach(guest: str) -> Reach:
    (listed,) = json.loads(quiet("network-list", guest, "-o", "json"))["domains"]
    (vif,) = listed["vifs"]
    if vif["kind"] == "bridge":
        address = vif["addresses"][0].split("/")[0]
        return Reach((address, ECHO_PORT), (address, ECHO_PORT), f"bridge {vif['bridge']}, tap {vif['tap']}")
    ports = {f["protocol"]: (f["host_address"], f["host_port"]) for f in vif["forwards"]}
    return Reach(ports["tcp"], ports["udp"], "user-mode network, forwarded port")


def talk(guest: str, reach: Reach) -> None:
    words = f"hello {guest}".encode()
    started = time.perf_counter()
    with socket.create_connection(reach.tcp, timeout=10) as tcp:
        tcp.sendall(words + b"\n")
        answer = tcp.recv(100).strip()
    tcp_ms = (time.perf_counter() - started) * 1000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.connect(reach.udp)
        udp.send(b"wirt stat")
        numbers = dict(word.split("=", 1) for word in udp.recv(1000).decode().split() if "=" in word)
    if answer != words:
        sys.exit(f"demo: {guest} answered {answer!r} to {words!r}")
    print(
        f"  {guest} at {reach.tcp[0]}:{reach.tcp[1]} ({reach.how}): TCP said {answer.decode()!r} after "
        f"{tcp_ms:.0f} ms; UDP says: {numbers.get('cpus')} CPU, up {numbers.get('uptime')} s"
    )


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("demo: stopped; guests that were created go on (wirt list)")

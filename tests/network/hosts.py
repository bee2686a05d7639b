"""Other machines on the test's wires: network namespaces with a process in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .namespace import run

_TIMEOUT_S = 20


class FarHost:
    """A machine with one card, ``eth0``; the other end of its cable is here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *command: str) -> str:
        return run("nsenter", "--target", str(self.pid), "--net", *command)

    def succeeds(self, *command: str, timeout_s: float = _TIMEOUT_S) -> bool:
        full = ("nsenter", "--target", str(self.pid), "--net", *command)
        try:
            return subprocess.run(full, capture_output=True, timeout=timeout_s, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def pings(self, address: str, tries: int = 3) -> bool:
        return self.succeeds("busybox", "ping", "-c", "1", "-W", "1", address) or (
            tries > 1 and self.pings(address, tries - 1)
        )

    def addresses(self) -> set[str]:
        devices: list[dict[str, Any]] = json.loads(self.run("ip", "-j", "address", "show", "dev", "eth0"))
        return {each["local"] for device in devices for each in device["addr_info"] if each["scope"] == "global"}

    @contextmanager
    def python(self, program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
        command = ("nsenter", "--target", str(self.pid), "--net", sys.executable, "-c", program, *words)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


@contextmanager
def far_host(cable: str, mac: str | None = None, addresses: Sequence[str] = ()) -> Iterator[FarHost]:
    """``cable`` is the name of this end, which is up and in nothing."""
    process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        host = FarHost(process.pid)
        host.run("ip", "link", "set", "lo", "up")
        if mac is not None:
            host.run("ip", "link", "set", "eth0", "address", mac)
        host.run("ip", "link", "set", "eth0", "up")
        for address in addresses:
            host.run("ip", "address", "add", address, "dev", "eth0", *(("nodad",) if ":" in address else ()))
        run("ip", "link", "set", cable, "up")
        yield host
    finally:
        process.kill()
        process.communicate()


UDHCPC = """\
#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route replace default via $router
echo "ip=$ip router=$router dns=$dns domain=$domain mtu=$mtu" > "$0.answer"
"""


def dhcp(host: FarHost, directory: Path) -> dict[str, str]:
    """What busybox's client was given, after it has taken it; empty if nobody answered."""
    script = directory / f"udhcpc-{host.pid}"
    script.write_text(UDHCPC)
    script.chmod(0o755)
    answer = Path(f"{script}.answer")
    answer.unlink(missing_ok=True)
    command = (
        "busybox",
        "udhcpc",
        "-i",
        "eth0",
        "-n",
        "-q",
        "-f",
        "-t",
        "8",
        "-T",
        "1",
        "-O",
        "mtu",
        "-s",
        str(script),
    )
    if not host.succeeds(*command) or not answer.exists():
        return {}
    return dict(word.partition("=")[::2] for word in answer.read_text().split(" "))


def answer(host: FarHost, name: str, server: str) -> str:
    """What DNS says, as busybox prints it."""
    command = ("nsenter", "--target", str(host.pid), "--net", "busybox", "nslookup", name, server)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return done.stdout.partition("\n\n")[2]

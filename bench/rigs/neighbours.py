"""Two guests of one wirtd on one bridge: a victim that works and a neighbour that does its worst.

After Matthews et al., "Quantifying the Performance Isolation Properties of Virtualization Systems" (ExpCS 2007).
What is compared is what the two get *from each other*, so that other work of the machine changes little: both are
held to one CPU, their daemon is in a control group of its own, and their wire is theirs alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.rigs.groups import Group, common_group
from bench.rigs.namespace import Namespace, another_namespace, move_link, own_namespace, run
from bench.rigs.processes import CPU, hold_to
from bench.rigs.shells import ANSWER_S, managed_console, type_line, wait_ready
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

VICTIM, BOMB = "10.77.0.11", "10.77.0.12"
UNLIMITED = "10.77.1.12"
"""The neighbour's second card, which has no rate."""
HOST, PEER, PEER_TOO = "10.77.0.1", "10.77.0.200", "10.77.1.200"
PORT = 9
WIRE_MBIT, RATE_MBIT, WANTED_MBIT = 4, 2, 1
"""What the wire carries, what the neighbour may send and be sent, and what the victim sends: enough for both."""
BOMB_VCPUS = 4
VICTIM_DISK_MIB, BOMB_DISK_MIB = 64, 512
ECHO_PORT = 7
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Guest:
    """``pid`` is QEMU's."""

    wirtd: Wirtd = field(repr=False)
    name: str
    address: str
    pid: int
    console_log: Path
    disk: Path

    def ask(self, command: str) -> dict[str, str]:
        """The agent's answer."""
        with socket.create_connection((self.address, ECHO_PORT), timeout=ANSWER_S) as connection:
            connection.sendall(f"wirt {command}\n".encode())
            answer = connection.makefile().readline().strip()
        if answer.startswith("error") or not answer:
            raise RuntimeError(f"{self.name} answered {command!r} with {answer!r}")
        return dict(word.split("=", 1) for word in answer.split())

    def type(self, line: str) -> None:
        """A line for the shell on its console, which has read it when this returns."""
        with managed_console(self.wirtd, self.name) as send:
            type_line(send, self.console_log, line)

    def cpu_s(self) -> float:
        """CPU time of all its threads, those that have ended included (proc(5), stat)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def spins(self) -> int:
        return int(self.ask("stat")["spins"])


@dataclass(frozen=True, slots=True)
class Pair:
    wirtd: Wirtd
    victim: Guest
    bomb: Guest
    group: Group
    bombs_own: Path
    """The neighbour's own control group, for memory."""
    peer: Namespace

    def bomb_room_bytes(self) -> int:
        """What the neighbour's own group has left up to its limit."""
        return self.group.limit_bytes(self.bombs_own) - self.group.used_bytes(self.bombs_own)

    @contextlib.contextmanager
    def without_limits(self) -> Iterator[None]:
        with self.group.taken(self.victim.pid, self.bomb.pid):
            yield

    @contextlib.contextmanager
    def on_all_cpus(self) -> Iterator[None]:
        """For what is not about CPU time."""
        guests = (self.victim, self.bomb)
        for guest in guests:
            hold_to(guest.pid, sorted(os.sched_getaffinity(0)))
        try:
            yield
        finally:
            for guest in guests:
                hold_to(guest.pid, [CPU])


@contextlib.contextmanager
def pair(workshop: Workshop) -> Iterator[Pair]:
    """``NotHere`` where groups, namespaces or traffic control can't be had."""
    with (
        own_namespace(),
        another_namespace() as peer,
        _wire(peer),
        common_group(f"wirt-neighbours-{os.getpid()}") as group,
        serving(workshop, settings={"WIRT_JAIL": "on"}, prefix=group.prefix) as wirtd,
        contextlib.ExitStack() as stack,
    ):
        rate = f"rate={RATE_MBIT}Mb/s,rate-in={RATE_MBIT}Mb/s"
        victim = _create(stack, workshop, wirtd, "victim", VICTIM, 1, VICTIM_DISK_MIB, [f"ip={VICTIM}/24"])
        cards = [f"ip={BOMB}/24,{rate}", ""]
        bomb = _create(stack, workshop, wirtd, "bomb", BOMB, BOMB_VCPUS, BOMB_DISK_MIB, cards)
        for guest in (victim, bomb):
            wait_ready(guest.console_log)
            hold_to(guest.pid, [CPU])
        _plug_second_card(bomb)
        yield Pair(wirtd, victim, bomb, group, group.own(bomb.pid)["memory"], peer)


def _create(
    stack: contextlib.ExitStack,
    workshop: Workshop,
    wirtd: Wirtd,
    name: str,
    address: str,
    vcpus: int,
    disk_mib: int,
    cards: Sequence[str],
) -> Guest:
    disk = workshop.directory / f"{name}.raw"
    stack.callback(disk.unlink, missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(disk_mib << 20)
    vifs = ", ".join(f'"bridge=br0,{card}"'.replace(',"', '"') for card in cards)
    text = f"""name = "{name}"
type = "pvh"
memory = 128
vcpus = {vcpus}
kernel = "{workshop.tiny.kernel}"
ramdisk = "{workshop.tiny.initramfs}"
extra = "console=ttyS0 tick=0 ip={address}/24"
disk = [ "{disk},raw,xvda,rw" ]
vif = [ {vifs} ]
"""
    stack.enter_context(wirtd.cleared(name))
    domid = wirtd.create(text, paused=False)
    return Guest(wirtd, name, address, wirtd.qemu_pid(name), wirtd.console_log(domid), disk)


@contextlib.contextmanager
def _wire(peer: Namespace) -> Iterator[None]:
    """A bridge, and a wire of ``WIRE_MBIT`` from it to the ``peer``. They go with their namespaces."""
    run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    run("ip", "address", "add", f"{HOST}/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
    run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far")
    move_link("far", peer)
    run("ip", "link", "set", "uplink", "master", "br0", "up")
    shaped = ("tbf", "rate", f"{WIRE_MBIT}mbit", "burst", "16k", "limit", "64k")
    run("tc", "qdisc", "add", "dev", "uplink", "root", *shaped)
    for address in (PEER, PEER_TOO):
        peer.run("ip", "address", "add", f"{address}/24", "dev", "far")
    peer.run("ip", "link", "set", "far", "up")
    yield


def _plug_second_card(bomb: Guest) -> None:
    """Each card answers for its own address only, or both would for either. And the kernel is silent: it says on
    the console whom it ends for memory, faster than the emulated line carries."""
    bomb.type("dmesg -n 1")
    bomb.type("cd /proc/sys/net/ipv4/conf/all; echo 1 > arp_ignore; echo 2 > arp_announce; cd /")
    bomb.type(f"ifconfig eth1 {UNLIMITED} netmask 255.255.255.0 up")

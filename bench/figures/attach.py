"""From the word to a guest that has another network card."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.absence import NotHere
from bench.rigs.bare import bare
from bench.rigs.guests import Guest
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAME, BRIDGE = "bench", "bench0"
API, BARE = "wirt API", "bare QMP"
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _SIOCBRADDIF, _SIOCGIFINDEX, _SIOCSIFFLAGS = 0x400454CA, 0x89A2, 0x8933, 0x8914
_TAP_FLAGS, _UP = 0x0002 | 0x1000 | 0x4000, 0x1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Rig:
    workshop: Workshop
    wirtd: Wirtd
    text: str
    planned: list[str]


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    text = Guest(workshop.tiny).xl_config(NAME)
    with own_network(), serving(workshop) as wirtd:
        subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True, timeout=10)
        subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True, timeout=10)
        yield Rig(workshop, wirtd, text, wirtd.planned_command(text))


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """A network namespace for this process and what it starts: the machine's own bridges and rules stay alone."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.geteuid() != 0 or _libc.unshare(_CLONE_NEWNET) != 0:
            raise NotHere("a network namespace of its own takes root")
        try:
            yield
        finally:
            _libc.setns(before, _CLONE_NEWNET)
    finally:
        os.close(before)


def by_api(rig: Rig) -> float:
    """Done is when the guest's QEMU has the card, and that is recorded."""
    with rig.wirtd.cleared(NAME):
        rig.wirtd.create(rig.text, paused=True)
        begin = time.perf_counter()
        words = {"words": [f"bridge={BRIDGE}"]}
        rig.wirtd.request("POST", f"/v1/domains/{NAME}/vifs?wait=1", words).finished()
        return (time.perf_counter() - begin) * 1000


def by_qmp(rig: Rig) -> float:
    with bare(rig.workshop, rig.planned) as guest:
        begin = time.perf_counter()
        tap = _tap_in_bridge("bare0")
        try:
            guest.qmp.command("getfd", {"fdname": "tap"}, tap)
        finally:
            os.close(tap)
        guest.qmp.command("netdev_add", {"type": "tap", "id": "vif0", "fd": "tap"})
        card = {"driver": "virtio-net-pci", "id": "card", "netdev": "vif0", "bus": "port0", "romfile": ""}
        guest.qmp.command("device_add", {**card, "mac": "00:16:3e:00:00:01"})
        return (time.perf_counter() - begin) * 1000


def _tap_in_bridge(name: str) -> int:
    """The least that a card on a bridge takes: a tap, in the bridge, up (netdevice(7))."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_FLAGS))
    with socket.socket() as control:
        found = fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack("16si20x", name.encode(), 0))
        (index,) = struct.unpack_from("i", found, 16)
        fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", BRIDGE.encode(), index))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), _UP))
    return tap


FIGURE = Figure(
    name="vif-attach",
    measures="A card on a bridge for a guest that is there: from the request until its QEMU has the card",
    unit="ms",
    rig=rig,
    contenders=(
        Contender(API, "POST /v1/domains/NAME/vifs, until it is done and recorded", by_api, BARE),
        Contender(BARE, "tap, bridge, getfd, netdev_add, device_add from a script", by_qmp),
    ),
    promises=(Promise("a card is attached within 30 ms", API, Basis.VALUE, Direction.AT_MOST, 30, "ms"),),
    runs=25,
    quick_runs=5,
)

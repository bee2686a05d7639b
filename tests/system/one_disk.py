"""A guest called web with one disk, and what is in it: for tests of what befalls disks."""

from __future__ import annotations

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, watch
from .host import Host


def references(host: Host) -> list[str]:
    """All volumes, as POOL/VOLUME."""
    return sorted(each["reference"] for each in host.json("volume", "list")["volumes"])


def up(host: Host, tiny: TinyImage, volume: str) -> None:
    more = f'disk = ["{volume},,xvda,rw"]'
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", more=more)))
    start(host)


def start(host: Host) -> None:
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)


def write(host: Host, seed: int, offset: int, size: int = 1) -> None:
    """``offset`` and ``size`` in MiB."""
    answer = ask(port_of(host, "web"), f"wirt disk-write vda {offset * MIB} {size * MIB} {seed}")
    assert "ok=1" in answer, answer


def holds(host: Host, seed: int, offset: int, size: int = 1) -> None:
    answer = ask(port_of(host, "web"), f"wirt disk-verify vda {offset * MIB} {size * MIB} {seed}")
    assert "ok=1" in answer, answer

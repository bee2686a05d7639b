"""Running copies of a real guest: its memory is in each of them, and their disks go ways of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, ticks, watch
from .host import Host

pytestmark = pytest.mark.real

DISKS = 'disk = ["default/one,,xvda,rw", "default/two,,xvdb,rw"]'
COPIES = ("web-1", "web-2")


@pytest.fixture
def web(real_host: Host, tiny: TinyImage) -> Iterator[Host]:
    """A guest with a raw disk and a qcow2 one, up."""
    host = real_host
    host.ok("volume", "create", "default/one", "--size", "16M", "--format", "raw")
    host.ok("volume", "create", "default/two", "--size", "16M", "--format", "qcow2")
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", cmdline="wirt.tick=100", more=DISKS)))
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)
    yield host
    for name in sorted(host.names(), reverse=True):
        host.run("destroy", name)
        for each in host.json("snapshot", "list", name)["snapshots"]:
            host.ok("snapshot", "delete", name, each["name"])
        host.run("undefine", name)
    host.tidy()


def both(host: Host, name: str, words: str, seed: int, offset: int) -> bool:
    """On both disks of the guest ``name``: whether it did as it was told."""
    answers = [
        ask(port_of(host, name), f"wirt {words} {device} {offset * MIB} {MIB} {seed}") for device in ("vda", "vdb")
    ]
    assert len({"ok=1" in answer for answer in answers}) == 1, answers
    return "ok=1" in answers[0]


def test_copies_of_a_running_guest_have_its_memory_and_disks_of_their_own(
    web: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert both(web, "web", "disk-write", 1, 0)
    assert "ok=1" in ask(port_of(web, "web"), "wirt dirty 8 4")
    done = web.ok("fork", "web", "--count", "2")
    with capsys.disabled():
        print(f"\n{done.err.strip()}")
    assert done.out.split() == list(COPIES)
    assert "snapshot fork-1" in done.err
    everyone = ("web", *COPIES)
    assert len({port_of(web, name) for name in everyone}) == 3
    for number, name in enumerate(everyone):
        assert "ok=1" in ask(port_of(web, name), "wirt mem-verify"), name
        assert both(web, name, "disk-verify", 1, 0)
        assert both(web, name, "disk-write", 10 + number, 4)
    for number, name in enumerate(everyone):
        assert both(web, name, "disk-verify", 10 + number, 4), f"{name} has what another wrote"
        assert "of which strange" not in web.run("-o", "json", "audit", name).out
    with watch(web, "web-1") as console:
        console.until(b"mono=", count=3)
    assert ticks(console.output)[0] > 1, "it began anew"
    assert READY not in console.output

    web.ok("destroy", "web-2")
    web.ok("start", "web-2")
    web.ok("snapshot", "delete", "web", "fork-1")
    assert both(web, "web-1", "disk-verify", 11, 4), "its ground was taken away"
    for name in COPIES:
        web.ok("destroy", name)
        web.ok("undefine", name)
        for volume in (name, f"{name}-xvdb"):
            web.ok("volume", "destroy", f"default/{volume}")
    assert both(web, "web", "disk-verify", 1, 0)
    assert both(web, "web", "disk-verify", 10, 4)

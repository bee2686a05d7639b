"""Snapshots of real guests, from the command line to the bytes on their disks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, ticks, watch
from .host import Host

pytestmark = pytest.mark.real

DISKS = 'disk = ["default/one,,xvda,rw", "default/two,,xvdb,rw"]'
DEVICES = ("vda", "vdb")
ENGINES = ("cache=none,aio=native,iothread=own", "cache=none,aio=io_uring", "aio=threads")


@pytest.fixture
def host(real_host: Host) -> Iterator[Host]:
    yield real_host
    for name in real_host.names():
        real_host.run("destroy", name)
        for each in real_host.json("snapshot", "list", name)["snapshots"]:
            real_host.ok("snapshot", "delete", name, each["name"])
        real_host.run("undefine", name)
    real_host.tidy()


@pytest.fixture
def web(host: Host, tiny: TinyImage) -> Host:
    """A guest with a raw disk and a qcow2 one, up."""
    host.ok("volume", "create", "default/one", "--size", "16M", "--format", "raw")
    host.ok("volume", "create", "default/two", "--size", "16M", "--format", "qcow2")
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", cmdline="wirt.tick=100", more=DISKS)))
    start(host)
    return host


def start(host: Host) -> None:
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)


def write(host: Host, seed: int, offset: int, size: int = 1) -> None:
    for device in DEVICES:
        answer = ask(port_of(host, "web"), f"wirt disk-write {device} {offset * MIB} {size * MIB} {seed}")
        assert "ok=1" in answer, answer


def holds(host: Host, seed: int, offset: int, size: int = 1) -> bool:
    answers = [
        ask(port_of(host, "web"), f"wirt disk-verify {device} {offset * MIB} {size * MIB} {seed}")
        for device in DEVICES
    ]
    assert len({"ok=1" in answer for answer in answers}) == 1, f"one disk has it and one has not: {answers}"
    return "ok=1" in answers[0]


def names(host: Host) -> list[str]:
    return [volume["name"] for volume in host.json("volume", "list", "default")["volumes"]]


def check_images(host: Host) -> None:
    """Only of a domain that is off."""
    for volume in host.json("volume", "list", "default")["volumes"]:
        words = ("qemu-img", "check", "-q", "-f", volume["format"], volume["path"])
        if volume["format"] == "qcow2":
            subprocess.run(words, check=True, timeout=60)


def test_a_running_guest_is_kept_goes_back_and_loses_its_snapshots_one_by_one(web: Host) -> None:
    write(web, 1, 0, 16)
    web.ok("snapshot", "create", "web", "first", "--description", "all ones")
    write(web, 2, 4)
    web.ok("snapshot", "create", "web", "second")
    write(web, 3, 4)
    write(web, 3, 8)
    assert "of which strange" not in web.run("-o", "json", "audit", "web").out
    assert holds(web, 3, 8)

    web.ok("snapshot", "delete", "web", "first")
    assert holds(web, 3, 4)
    assert holds(web, 1, 0, 4)
    assert "--force" in web.fails("snapshot", "revert", "web", "second")
    web.ok("snapshot", "revert", "web", "second", "--force")
    check_images(web)
    start(web)
    assert holds(web, 2, 4)
    assert holds(web, 1, 8, 8)

    write(web, 4, 8)
    web.ok("snapshot", "delete", "web", "second")
    assert holds(web, 4, 8)
    assert holds(web, 2, 4)
    assert web.json("list", "web")["domains"][0]["state"] == "running"
    assert "of which strange" not in web.run("-o", "json", "audit", "web").out
    write(web, 5, 0, 16)
    web.ok("destroy", "web")
    check_images(web)
    assert names(web) == ["one", "two"]
    start(web)
    assert holds(web, 5, 0, 16)


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_disks_are_kept_and_moved_however_they_are_served(host: Host, tiny: TinyImage, engine: str) -> None:
    host.ok("volume", "create", "default/one", "--size", "16M", "--format", "raw", "--preallocation", "full")
    host.ok("volume", "create", "default/two", "--size", "16M", "--format", "qcow2")
    disks = f'disk = ["default/one,,xvda,rw,{engine}", "default/two,,xvdb,rw,{engine}"]'
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", more=disks)))
    start(host)
    write(host, 1, 0, 16)
    for name in ("a", "b"):
        host.ok("snapshot", "create", "web", name)
        write(host, 2, 4)
    host.ok("backup", "create", "web", "--to", str(host.scratch / "backups"))
    for name in ("a", "b"):
        host.ok("snapshot", "delete", "web", name)
        assert holds(host, 2, 4)
    host.ok("backup", "create", "web", "--to", str(host.scratch / "backups"))
    host.ok("disk-move", "web", "xvda", "default/three", "--format", "qcow2")
    assert holds(host, 1, 8, 8)
    host.ok("volume", "resize", "default/two", "--size", "24M")
    assert "of which strange" not in host.run("-o", "json", "audit", "web").out
    host.ok("destroy", "web")
    check_images(host)
    start(host)
    assert holds(host, 2, 4)


def test_a_guest_goes_on_from_its_memory_with_the_disks_of_then(web: Host) -> None:
    write(web, 1, 0)
    web.ok("snapshot", "create", "web", "asleep", "--memory")
    assert web.json("list", "web")["domains"][0]["state"] == "running"
    write(web, 2, 0)
    before = web.domain("web")["domid"]
    web.ok("snapshot", "revert", "web", "asleep", "--force")
    now = web.domain("web")
    assert (now["state"], now["domid"] > before) == ("running", True)
    assert holds(web, 1, 0)
    with watch(web, "web") as console:
        console.until(b" mono=", count=2)
    assert ticks(console.output)[0] > 1, "it began anew"
    [memory] = Path(web.home.state, "snapshots").glob("*/*.memory")
    web.ok("snapshot", "delete", "web", "asleep")
    assert not memory.exists()
    assert holds(web, 1, 0)


def test_a_domain_that_is_off_is_kept_and_goes_back(web: Host) -> None:
    write(web, 1, 0)
    web.ok("destroy", "web")
    assert "no memory" in web.fails("snapshot", "create", "web", "off", "--memory")
    web.ok("snapshot", "create", "web", "off")
    start(web)
    write(web, 2, 0)
    web.ok("destroy", "web")
    web.ok("snapshot", "revert", "web", "off")
    assert "off*" in web.ok("snapshot", "list", "web").out
    web.ok("snapshot", "delete", "web", "off")
    check_images(web)
    assert names(web) == ["one", "two"]
    start(web)
    assert holds(web, 1, 0)
    web.ok("destroy", "web")
    web.ok("undefine", "web")
    for volume in ("default/one", "default/two"):
        web.ok("volume", "destroy", volume)
        web.ok("volume", "create", volume, "--size", "16M", "--format", "qcow2")
    web.ok("define", str(web.scratch / "web.cfg"))
    web.ok("start", "web")

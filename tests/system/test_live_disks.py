"""Disks that change while their guest runs, from the command line to the guest and back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, watch
from .host import Host, wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def host(real_host: Host) -> Iterator[Host]:
    yield real_host
    real_host.tidy()


def disk(port: int, verb: str, device: str, offset: int, size: int, seed: int) -> None:
    """In MiB."""
    answer = ask(port, f"wirt disk-{verb} {device} {offset * MIB} {size * MIB} {seed}")
    assert "ok=1" in answer, answer


def audited(host: Host, name: str) -> str:
    """Nothing is open that should not be, as far as this host's jail goes."""
    found = host.run("-o", "json", "audit", name).out
    assert "of which strange" not in found, found
    return found


def test_a_guest_sees_at_once_that_its_disks_are_larger(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/one", "--size", "8M", "--format", "raw")
    host.ok("volume", "create", "default/two", "--size", "8M", "--format", "qcow2")
    disks = 'disk = ["default/one,,xvda,rw", "default/two,,xvdb,rw"]'
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", more=disks)))
    with watch(host, "web") as console:
        console.until(READY)
    port = port_of(host, "web")
    for volume, device in (("one", "vda"), ("two", "vdb")):
        disk(port, "write", device, 0, 8, 1)
        host.ok("volume", "resize", f"default/{volume}", "--size", "24M")
        assert host.json("volume", "info", f"default/{volume}")["size"] == 24 * MIB
        disk(port, "write", device, 8, 16, 2)
        disk(port, "verify", device, 0, 8, 1)
        disk(port, "verify", device, 8, 16, 2)
        assert "would cut off" in host.fails("volume", "resize", f"default/{volume}", "--size", "8M", "--force")
    audited(host, "web")
    host.ok("destroy", "web")
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", more=disks)))
    host.ok("destroy", "web")


def volumes(host: Host) -> list[str]:
    return sorted(each["reference"] for each in host.json("volume", "list")["volumes"])


def newest(host: Host) -> dict[str, Any]:
    """The newest of the moves."""
    moves = [job for job in host.json("jobs")["jobs"] if job["kind"] == "disk-move"]
    return max(moves, key=lambda job: job["created_at"], default={"state": "", "message": ""})


def begin(host: Host, rate: str) -> subprocess.Popen[bytes]:
    """A move that is under way, of 24 MiB."""
    words = ("wirt", "disk-move", "web", "xvda", "fast/web", "--rate", rate)
    move = host.spawn(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(
        lambda: newest(host)["state"] == "running" and newest(host)["message"].startswith("copying"),
        60,
        "the copying to begin",
    )
    return move


def test_a_disk_moves_while_its_guest_writes_and_wirtd_dies(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "24M", "--format", "raw")
    host.ok("pool", "create", "fast", "--target", str(host.scratch / "fast"))
    config = host.write("web.cfg", pvh(tiny, "web", more='disk = ["default/web,,xvda,rw"]'))
    host.ok("create", config)
    with watch(host, "web") as console:
        console.until(READY)
    port = port_of(host, "web")
    disk(port, "write", "vda", 0, 16, 1)

    move = begin(host, "1M")
    disk(port, "write", "vda", 8, 8, 2)
    host.ok("jobs", "--cancel", newest(host)["id"])
    assert move.wait(60) == 1
    assert volumes(host) == ["default/web"]
    disk(port, "verify", "vda", 8, 8, 2)

    move = begin(host, "6M")
    disk(port, "write", "vda", 4, 2, 3)
    move.kill()
    move.wait(60)
    host.kill9()
    disk(port, "write", "vda", 20, 2, 4)
    host.start()
    disk(port, "write", "vda", 22, 2, 5)
    wait_until(lambda: newest(host)["state"] == "done", 60, "the move to be finished")
    assert volumes(host) == ["fast/web"]
    assert host.json("volume", "info", "fast/web")["holders"][0]["domain"] == "web"
    audited(host, "web")
    host.ok("disk-move", "web", "xvda", "default/back", "--format", "qcow2", "--keep")
    for offset, size, seed in ((0, 4, 1), (4, 2, 3), (6, 2, 1), (8, 8, 2), (20, 2, 4), (22, 2, 5)):
        disk(port, "verify", "vda", offset, size, seed)
    host.ok("destroy", "web")
    assert volumes(host) == ["default/back", "fast/web"]
    assert "default/back" in host.ok("volume", "list").out
    host.ok("volume", "destroy", "fast/web")

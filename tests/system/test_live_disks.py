"""Disks that change while their guest runs, from the command line to the guest and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, watch
from .host import Host

pytestmark = pytest.mark.real


@pytest.fixture
def host(real_host: Host) -> Iterator[Host]:
    yield real_host
    real_host.tidy()


def disk(host: Host, name: str, verb: str, device: str, offset: int, size: int, seed: int) -> None:
    answer = ask(port_of(host, name), f"wirt disk-{verb} {device} {offset * MIB} {size * MIB} {seed}")
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
    for volume, device in (("one", "vda"), ("two", "vdb")):
        disk(host, "web", "write", device, 0, 8, 1)
        host.ok("volume", "resize", f"default/{volume}", "--size", "24M")
        assert host.json("volume", "info", f"default/{volume}")["size"] == 24 * MIB
        disk(host, "web", "write", device, 8, 16, 2)
        disk(host, "web", "verify", device, 0, 8, 1)
        disk(host, "web", "verify", device, 8, 16, 2)
        assert "would cut off" in host.fails("volume", "resize", f"default/{volume}", "--size", "8M", "--force")
    audited(host, "web")
    host.ok("destroy", "web")
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", more=disks)))
    host.ok("destroy", "web")

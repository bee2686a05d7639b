"""What a real guest gets of a disk that is limited."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, ask, port_of, pvh, watch
from .host import Host

pytestmark = [pytest.mark.real, pytest.mark.long]
RUN_MS = 10_000


@pytest.fixture
def host(real_host: Host) -> Iterator[Host]:
    yield real_host
    real_host.tidy()


def requests_per_s(port: int, device: str = "vda", ms: int = RUN_MS) -> float:
    """Of 4 KiB, anywhere; what passes at once after a rest (a tenth of a second's worth) is part of it."""
    answer = ask(port, f"wirt disk-speed {device} read random 4096 8 {ms}")
    told = dict(re.findall(r"(\w+)=([0-9.]+)", answer))
    return float(told["per_s"])


def test_a_limit_holds_within_a_twentieth_and_changes_at_once(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/one", "--size", "8M", "--format", "raw")
    host.ok("volume", "create", "default/two", "--size", "8M", "--format", "qcow2")
    disks = 'disk = ["default/one,,xvda,rw,iops=100", "default/two,,xvdb,rw"]'
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", more=disks)))
    with watch(host, "web") as console:
        console.until(READY)
    port = port_of(host, "web")
    assert requests_per_s(port) == pytest.approx(100, rel=0.05)
    host.ok("disk-qos", "web", "xvda", "--iops", "300")
    assert requests_per_s(port) == pytest.approx(300, rel=0.05)
    host.ok("disk-qos", "web", "xvda", "--none", "--bps", "1M")
    assert requests_per_s(port) == pytest.approx(256, rel=0.05)
    host.ok("disk-qos", "web", "xvdb", "--iops", "200", "--group", "both")
    host.ok("disk-qos", "web", "xvda", "--none", "--group", "both")
    assert requests_per_s(port, "vdb") == pytest.approx(200, rel=0.05)
    assert "iops=200" in host.ok("disk-qos", "web", "xvda").out
    host.ok("disk-qos", "web", "xvdb", "--none")
    assert requests_per_s(port, "vdb") > 300
    assert "no limits" in host.ok("disk-qos", "web", "xvdb").out
    assert "from 1 to" in host.fails("disk-qos", "web", "xvda", "--iops", "9999999999")

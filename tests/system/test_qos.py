"""A class of service and a real guest: weight, cap, limits of disk and card, down to the kernel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wirt.images.tiny import TinyImage
from wirt.sandbox import facts
from wirt.sandbox.disk_weights import BFQ

from .conftest import give_facts
from .guests import pvh
from .host import Host, a_host
from .test_scheduling import group_of, vcpus

pytestmark = [pytest.mark.real, pytest.mark.root]


@pytest.fixture
def host(namespace: str, tmp_path: Path, qemu_facts: Path) -> Iterator[Host]:
    home = give_facts(tmp_path / "home", qemu_facts)
    with a_host(home, tmp_path, prefix=("nsenter", f"--net=/run/netns/{namespace}")) as made:
        yield made


def held(host: Host) -> tuple[str, str, Any, Any]:
    """cpu.shares, the quota, the disk's limits as QEMU has them, and the tap's bucket."""
    domain = host.domain("web")
    (thread,) = vcpus(domain["pid"]).values()
    group = group_of(thread)
    run = group.parent if group.name == "vcpus" else group
    (disk,) = host.json("disk-qos", "web")["disks"]
    tap = domain["vifs"][0]["tap"]
    shown = subprocess.run(
        [*host.prefix, "tc", "-j", "qdisc", "show", "dev", tap], capture_output=True, check=True
    )
    buckets = [each["options"]["rate"] for each in json.loads(shown.stdout) if each["kind"] == "tbf"]
    quota = (group / "cpu.cfs_quota_us").read_text().strip()
    return (run / "cpu.shares").read_text().strip(), quota, disk["now"], buckets


def disk_weights(host: Host) -> list[int]:
    """What the run's group says; nothing where the kernel weighs no disks."""
    line = next(
        (
            row
            for row in Path(f"/proc/{host.domain('web')['pid']}/cgroup").read_text().splitlines()
            if ":blkio:" in row
        ),
        "",
    )
    base = dict(facts.hierarchies().by_controller).get("blkio")
    files = [] if base is None else [base / line.split(":", 2)[2].lstrip("/") / name for name in BFQ]
    return [int(file.read_text().split()[-1]) for file in files if file.exists()]


def test_a_change_of_class_reaches_a_guest_that_runs(host: Host, tiny: TinyImage) -> None:
    if "cpu" not in dict(facts.hierarchies().by_controller):
        pytest.skip("needs control groups of version 1; version 2 is tested in the test host")
    words = ["--weight", "512", "--cap", "50", "--disk-weight", "200", "--iops", "500", "--rate-in", "8Mb/s"]
    host.ok("qos-class", "define", "gold", *words)
    host.ok("volume", "create", "default/one", "--size", "8M", "--format", "raw")
    more = 'qos = "gold"\ndisk = ["default/one,,xvda,rw"]'
    host.ok("create", "-p", host.write("web.cfg", pvh(tiny, "web", vif="", more=more)))
    assert held(host) == ("2048", "50000", {"iops": "500"}, [1_000_000])
    words = ["--weight", "128", "--cap", "75", "--iops", "none", "--bps", "1M", "--rate-in", "16Mb/s"]
    assert disk_weights(host) in ([200], [])
    host.ok("qos-class", "set", "gold", "--disk-weight", "50", *words)
    assert disk_weights(host) in ([50], [])
    assert any("disk" in note and "weigh" in note for note in host.json("info")["notes"])
    changed = ("512", "75000", {"bps": str(1024**2)}, [2_000_000])
    assert held(host) == changed
    host.kill9()
    host.start()
    assert held(host) == changed
    rows = {row["what"]: (row["value"], row["origin"]) for row in host.json("qos", "web")["rows"]}
    assert rows["weight"] == ("128", "class") and rows["disk xvda bps"] == (str(1024**2), "class")
    assert "that of web" in host.fails("qos-class", "destroy", "gold")
    assert "there are gold" in host.fails("qos", "web", "silver")
    host.ok("qos", "web", "none")
    assert held(host) == ("1024", "-1", {}, [])
    host.ok("destroy", "web")
    host.ok("qos-class", "destroy", "gold")

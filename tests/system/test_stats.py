"""What wirtd says that a real guest uses is what it does: it spins, it stands still, it has a disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wirt.images.tiny import TinyImage

from .guests import fake, silent
from .host import Host, wait_until

SEEN_S = 120.0
"""For what takes a few seconds where nothing else runs."""


def of(host: Host, name: str) -> dict[str, Any]:
    (found,) = host.json("stats", name)["domains"]
    assert isinstance(found, dict)
    return found


@pytest.mark.real
def test_a_guest_that_spins_is_seen_and_one_that_is_paused_stands_still(
    real_host: Host, tiny: TinyImage, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    text = silent(tiny, "spin", more=f'disk = ["{disk},raw,xvda,rw"]').replace("console=ttyS0", "spin=1")
    real_host.ok("create", real_host.write("spin.cfg", text))

    def wants_a_cpu() -> bool:
        """It boots, and then it spins: all its time it runs or waits for a CPU."""
        found = of(real_host, "spin")
        rates = [vcpu["cpu_percent"] is not None for vcpu in found["vcpus"]]
        return rates == [True] and found["vcpus"][0]["cpu_percent"] + (found["steal_percent"] or 0) > 75

    wait_until(wants_a_cpu, SEEN_S, "the guest's load")
    found = of(real_host, "spin")
    assert found["vcpus"][0]["cpu_time_s"] > 0 and found["resident_bytes"] > 0 and found["steal_s"] is not None
    assert found["cpu_time_s"] >= found["emulator_time_s"]
    assert [disk["vdev"] for disk in found["disks"]] == ["xvda"] and found["balloon_bytes"] > 0
    real_host.ok("pause", "spin")
    wait_until(lambda: of(real_host, "spin")["cpu_percent"] < 10, SEEN_S, "the guest's rest")
    header, *rows = real_host.ok("top", "-b", "-i", "1").out.splitlines()
    assert header.split()[:4] == ["NAME", "STATE", "CPU(sec)", "CPU(%)"]
    assert [row.split()[0] for row in rows] == ["Domain-0", "spin"]
    (again,) = json.loads(real_host.ok("-o", "json", "top", "-i", "1").out)["domains"][1:]
    assert again["name"] == "spin" and again["flags"] == "--p---"


def test_every_domain_has_its_place_and_domain_0_its_own(fake_host: Host) -> None:
    for name in ("one", "two"):
        fake_host.ok("create", fake_host.write(f"{name}.cfg", fake(name)))
    wait_until(lambda: all(each["sampled"] for each in fake_host.json("stats")["domains"][1:]), SEEN_S, "a sample")
    document = fake_host.json("stats")
    assert [each["domid"] for each in document["domains"]] == [0, 1, 2] and document["host"]["cpus"] >= 1
    assert [each["name"] for each in fake_host.json("stats", "two", "0")["domains"]] == ["two", "Domain-0"]
    assert fake_host.ok("stats").out.splitlines()[0].startswith("Name")
    assert "there is no domain" in fake_host.fails("stats", "three")
    fake_host.ok("destroy", "one")
    assert [each["name"] for each in fake_host.json("stats")["domains"]] == ["Domain-0", "two"]

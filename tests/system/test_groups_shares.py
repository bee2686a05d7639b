"""Weights, caps and budgets of guests that run, and weights of their disks, in control groups of version 2."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .host import Host, wait_until
from .on_kvm import PATIENT_S, a_kvm_host, guest, up
from .test_scheduling import vcpus

pytestmark = [pytest.mark.testhost, pytest.mark.real, pytest.mark.root]

SCRATCH = Path("/dev/disk/by-id/virtio-scratch")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with a_kvm_host(tmp_path) as host:
        yield host


def said(place: Path, file: str) -> str:
    return (place / file).read_text().strip()


def threads(place: Path) -> set[int]:
    return {int(word) for word in said(place, "cgroup.threads").split()}


def test_weight_cap_and_budget_are_in_the_kernel_and_change_while_the_guest_runs(
    host: Host, tiny: TinyImage
) -> None:
    place = guest(host, tiny, "web", "vcpus = 2\ncpu_weight = 512\ncap = 50")
    up(host, "web")
    assert (said(place, "cpu.weight"), said(place, "vcpus/cpu.max")) == ("200", "50000 100000")
    own = set(vcpus(host.domain("web")["pid"]).values())
    assert len(own) == 2 and threads(place / "vcpus") == own
    assert threads(place) and not threads(place) & own, "QEMU's other threads are bounded by no cap"

    host.ok("sched-credit", "-d", "web", "-w", "128", "-c", "0")
    assert (said(place, "cpu.weight"), said(place, "vcpus/cpu.max")) == ("50", "max 100000")
    host.ok("sched-rtds", "-d", "web", "-p", "10000", "-b", "2500")
    assert {said(place, f"vcpus/{number}/cpu.max") for number in (0, 1)} == {"2500 10000"}
    assert {frozenset(threads(place / f"vcpus/{number}")) for number in (0, 1)} == {
        frozenset((thread,)) for thread in own
    }
    host.ok("sched-rtds", "-d", "web", "-b", "0")
    assert {said(place, f"vcpus/{number}/cpu.max") for number in (0, 1)} == {"max 100000"}
    assert "kept by the kernel's cgroup v2" in host.json("info")["scheduling"]

    host.kill9()
    (place / "cpu.weight").write_text("7")
    host.start()
    wait_until(lambda: said(place, "cpu.weight") == "50", PATIENT_S, "a new daemon to mend it")
    host.ok("destroy", "web")
    assert not place.exists()


def test_a_capped_guest_is_held_back_by_the_kernel_and_another_is_not(host: Host, tiny: TinyImage) -> None:
    capped = guest(host, tiny, "capped", "cap = 20", words="spin=1")
    free = guest(host, tiny, "free", words="spin=1")
    for name in ("capped", "free"):
        up(host, name)
    wait_until(lambda: throttled(capped / "vcpus") > 20, PATIENT_S, "the capped one to be held back")
    assert throttled(free) == 0 and not (free / "vcpus").exists()


def throttled(place: Path) -> int:
    rows = (line.split() for line in said(place, "cpu.stat").splitlines())
    return int(dict(rows).get("nr_throttled", 0))


@pytest.fixture
def scheduler() -> Iterator[Path]:
    """Of the scratch disk."""
    file = Path(f"/sys/block/{SCRATCH.resolve().name}/queue/scheduler")
    before = file.read_text().partition("[")[2].partition("]")[0]
    yield file
    file.write_text(before)
    subprocess.run(["modprobe", "-r", "bfq"], timeout=PATIENT_S, check=False)


def test_weights_of_disks_are_where_their_scheduler_looks_and_it_is_told_where_none_does(
    host: Host, tiny: TinyImage, scheduler: Path
) -> None:
    place = guest(host, tiny, "web", f'disk_weight = 300\ndisk = ["{SCRATCH},raw,xvda,rw"]')
    assert said(place, "io.weight") == "default 300"
    assert "counts for nothing now" in host.ok("disk-qos", "web", "--weight", "300").err

    scheduler.write_text("bfq")
    wait_until(lambda: said(place, "io.bfq.weight") == "default 300", PATIENT_S, "the loop to write it there too")
    assert f"count on {SCRATCH.resolve().name}" in host.ok("info").out
    told = host.ok("disk-qos", "web", "--weight", "400")
    assert "counts for nothing" not in told.err
    assert (said(place, "io.bfq.weight"), said(place, "io.weight")) == ("default 400",) * 2
    host.ok("disk-qos", "web", "--weight", "none")
    assert said(place, "io.bfq.weight") == "default 100"

"""What tests in the test host may rely on, each found by doing it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.network.namespace import own_namespace

pytestmark = [pytest.mark.testhost, pytest.mark.root]

GROUPS = Path("/sys/fs/cgroup")
PATIENT_S = 400
"""Under emulation, and with other work on both CPUs outside."""


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENT_S, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@pytest.fixture
def namespace() -> Iterator[None]:
    with own_namespace():
        yield


def test_control_groups_are_version_2_with_every_controller_and_nothing_of_version_1() -> None:
    kinds = {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if "cgroup" in line}
    assert kinds == {"cgroup2"}
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set((GROUPS / "cgroup.controllers").read_text().split())


def test_systemd_delegates_controllers_to_a_user_who_asks() -> None:
    command = "cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers"
    words = (
        "systemd-run",
        "--quiet",
        "--pipe",
        "--wait",
        "-p",
        "User=guest",
        "-p",
        "Delegate=yes",
        "sh",
        "-c",
        command,
    )
    assert {"cpu", "memory", "pids"} <= set(run(*words).split())


def test_bridges_filter_vlans(namespace: None) -> None:
    run("ip", "link", "add", "br0", "type", "bridge", "vlan_filtering", "1")
    run("ip", "link", "add", "port", "type", "veth", "peer", "name", "far")
    run("ip", "link", "set", "port", "master", "br0")
    run("bridge", "vlan", "add", "dev", "port", "vid", "10", "pvid", "untagged")
    assert "10 PVID Egress Untagged" in run("bridge", "vlan", "show", "dev", "port")


def test_there_are_tagged_devices_and_vxlan(namespace: None) -> None:
    run("ip", "link", "add", "dummy0", "type", "dummy")
    run("ip", "link", "add", "link", "dummy0", "name", "tagged", "type", "vlan", "id", "10")
    run("ip", "link", "add", "vx", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "dummy0")
    assert "vlan protocol 802.1Q id 10" in run("ip", "-d", "link", "show", "tagged")


def test_links_can_be_delayed_and_policed(namespace: None) -> None:
    run("ip", "link", "add", "dummy0", "type", "dummy")
    run("tc", "qdisc", "add", "dev", "dummy0", "root", "netem", "delay", "10ms", "loss", "1%")
    run("tc", "qdisc", "add", "dev", "dummy0", "clsact")
    police = ("action", "police", "rate", "1mbit", "burst", "10k", "conform-exceed", "drop")
    run("tc", "filter", "add", "dev", "dummy0", "ingress", "matchall", *police)
    assert "netem" in run("tc", "qdisc", "show", "dev", "dummy0")
    assert "police" in run("tc", "filter", "show", "dev", "dummy0", "ingress")


def test_nft_knows_connections_in_a_bridge(namespace: None) -> None:
    rules = "table bridge t { chain c { type filter hook forward priority 0; ct state established accept; }; }"
    run("nft", rules)
    assert "ct state established accept" in run("nft", "list", "table", "bridge", "t")


def test_logical_volumes_thick_and_thin_can_be_made_of_the_scratch_disk() -> None:
    disk = str(Path("/dev/disk/by-id/virtio-scratch").resolve())
    run("vgcreate", "-q", "facts", disk)
    try:
        run("lvcreate", "-q", "-y", "-L", "16M", "-n", "thick", "facts")
        run("lvcreate", "-q", "-y", "-L", "64M", "-T", "facts/pool", "-V", "256M", "-n", "thin")
        run("lvcreate", "-q", "-y", "-s", "-n", "earlier", "facts/thin")
        assert Path("/dev/facts/thick").is_block_device()
        assert Path("/dev/facts/thin").is_block_device()
    finally:
        run("vgremove", "-q", "-y", "facts")
        run("pvremove", "-q", "-y", disk)


def test_a_directory_can_be_mounted_over_nfs(tmp_path: Path) -> None:
    shared, mounted = tmp_path / "shared", tmp_path / "mounted"
    shared.mkdir()
    mounted.mkdir()
    (shared / "file").write_text("there")
    run("systemctl", "start", "nfs-server")
    try:
        run("exportfs", "-i", "-o", "rw,no_root_squash,fsid=7", f"127.0.0.1:{shared}")
        run("mount", "-t", "nfs4", f"127.0.0.1:{shared}", str(mounted))
        try:
            assert (mounted / "file").read_text() == "there"
        finally:
            run("umount", str(mounted))
    finally:
        run("exportfs", "-u", f"127.0.0.1:{shared}")
        run("systemctl", "stop", "nfs-server")

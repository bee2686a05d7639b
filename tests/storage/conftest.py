"""The worlds that the contract suite is run in. What needs a device mapper or NFS runs in the test host."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .worlds import DirectoryWorld, FakeWorld, LvmWorld, NfsWorld, World

GROUP, THIN = "wirttest", "thin"
THERE = (pytest.mark.testhost, pytest.mark.root)
SCRATCH = "/dev/disk/by-id/virtio-scratch"


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@pytest.fixture(
    params=[
        "fake",
        "dir",
        pytest.param("lvm", marks=THERE),
        pytest.param("lvmthin", marks=THERE),
        pytest.param("nfs", marks=THERE),
    ]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
    elif request.param == "dir":
        yield DirectoryWorld(tmp_path / "pool")
    elif request.param == "nfs":
        nfs = await NfsWorld.open(request.getfixturevalue("export"), tmp_path)
        yield nfs
        await nfs.pool.close()
    else:
        group = request.getfixturevalue("group")
        yield LvmWorld(group, THIN if request.param == "lvmthin" else None)
        names = run("lvs", "--noheadings", "-o", "lv_name", group).split()
        for name in names:
            if name != THIN:
                run("lvremove", "-q", "-y", f"{group}/{name}")


@pytest.fixture(scope="module")
def group() -> Iterator[str]:
    """A volume group with a thin pool in it, on the scratch disk."""
    disk = str(Path(SCRATCH).resolve())
    run("vgcreate", "-q", GROUP, disk)
    try:
        run("lvcreate", "-q", "-y", "-L", "256M", "-T", f"{GROUP}/{THIN}")
        yield GROUP
    finally:
        run("vgremove", "-q", "-y", GROUP)
        run("pvremove", "-q", "-y", disk)


@pytest.fixture
def export(tmp_path: Path) -> Iterator[str]:
    """A directory that a kernel's NFS server exports, as ``SERVER:/PATH``."""
    shared = tmp_path / "shared"
    shared.mkdir()
    run("sh", "-c", "systemctl start nfs-server")
    try:
        run("exportfs", "-i", "-o", "rw,no_root_squash,fsid=9", f"127.0.0.1:{shared}")
        yield f"127.0.0.1:{shared}"
    finally:
        subprocess.run(["exportfs", "-u", f"127.0.0.1:{shared}"], check=False, timeout=60)

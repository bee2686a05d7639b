"""Pools for disks beside the one that every wirtd has: on LVM, on a thin pool, on an NFS server of this host. They
need a device mapper, a disk that may be overwritten and a kernel that serves NFS: the test host has all three."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.rigs.api import Refused
from bench.rigs.wirtd import Wirtd
from bench.rigs.workshop import Workshop

SCRATCH = Path("/dev/disk/by-id/virtio-scratch")
GROUP, THIN, THIN_SIZE = "wirtbench", "thin", "1G"
MISSING = (
    "needs a scratch disk, a device mapper and a kernel that serves NFS, which the test host has: "
    "python -m tests.testhost run env PATH=/opt/wirt/bin:/usr/sbin:/usr/bin WIRT_BENCH_DISK_MIB=32 "
    "/opt/wirt/bin/python -m bench --runs 2 disk-throughput disk-iops"
)
TOOL_S = 120.0


@contextlib.contextmanager
def pools(workshop: Workshop, wirtd: Wirtd) -> Iterator[frozenset[str]]:
    """The names of those that could be made, called as their types are. Nothing of them stays."""
    if not SCRATCH.exists():
        yield frozenset()
        return
    with _group() as group, _export(workshop) as source, contextlib.ExitStack() as stack:
        made = {
            "lvm": {"target": group},
            "lvmthin": {"target": f"{group}/{THIN}"},
            "nfs": {"source": source},
        }
        for name, where in made.items():
            wirtd.request("POST", "/v1/pools?wait=1", {"name": name, "type": name, **where}).finished()
            stack.callback(_destroy, wirtd, name)
        yield frozenset(made)


def _destroy(wirtd: Wirtd, name: str) -> None:
    with contextlib.suppress(Refused):
        wirtd.request("POST", f"/v1/pools/{name}/destroy?wait=1&delete-volumes=true").finished()


@contextlib.contextmanager
def _group() -> Iterator[str]:
    disk = str(SCRATCH.resolve())
    _run("vgcreate", "-q", GROUP, disk)
    try:
        _run("lvcreate", "-q", "-y", "-L", THIN_SIZE, "-T", f"{GROUP}/{THIN}")
        yield GROUP
    finally:
        _run("vgremove", "-q", "-y", GROUP)
        _run("pvremove", "-q", "-y", disk)


@contextlib.contextmanager
def _export(workshop: Workshop) -> Iterator[str]:
    shared = workshop.folder("export")
    _run("systemctl", "start", "nfs-server")
    _run("exportfs", "-i", "-o", "rw,no_root_squash,fsid=9", f"127.0.0.1:{shared}")
    try:
        yield f"127.0.0.1:{shared}"
    finally:
        _run("exportfs", "-u", f"127.0.0.1:{shared}")


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=TOOL_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")

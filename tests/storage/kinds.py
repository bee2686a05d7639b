"""The real things that pools stand on: a volume group with a thin pool, and a server's export. Only in the test
host."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUP, THIN = "wirttest", "thin"
SCRATCH = "/dev/disk/by-id/virtio-scratch"
_CUT = "inet gone"


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@contextmanager
def a_group() -> Iterator[str]:
    """A volume group with a thin pool in it, on the scratch disk; its name."""
    disk = str(Path(SCRATCH).resolve())
    run("vgcreate", "-q", GROUP, disk)
    try:
        run("lvcreate", "-q", "-y", "-L", "256M", "-T", f"{GROUP}/{THIN}")
        yield GROUP
    finally:
        run("vgremove", "-q", "-y", "-f", GROUP)
        run("pvremove", "-q", "-y", disk)


@contextmanager
def an_export(shared: Path) -> Iterator[str]:
    """``shared`` as a kernel's NFS server exports it: ``SERVER:/PATH``."""
    run("sh", "-c", "systemctl start nfs-server")
    try:
        run("exportfs", "-i", "-o", f"rw,no_root_squash,fsid={shared.stat().st_ino}", f"127.0.0.1:{shared}")
        yield f"127.0.0.1:{shared}"
    finally:
        subprocess.run(["exportfs", "-u", f"127.0.0.1:{shared}"], check=False, timeout=60)


@contextmanager
def no_server() -> Iterator[None]:
    """Nothing that is sent to the server arrives, as if its cable were out."""
    run("nft", "add", "table", *_CUT.split())
    try:
        run("nft", "add", "chain", *_CUT.split(), "out", "{ type filter hook output priority 0; }")
        run("nft", "add", "rule", *_CUT.split(), "out", "tcp", "dport", "2049", "drop")
        yield
    finally:
        run("nft", "delete", "table", *_CUT.split())


@contextmanager
def a_small_file_system(place: Path, size: str) -> Iterator[Path]:
    """An ext4 of ``size`` (as ``32M``) at ``place``, in a file beside it."""
    image = place.with_name(f"{place.name}.ext4")
    run("truncate", "-s", size, str(image))
    run("mke2fs", "-q", "-t", "ext4", "-m", "0", str(image))
    place.mkdir()
    run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        with contextlib.suppress(AssertionError):
            run("umount", str(place))

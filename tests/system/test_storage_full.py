"""A server's file system, and a thin pool, that are full in the middle of what is done: the guest keeps the disk
that it had, with every byte, nothing half made stays, and with room again it works."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.kinds import a_group, a_small_file_system, an_export, run

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .conftest import give_facts
from .guests import READY, watch
from .host import Host, a_host
from .one_disk import holds, references, start, up, write

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

POOLS = ("small", "little")
"""With less than 24 MiB of room: a server's file system, a thin pool."""


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory, qemu_facts: Path) -> Iterator[Host]:
    scratch = tmp_path_factory.mktemp("full")
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(a_group())
        run("lvcreate", "-q", "-y", "-L", "20M", "-T", f"{group}/little")
        # What waits for room waits for a minute otherwise (linux, device-mapper/thin-provisioning.rst).
        Path("/sys/module/dm_thin_pool/parameters/no_space_timeout").write_text("10")
        place = stack.enter_context(a_small_file_system(scratch / "small", "24M"))
        source = stack.enter_context(an_export(place))
        host = stack.enter_context(a_host(give_facts(scratch / "home", qemu_facts), scratch))
        host.ok("pool", "create", "small", "--type", "nfs", "--source", source)
        host.ok("pool", "create", "little", "--type", "lvmthin", "--target", f"{group}/little")
        yield host
        host.tidy()
        for pool in POOLS:
            host.ok("pool", "destroy", pool, "-y")


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    yield shared_host
    if "web" in shared_host.names():
        shared_host.run("destroy", "web")
        for each in shared_host.json("snapshot", "list", "web")["snapshots"]:
            shared_host.ok("snapshot", "delete", "web", each["name"])
        shared_host.ok("undefine", "web")
    for reference in references(shared_host):
        shared_host.ok("volume", "destroy", reference)
    (shared_host.scratch / "small" / ".filler").unlink(missing_ok=True)


@contextlib.contextmanager
def no_room(host: Host, pool: str, left: int = 0) -> Iterator[None]:
    """Somebody else has taken all of it, but for ``left`` MiB."""
    if pool == "small":
        filler = host.scratch / "small" / ".filler"
        for size in (MIB, 4096):
            with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\xff" * size)
        os.truncate(filler, filler.stat().st_size - left * MIB)
        yield
        filler.unlink()
    else:
        room = host.json("pool", "info", "little")["pool"]["available"] // MIB
        host.ok("volume", "create", "little/filler", "--size", "20M")
        words = ["dd", "if=/dev/urandom", "of=/dev/wirttest/filler", "bs=1M", "oflag=direct"]
        subprocess.run([*words, f"count={room - left}"], check=True, timeout=300, capture_output=True)
        yield
        host.ok("volume", "destroy", "little/filler")


@pytest.mark.parametrize("pool", POOLS)
def test_what_is_done_to_a_disk_in_a_full_pool_fails_whole_and_works_with_room_again(
    host: Host, tiny: TinyImage, tmp_path: Path, pool: str
) -> None:
    disk = f"{pool}/web"
    host.ok("volume", "create", disk, "--size", "8M", "--format", "raw")
    up(host, tiny, disk)
    write(host, 1, 0, 8)
    with no_room(host, pool):
        kept = references(host)
        snapshot = host.run("snapshot", "create", "web", "kept")
        if pool == "small":
            assert snapshot.code == 1
            assert "No space left" in snapshot.err or "room" in snapshot.err or "full" in snapshot.err
            assert references(host) == kept
            # Its image is written where the disks are, and the backup elsewhere.
            place = str(host.scratch / "small" / "backups")
            failed = host.run("backup", "create", "web", "--to", place)
            assert failed.code == 1, failed
        host.ok("backup", "create", "web", "--to", str(tmp_path))
        assert host.domain("web")["state"] == "running"
        holds(host, 1, 0, 8)
    if snapshot.code != 0:
        assert host.json("snapshot", "list", "web")["snapshots"] == []
        host.ok("snapshot", "create", "web", "kept")
    write(host, 2, 4)
    host.ok("snapshot", "revert", "web", "kept", "--force")
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)
    holds(host, 1, 0, 8)
    host.ok("snapshot", "delete", "web", "kept")
    holds(host, 1, 0, 8)
    assert references(host) == [disk]


@pytest.mark.parametrize("pool", POOLS)
def test_a_copy_into_a_full_pool_says_that_it_is_full_and_leaves_the_guest_its_disk_and_nothing_there(
    host: Host, tiny: TinyImage, pool: str
) -> None:
    """Live, and of a guest that is off; the pool is full to begin with, or becomes so while it is copied."""
    host.ok("volume", "create", "default/web", "--size", "16M", "--format", "raw")
    up(host, tiny, "default/web")
    write(host, 1, 0, 16)
    move, copy = ("disk-move", "web", "xvda", f"{pool}/web"), ("volume", "copy", "default/web", f"{pool}/copy")
    with no_room(host, pool):
        kept = references(host)
        is_full(host, pool, *move)
        assert references(host) == kept
        assert host.domain("web")["state"] == "running"
        holds(host, 1, 0, 16)
        write(host, 2, 4)
    with no_room(host, pool, left=8):
        is_full(host, pool, *move)
        assert references(host) == kept
        assert host.domain("web")["state"] == "running"
        holds(host, 2, 4)
        write(host, 3, 5)
    host.ok("destroy", "web")
    with no_room(host, pool):
        is_full(host, pool, *copy)
        is_full(host, pool, *move)
        assert references(host) == kept
    start(host)
    holds(host, 2, 4)
    holds(host, 3, 5)
    holds(host, 1, 6, 10)
    host.ok(*move)
    assert references(host) == [f"{pool}/web"]
    for seed, offset, size in ((1, 0, 4), (2, 4, 1), (3, 5, 1), (1, 6, 10)):
        holds(host, seed, offset, size)


def is_full(host: Host, pool: str, *words: str) -> None:
    begun = host.run("-o", "json", *words)
    assert (begun.code, begun.json["error"]["code"]) == (1, "shortage"), begun
    assert f"pool {pool} has 0 MiB left" in begun.err or "is out of data space" in begun.err, begun.err
    assert "wirt pool list" in begun.err, begun.err
    assert "undo" not in begun.err, begun.err

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
from .guests import READY, ask, port_of, pvh, watch
from .host import Host, a_host

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

POOLS = ("small", "little")
"""With less than 24 MiB of room: a server's file system, a thin pool."""


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory, qemu_facts: Path) -> Iterator[Host]:
    scratch = tmp_path_factory.mktemp("full")
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(a_group())
        run("lvcreate", "-q", "-y", "-L", "20M", "-T", f"{group}/little")
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


def references(host: Host) -> list[str]:
    return sorted(each["reference"] for each in host.json("volume", "list")["volumes"])


def up(host: Host, tiny: TinyImage, volume: str) -> None:
    more = f'disk = ["{volume},,xvda,rw"]'
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", more=more)))
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)


def write(host: Host, seed: int, offset: int, size: int = 1) -> None:
    answer = ask(port_of(host, "web"), f"wirt disk-write vda {offset * MIB} {size * MIB} {seed}")
    assert "ok=1" in answer, answer


def holds(host: Host, seed: int, offset: int, size: int = 1) -> None:
    answer = ask(port_of(host, "web"), f"wirt disk-verify vda {offset * MIB} {size * MIB} {seed}")
    assert "ok=1" in answer, answer


@contextlib.contextmanager
def no_room(host: Host, pool: str) -> Iterator[None]:
    """Somebody else has taken all of it."""
    if pool == "small":
        filler = host.scratch / "small" / ".filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\xff" * MIB)
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\xff" * 4096)
        yield
        filler.unlink()
    else:
        host.ok("volume", "create", "little/filler", "--size", "20M")
        device = os.open("/dev/wirttest/filler", os.O_WRONLY | os.O_DIRECT)
        os.close(device)
        words = ["dd", "if=/dev/urandom", "of=/dev/wirttest/filler", "bs=1M", "oflag=direct"]
        subprocess.run([*words, "count=12"], check=True, timeout=300, capture_output=True)
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

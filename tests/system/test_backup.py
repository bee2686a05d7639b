"""Backups of real guests, from the command line to QEMU and back: every byte is the one that was there then."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, Watch, pvh, watch
from .host import Host

pytestmark = pytest.mark.real
BLOCK = 64 * 1024


@pytest.fixture
def host(real_host: Host) -> Iterator[Host]:
    yield real_host
    real_host.tidy()


def guest(host: Host, tiny: TinyImage, name: str) -> str:
    disks = 'disk = ["default/web-a,,xvda,rw", "default/web-b,,xvdb,rw"]'
    return host.write(f"{name}.cfg", pvh(tiny, name, vif="net=none", more=disks))


def write(console: Watch, device: str, block: int, letter: str) -> None:
    console.does(
        f"head -c {BLOCK} /dev/zero | tr '\\0' {letter} |"
        f" dd of=/dev/{device} bs={BLOCK} seek={block} iflag=fullblock conv=fsync,notrunc 2>/dev/null"
    )


def content(host: Host, volume: str) -> bytes:
    found = host.json("volume", "info", volume)
    raw = host.scratch / "content.raw"
    words = ["qemu-img", "convert", "-f", found["format"], "-O", "raw", found["path"], str(raw)]
    subprocess.run(words, check=True, timeout=60)
    return raw.read_bytes()


def expected(size: int, blocks: dict[int, str]) -> bytes:
    disk = bytearray(size)
    for number, letter in blocks.items():
        disk[number * BLOCK : (number + 1) * BLOCK] = letter.encode() * BLOCK
    return bytes(disk)


def test_each_backup_of_a_running_guest_gives_back_its_own_instant_and_one_comes_up(
    host: Host, tiny: TinyImage, tmp_path: Path
) -> None:
    host.ok("volume", "create", "default/web-a", "--size", "16M")
    host.ok("volume", "create", "default/web-b", "--size", "8M", "--format", "raw")
    place = str(tmp_path / "backups")
    host.ok("define", guest(host, tiny, "web"))
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)
        write(console, "vda", 3, "a")
        write(console, "vdb", 5, "b")
        first = host.json("backup", "create", "web", "--to", place)["result"]
        write(console, "vda", 3, "c")
        write(console, "vda", 200, "d")
        second = host.json("backup", "create", "web", "--to", place)["result"]
        write(console, "vdb", 5, "e")
    assert (first["kind"], second["kind"]) == ("full", "incremental")
    assert second["moved"] == 2 * BLOCK
    listed = host.json("backup", "list")["backups"]
    assert [each["id"] for each in listed] == [first["backup"], second["backup"]]
    assert first["backup"] in host.ok("backup", "list", "--from", place).out

    for each, name in ((first, "one"), (second, "two")):
        host.ok("restore-backup", each["backup"], "--name", name)
    a, b = 16 << 20, 8 << 20
    assert content(host, "default/one-xvda") == expected(a, {3: "a"})
    assert content(host, "default/one-xvdb") == expected(b, {5: "b"})
    assert content(host, "default/two-xvda") == expected(a, {3: "c", 200: "d"})
    assert content(host, "default/two-xvdb") == expected(b, {5: "b"})

    host.ok("backup", "verify", second["backup"])
    report = host.json("backup", "verify", second["backup"], "--boot", "--expect", READY.decode())["result"]
    assert report["ready_s"] > 0
    assert {each["name"] for each in host.json("list", "-a")["domains"]} >= {"web", "one", "two"}
    assert not [each for each in host.json("volume", "list")["volumes"] if "verify" in each["name"]]
    host.ok("backup", "prune", "--from", place, "--keep-last", "1")
    assert [each["id"] for each in host.json("backup", "list")["backups"]] == [second["backup"]]
    host.ok("destroy", "web")


@pytest.mark.long
def test_what_an_image_keeps_of_its_changes_outlives_the_run(host: Host, tiny: TinyImage, tmp_path: Path) -> None:
    """The guest ends in order, is backed up while it is off, starts, and is killed."""
    host.ok("volume", "create", "default/web-a", "--size", "16M")
    host.ok("volume", "create", "default/web-b", "--size", "8M", "--format", "raw")
    place = str(tmp_path / "backups")

    def back_up() -> dict[str, tuple[str, int]]:
        made = host.json("backup", "create", "web", "--to", place)["result"]["backup"]
        return {each["vdev"]: (each["kind"], each["moved"]) for each in host.json("backup", "info", made)["disks"]}

    host.ok("define", guest(host, tiny, "web"))
    host.ok("start", "web")
    assert {kind for kind, _ in back_up().values()} == {"full"}
    with watch(host, "web") as console:
        console.until(READY)
        write(console, "vda", 3, "a")
        write(console, "vdb", 3, "a")
    host.ok("destroy", "web")
    assert back_up() == {"xvda": ("incremental", BLOCK), "xvdb": ("full", BLOCK)}
    assert back_up() == {"xvda": ("incremental", 0), "xvdb": ("full", BLOCK)}
    host.ok("start", "web")
    assert {vdev: kind for vdev, (kind, _) in back_up().items()} == {"xvda": "incremental", "xvdb": "full"}
    assert back_up() == {"xvda": ("incremental", 0), "xvdb": ("incremental", 0)}
    os.kill(host.domain("web")["pid"], signal.SIGKILL)
    host.ok("wait", "web")
    assert {kind for kind, _ in back_up().values()} == {"full"}
    assert back_up()["xvda"] == ("incremental", 0)

"""Real guests move between two hosts that know each other: two daemons, TLS, and one machine."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, hvm, port_of, pvh, silent, watch
from .host import Host, a_host
from .test_peers import free_port, pair

pytestmark = pytest.mark.real


def one(directory: Path, name: str, prefix: Sequence[str] = ()) -> AbstractContextManager[Host]:
    scratch = directory / name
    scratch.mkdir()
    environment = {"WIRT_HOST": name, "WIRT_PEER_LISTEN": f"127.0.0.1:{free_port()}"}
    return a_host(scratch / "home", scratch, environment=environment, prefix=prefix)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    with one(tmp_path, "a") as a, one(tmp_path, "b") as b:
        pair(a, b)
        pair(b, a)
        yield a, b


@pytest.fixture
def apart(tmp_path: Path, tiny: TinyImage) -> Iterator[tuple[Host, Host, TinyImage]]:
    """The second of them does not see the kernel of the first, which is in a directory that is empty for it."""
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    mine = replace(tiny, kernel=kernels / "vmlinuz-mine", initramfs=kernels / "initrd.img")
    shutil.copyfile(tiny.kernel, mine.kernel)
    shutil.copyfile(tiny.initramfs, mine.initramfs)
    hide = f'mount -t tmpfs none {kernels} && exec "$@"'
    with one(tmp_path, "a") as a, one(tmp_path, "b", ("unshare", "-m", "sh", "-c", hide, "sh")) as b:
        pair(a, b)
        pair(b, a)
        yield a, b, mine


def start(host: Host, tiny: TinyImage, more: str = "") -> int:
    """A guest that has something in its memory; the port that it answers at."""
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", more=more)))
    with watch(host, "web") as console:
        console.until(READY)
    port = port_of(host, "web")
    assert "ok=1" in ask(port, "wirt dirty 8 4")
    return port


def is_whole(host: Host) -> None:
    assert host.domain("web")["state"] == "running"
    assert "ok=1" in ask(port_of(host, "web"), "wirt mem-verify")


def test_a_guest_moves_to_another_host_and_back_and_then_shut_down_and_both_have_the_receipts(
    two: tuple[Host, Host], tiny: TinyImage
) -> None:
    a, b = two
    start(a, tiny)
    plan = a.json("migrate", "web", "b", "--dry-run")
    assert plan["possible"] and plan["forecast"]["way"] == "precopy" and plan["remarks"][1:] == [], plan
    found = a.json("cpu", "baseline")
    assert (found["hosts"], found["held_back"], found["not_asked"]) == (["a", "b"], [], [])
    receipt = a.json("migrate", "web", "b")["result"]
    assert receipt["outcome"] == "runs" and 0 < receipt["blackout_s"] < 30, receipt
    assert a.names() == [] and a.guests() == {}
    is_whole(b)
    told = b.ok("console", "--no-follow", "web").out
    assert told.count("Linux version") == 1 and told.count("wirt-tiny ready") == 1, "from its boot on, and once"
    b.ok("migrate", "web", "a")
    is_whole(a)
    assert b.names() == [] and b.guests() == {}
    for host in two:
        ways = [(each["source"], each["target"]) for each in host.json("migrations")["migrations"]]
        assert ways == [("a", "b"), ("b", "a")]
    assert "is on b, and runs there" in a.ok("migrate", "--offline", "web", "b").out
    assert a.names() == [] and a.guests() == {} and b.domain("web")["state"] == "running"
    b.ok("destroy", "web")


def test_one_that_is_off_takes_its_disk_along(two: tuple[Host, Host], tiny: TinyImage, tmp_path: Path) -> None:
    a, b = two
    content = random.Random(1).randbytes(3 * MIB) + bytes(20 * MIB) + b"the end".ljust(MIB, b".")
    (tmp_path / "image.raw").write_bytes(content)
    a.ok("volume", "import", "default/off", str(tmp_path / "image.raw"), "--format", "qcow2")
    a.ok("define", a.write("off.cfg", silent(tiny, "off", more='disk = ["default/off,,xvda,rw"]')))
    assert "--with-storage" in a.fails("migrate", "--offline", "off", "b")
    result = a.json("migrate", "--offline", "--with-storage", "off", "b")["result"]
    assert (result["outcome"], result["way"], result["disk_bytes"]) == ("off", "offline", len(content))
    assert (a.names(), a.json("volume", "list")["volumes"], b.domain("off")["state"]) == ([], [], "off")
    b.ok("volume", "export", "default/off", str(tmp_path / "back.raw"), "--file-format", "raw")
    assert (tmp_path / "back.raw").read_bytes() == content


def test_several_move_with_one_command_and_one_that_can_not_keeps_none_from_it(
    two: tuple[Host, Host], tiny: TinyImage
) -> None:
    a, b = two
    b.ok("define", b.write("taken.cfg", silent(tiny, "taken")))
    for name in ("web", "db", "taken"):
        a.ok("create", a.write(f"{name}.cfg", silent(tiny, name)))
    done = a.run("-o", "json", "migrate", "--all", "b", "--bandwidth", "200M")
    assert done.code == 1, done
    assert [each["domain"] for each in done.json["failed"]] == ["taken"], done.json["failed"]
    assert sorted(each["subject"] for each in done.json["migrations"]) == ["db", "web"]
    assert (a.names(), sorted(b.names())) == (["taken"], ["db", "taken", "web"])
    a.ok("destroy", "taken")
    b.ok("destroy", "web", "db")


def test_its_disk_comes_along(two: tuple[Host, Host], tiny: TinyImage) -> None:
    a, b = two
    a.ok("volume", "create", "default/web", "--size", "24M", "--format", "qcow2")
    port = start(a, tiny, 'disk = ["default/web,,xvda,rw"]')
    assert "ok=1" in ask(port, f"wirt disk-write vda 0 {16 * MIB} 7")
    assert "--with-storage" in a.fails("migrate", "web", "b")
    a.ok("migrate", "web", "b", "--with-storage")
    is_whole(b)
    port = port_of(b, "web")
    assert "ok=1" in ask(port, f"wirt disk-verify vda 0 {16 * MIB} 7")
    assert "ok=1" in ask(port, f"wirt disk-write vda {16 * MIB} {MIB} 8")
    assert [each["reference"] for each in a.json("volume", "list")["volumes"]] == []
    b.ok("destroy", "web")


def test_a_linked_clone_takes_its_template_and_its_kernel_along_and_finds_them_where_they_were_on_its_way_back(
    apart: tuple[Host, Host, TinyImage], tmp_path: Path
) -> None:
    a, b, tiny = apart
    content = os.urandom(12 * MIB).ljust(24 * MIB, b"\0")
    Path(tmp_path, "base.raw").write_bytes(content)
    a.ok("volume", "import", "default/base", str(tmp_path / "base.raw"))
    a.ok("volume", "clone", "default/base", "default/middle")
    a.ok("volume", "clone", "default/middle", "default/web")
    port = start(a, tiny, 'disk = ["default/web,,xvda,rw"]')
    assert "ok=1" in ask(port, f"wirt disk-write vda {2 * MIB} {MIB} 8")
    plan = a.json("migrate", "web", "b", "--with-storage", "--dry-run")
    assert [(each["key"], each["copied"]) for each in plan["files"]] == [("kernel", True), ("ramdisk", True)]
    assert plan["disks"][0]["layers"] == [
        {"volume": f"default/{name}", "copied": True} for name in ("base", "middle")
    ]
    a.ok("migrate", "web", "b", "--with-storage")
    stands_on_its_template(b)
    (kernel,) = Path(b.home.boot).glob("*/vmlinuz-mine")
    assert kernel.read_bytes() == Path(tiny.kernel).read_bytes() and str(kernel) in b.ok("list", "-l", "web").out
    assert volumes(a) == {"default/base": None, "default/middle": "base"}
    b.ok("migrate", "web", "a", "--with-storage")
    stands_on_its_template(a)
    assert str(tiny.kernel) in a.ok("list", "-l", "web").out
    assert volumes(b) == {} and list(Path(b.home.boot).iterdir()) == [], "nothing there needs them any more"
    a.ok("destroy", "web")
    whole = content_of(a, "web", tmp_path)
    assert whole[: 2 * MIB] + whole[3 * MIB :] == content[: 2 * MIB] + content[3 * MIB :]


@pytest.mark.long
def test_a_linked_clone_that_is_off_stands_on_the_same_template_there(
    two: tuple[Host, Host], tiny: TinyImage, tmp_path: Path
) -> None:
    a, b = two
    content = random.Random(2).randbytes(4 * MIB).ljust(8 * MIB, b"\0")
    Path(tmp_path, "base.raw").write_bytes(content)
    a.ok("volume", "import", "default/base", str(tmp_path / "base.raw"))
    a.ok("volume", "clone", "default/base", "default/web")
    (image,) = (each["path"] for each in a.json("volume", "list")["volumes"] if each["name"] == "web")
    for words in (f"write -P 7 {MIB} 64k", f"write -z {2 * MIB} 64k", f"write -P 8 {6 * MIB} 64k"):
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", words, image], check=True, capture_output=True, timeout=60)
    expected = bytearray(content)
    for at, byte in ((MIB, 7), (2 * MIB, 0), (6 * MIB, 8)):
        expected[at : at + 65536] = bytes([byte]) * 65536
    a.ok("define", a.write("web.cfg", silent(tiny, "web", more='disk = ["default/web,,xvda,rw"]')))
    a.ok("migrate", "--offline", "--with-storage", "web", "b")
    assert (a.names(), volumes(a)) == ([], {"default/base": None})
    assert volumes(b) == {"default/base": None, "default/web": "base"}
    (web,) = (each for each in b.json("volume", "list")["volumes"] if each["name"] == "web")
    assert web["allocated"] < MIB
    assert content_of(b, "web", tmp_path) == expected


def stands_on_its_template(host: Host) -> None:
    is_whole(host)
    assert volumes(host) == {"default/base": None, "default/middle": "base", "default/web": "middle"}
    assert "ok=1" in ask(port_of(host, "web"), f"wirt disk-verify vda {2 * MIB} {MIB} 8")
    (web,) = (each for each in host.json("volume", "list")["volumes"] if each["name"] == "web")
    assert web["allocated"] < 8 * MIB


def content_of(host: Host, volume: str, directory: Path) -> bytes:
    file = directory / "whole.raw"
    host.ok("volume", "export", f"default/{volume}", str(file), "--file-format", "raw")
    return file.read_bytes()


def volumes(host: Host) -> dict[str, str | None]:
    return {each["reference"]: each["backing"] for each in host.json("volume", "list")["volumes"]}


def test_a_disk_that_both_hosts_have_stays_where_it_is_and_only_one_guest_writes_it(
    two: tuple[Host, Host], tiny: TinyImage, tmp_path: Path
) -> None:
    a, b = two
    shared = tmp_path / "shared"
    shared.mkdir()
    for host in two:
        host.ok("pool", "create", "shared", "--type", "dir", "--target", str(shared))
    a.ok("volume", "create", "shared/web", "--size", "16M", "--format", "raw")
    port = start(a, tiny, 'disk = ["shared/web,,xvda,rw"]')
    assert "ok=1" in ask(port, f"wirt disk-write vda 0 {8 * MIB} 7")
    second = b.write("second.cfg", silent(tiny, "second", more='disk = ["shared/web,,xvda,rw"]'))
    assert 'Failed to get "write" lock' in b.fails("create", second)
    assert a.json("migrate", "web", "b")["result"]["disk_bytes"] == 0
    is_whole(b)
    third = a.write("third.cfg", silent(tiny, "third", more='disk = ["shared/web,,xvda,rw"]'))
    assert 'Failed to get "write" lock' in a.fails("create", third)
    assert "ok=1" in ask(port_of(b, "web"), f"wirt disk-verify vda 0 {8 * MIB} 7")
    assert sorted(path.name for path in shared.iterdir()) == ["web.raw"]
    b.ok("destroy", "web")


@pytest.mark.long
def test_what_firmware_has_kept_goes_along_with_memory(
    two: tuple[Host, Host], tiny: TinyImage, tmp_path: Path
) -> None:
    """UEFI's variables are in a flash chip, whose content QEMU sends as it does memory, and writes out there."""
    a, b = two
    shutil.copyfile(tiny.disk, tmp_path / "disk.qcow2")
    shared = str(tmp_path / "disk.qcow2")
    text = hvm(Path(shared), "web", more='firmware = "ovmf"').replace("memory = 128", "memory = 256")
    a.ok("create", a.write("web.cfg", text))
    with watch(a, "web") as console:
        console.until(READY)
    kept = variables(a)
    assert "Boot0001".encode("utf-16-le") in kept
    a.ok("migrate", "web", "b")
    assert b.domain("web")["state"] == "running"
    assert variables(b) == kept
    b.ok("destroy", "web")


def variables(host: Host) -> bytes:
    (path,) = Path(host.home.domains).glob("*/OVMF_VARS.fd")
    return path.read_bytes()

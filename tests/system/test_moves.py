"""Real guests move between two hosts that know each other: two daemons, TLS, and one machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, silent, watch
from .host import Host, a_host
from .test_peers import free_port, pair

pytestmark = pytest.mark.real


def one(directory: Path, name: str) -> AbstractContextManager[Host]:
    scratch = directory / name
    scratch.mkdir()
    environment = {"WIRT_HOST": name, "WIRT_PEER_LISTEN": f"127.0.0.1:{free_port()}"}
    return a_host(scratch / "home", scratch, environment=environment)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    with one(tmp_path, "a") as a, one(tmp_path, "b") as b:
        pair(a, b)
        pair(b, a)
        yield a, b


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
    assert [each["domain"] for each in done.json["failed"]] == ["taken"]
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


def test_a_disk_that_both_hosts_have_stays_where_it_is(
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
    a.ok("migrate", "web", "b")
    is_whole(b)
    assert "ok=1" in ask(port_of(b, "web"), f"wirt disk-verify vda 0 {8 * MIB} 7")
    assert sorted(path.name for path in shared.iterdir()) == ["web.raw"]
    b.ok("destroy", "web")

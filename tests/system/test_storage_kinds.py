"""Disks on logical volumes, thin ones and a server's files, with real guests: what files promise holds there too.

In the test host, whose kernel has all of them.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.kinds import THIN, a_group, an_export

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .conftest import give_facts
from .guests import READY, ask, port_of, pvh, silent, watch
from .host import Host, a_host
from .test_backup import BLOCK, expected
from .test_backup import write as blocks

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

POOLS = ("lvm", "thin", "nfs")
SIZES = {"xvda": 8, "xvdb": 8, "xvdc": 9, "xvdd": 9}
"""In MiB. Logical volumes have whole extents of 4."""


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory, qemu_facts: Path) -> Iterator[Host]:
    """With the pools ``lvm``, ``thin`` and ``nfs``."""
    scratch = tmp_path_factory.mktemp("kinds")
    export = scratch / "export"
    export.mkdir()
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(a_group())
        source = stack.enter_context(an_export(export))
        host = stack.enter_context(a_host(give_facts(scratch / "home", qemu_facts), scratch))
        host.ok("pool", "create", "lvm", "--type", "lvm", "--target", group)
        host.ok("pool", "create", "thin", "--type", "lvmthin", "--target", f"{group}/{THIN}")
        host.ok("pool", "create", "nfs", "--type", "nfs", "--source", source)
        yield host
        host.tidy()
        for pool in POOLS:
            host.ok("pool", "destroy", pool, "-y")


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    yield shared_host
    names = shared_host.names()
    if names:
        shared_host.run("destroy", *names)
    for name in names:
        for each in shared_host.json("snapshot", "list", name)["snapshots"]:
            shared_host.ok("snapshot", "delete", name, each["name"])
        shared_host.run("undefine", name)
    left = references(shared_host)
    for reference in left:
        shared_host.ok("volume", "destroy", reference)
    shared_host.tidy()


def references(host: Host) -> list[str]:
    return sorted(each["reference"] for each in host.json("volume", "list")["volumes"])


def up(host: Host, tiny: TinyImage, disks: dict[str, str], more: str = "") -> None:
    """A domain ``web`` that runs, with ``disks``: vdev to volume."""
    listed = ", ".join(f'"{volume},,{vdev},rw"' for vdev, volume in disks.items())
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", more=f"disk = [{listed}]\n{more}")))
    start(host)


def start(host: Host) -> None:
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)


def write(host: Host, device: str, seed: int, offset: int, size: int = 1) -> None:
    """In MiB."""
    answer = ask(port_of(host, "web"), f"wirt disk-write {device} {offset * MIB} {size * MIB} {seed}")
    assert "ok=1" in answer, answer


def holds(host: Host, device: str, seed: int, offset: int, size: int = 1) -> bool:
    answer = ask(port_of(host, "web"), f"wirt disk-verify {device} {offset * MIB} {size * MIB} {seed}")
    return "ok=1" in answer


def audited(host: Host) -> None:
    assert "of which strange" not in host.run("-o", "json", "audit", "web").out


def check_image(path: str) -> None:
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=True, timeout=200)


def test_a_guest_sees_at_once_that_its_disks_are_larger_wherever_they_lie(host: Host, tiny: TinyImage) -> None:
    volumes = {"xvda": "lvm/a", "xvdb": "thin/b", "xvdc": "nfs/c", "xvdd": "nfs/d"}
    for volume in volumes.values():
        form = "qcow2" if volume == "nfs/d" else "raw"
        host.ok("volume", "create", volume, "--size", "8M", "--format", form)
    up(host, tiny, volumes)
    for vdev, volume in volumes.items():
        device = vdev.replace("x", "")
        write(host, device, 1, 0, 8)
        host.ok("volume", "resize", volume, "--size", "24M")
        assert host.json("volume", "info", volume)["size"] == 24 * MIB
        write(host, device, 2, 8, 16)
        assert holds(host, device, 1, 0, 8)
        assert holds(host, device, 2, 8, 16)
        assert "would cut off" in host.fails("volume", "resize", volume, "--size", "8M", "--force")
    audited(host)


def test_a_disk_goes_from_pool_to_pool_under_a_guest_that_writes_it(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "17M", "--format", "raw")
    up(host, tiny, {"xvda": "default/web"})
    write(host, "vda", 1, 0, 16)
    held = dict.fromkeys(range(16), 1)
    places = ("lvm/web", "nfs/web", "thin/web", "nfs/again", "lvm/again", "default/again")
    for number, place in enumerate(places):
        move = host.spawn("wirt", "disk-move", "web", "xvda", place, stderr=subprocess.PIPE)
        write(host, "vda", number + 2, number)
        held[number] = number + 2
        _, said = move.communicate(timeout=400)
        assert move.returncode == 0, said.decode()
        assert references(host) == [place]
        write(host, "vda", number + 2, number + 8)
        held[number + 8] = number + 2
        for offset, seed in held.items():
            assert holds(host, "vda", seed, offset), f"{place}: {offset}"
    audited(host)
    host.ok("destroy", "web")
    start(host)
    for offset, seed in held.items():
        assert holds(host, "vda", seed, offset)


def test_snapshots_on_thin_volumes_and_on_a_server_are_kept_gone_back_to_and_merged(
    host: Host, tiny: TinyImage
) -> None:
    """Both of one domain at once, at one instant."""
    host.ok("volume", "create", "thin/one", "--size", "16M")
    host.ok("volume", "create", "nfs/two", "--size", "16M", "--format", "raw")
    up(host, tiny, {"xvda": "thin/one", "xvdb": "nfs/two"})
    both(host, 1, 0, 16)
    host.ok("snapshot", "create", "web", "first")
    both(host, 2, 4)
    host.ok("snapshot", "create", "web", "second")
    both(host, 3, 4)
    both(host, 3, 8)
    host.ok("snapshot", "delete", "web", "first")
    assert both_hold(host, 3, 4)
    assert both_hold(host, 1, 0, 4)
    audited(host)
    host.ok("snapshot", "revert", "web", "second", "--force")
    check_image(host.json("volume", "info", "nfs/two")["path"])
    start(host)
    assert both_hold(host, 2, 4)
    assert both_hold(host, 1, 8, 8)
    both(host, 4, 8)
    host.ok("snapshot", "delete", "web", "second")
    assert both_hold(host, 4, 8)
    assert both_hold(host, 2, 4)
    host.ok("destroy", "web")
    assert references(host) == ["nfs/two", "thin/one"]


def test_a_guest_goes_on_from_its_memory_with_the_disks_of_then_wherever_they_lie(
    host: Host, tiny: TinyImage
) -> None:
    host.ok("volume", "create", "thin/one", "--size", "16M")
    host.ok("volume", "create", "nfs/two", "--size", "16M")
    up(host, tiny, {"xvda": "thin/one", "xvdb": "nfs/two"})
    both(host, 1, 0)
    host.ok("snapshot", "create", "web", "asleep", "--memory")
    both(host, 2, 0)
    before = host.domain("web")["domid"]
    host.ok("snapshot", "revert", "web", "asleep", "--force")
    now = host.domain("web")
    assert (now["state"], now["domid"] > before) == ("running", True)
    assert both_hold(host, 1, 0)
    host.ok("snapshot", "delete", "web", "asleep")
    assert both_hold(host, 1, 0)
    assert references(host) == ["nfs/two", "thin/one"]


def test_a_thick_volume_has_no_snapshots_and_no_clones_and_says_what_there_is(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "lvm/one", "--size", "16M")
    up(host, tiny, {"xvda": "lvm/one"})
    assert "wirt volume copy" in host.fails("snapshot", "create", "web", "never")
    assert references(host) == ["lvm/one"]
    host.ok("destroy", "web")
    assert "wirt volume copy" in host.fails("volume", "clone", "lvm/one", "two")
    assert "hint" in host.fails("clone", "web", "other", "--linked")


def both(host: Host, seed: int, offset: int, size: int = 1) -> None:
    for device in ("vda", "vdb"):
        write(host, device, seed, offset, size)


def both_hold(host: Host, seed: int, offset: int, size: int = 1) -> bool:
    found = {device: holds(host, device, seed, offset, size) for device in ("vda", "vdb")}
    assert len(set(found.values())) == 1, f"one disk has it and one has not: {found}"
    return found["vda"]


def exported(host: Host, volume: str) -> bytes:
    """All bytes of it as a guest reads them."""
    path = host.scratch / "content"
    path.unlink(missing_ok=True)
    host.ok("volume", "export", volume, str(path), "--file-format", "raw")
    return path.read_bytes()


def test_each_backup_gives_back_its_own_instant_byte_for_byte_wherever_disks_lie(
    host: Host, tiny: TinyImage, tmp_path: Path
) -> None:
    volumes = {"xvda": "lvm/a", "xvdb": "thin/b", "xvdc": "nfs/c", "xvdd": "nfs/d"}
    for vdev, volume in volumes.items():
        form = "qcow2" if volume == "nfs/d" else "raw"
        host.ok("volume", "create", volume, "--size", f"{SIZES[vdev]}M", "--format", form)
    up(host, tiny, volumes)
    devices = ("vda", "vdb", "vdc", "vdd")
    with watch(host, "web") as console:
        for number, device in enumerate(devices):
            blocks(console, device, number, "a")
        first = host.json("backup", "create", "web", "--to", str(tmp_path))["result"]
        for device in devices:
            blocks(console, device, 9, "b")
        second = host.json("backup", "create", "web", "--to", str(tmp_path))["result"]
        for device in devices:
            blocks(console, device, 9, "c")
    assert (first["kind"], second["kind"]) == ("full", "incremental")
    assert second["moved"] == len(devices) * BLOCK
    host.ok("destroy", "web")
    for pool, made in (("nfs", first), ("lvm", second), ("thin", second)):
        host.ok("restore-backup", made["backup"], "--name", "back", "--pool", pool)
        for number, vdev in enumerate(volumes):
            wanted = {number: "a", **({9: "b"} if made is second else {})}
            found, size = exported(host, f"{pool}/back-{vdev}"), SIZES[vdev] * MIB
            assert found[:size] == expected(size, wanted), (pool, vdev)
            assert not found[size:].strip(b"\0"), "what is left of the last extent is no zeros"
        host.ok("undefine", "back")
        for vdev in volumes:
            host.ok("volume", "destroy", f"{pool}/back-{vdev}")


def test_clones_stand_on_their_source_where_the_pool_can_and_are_copies_where_it_can_not(
    host: Host, tiny: TinyImage
) -> None:
    for pool, how in (("thin", "--linked"), ("nfs", "--linked"), ("lvm", "--full")):
        host.ok("volume", "create", f"{pool}/web", "--size", "8M", "--format", "raw")
        up(host, tiny, {"xvda": f"{pool}/web"})
        write(host, "vda", 1, 0, 8)
        host.ok("destroy", "web")
        before = exported(host, f"{pool}/web")
        host.ok("clone", "web", "copy", how, "--no-identity", "--start")
        with watch(host, "copy") as console:
            console.until(READY)
        port = port_of(host, "copy")
        assert "ok=1" in ask(port, f"wirt disk-verify vda 0 {8 * MIB} 1"), pool
        assert "ok=1" in ask(port, f"wirt disk-write vda {4 * MIB} {MIB} 2"), pool
        assert "ok=1" in ask(port, f"wirt disk-verify vda {4 * MIB} {MIB} 2"), pool
        host.ok("destroy", "copy")
        assert exported(host, f"{pool}/web") == before, pool
        assert exported(host, f"{pool}/copy") != before, pool
        for name in ("copy", "web"):
            host.ok("undefine", name)
            host.ok("volume", "destroy", f"{pool}/{name}")


def test_a_volume_is_written_by_one_guest_at_a_time_wherever_it_lies(host: Host, tiny: TinyImage) -> None:
    for pool in POOLS:
        host.ok("volume", "create", f"{pool}/one-{pool}", "--size", "8M", "--format", "raw")
        more = f'disk = ["{pool}/one-{pool},,xvda,rw"]'
        host.ok("create", host.write("first.cfg", silent(tiny, "first", more)))
        refused = host.fails("create", host.write("second.cfg", silent(tiny, "second", more)))
        assert "is a disk of domain first, which runs" in refused, refused
        refused = host.fails("volume", "destroy", f"{pool}/one-{pool}")
        assert "first" in refused, refused
        host.ok("destroy", "first")


def test_a_volume_of_a_server_is_written_by_one_of_two_homes_at_a_time(
    host: Host, tiny: TinyImage, tmp_path: Path, qemu_facts: Path
) -> None:
    """Neither knows of the other; the server does."""
    host.ok("volume", "create", "nfs/one", "--size", "8M", "--format", "qcow2")
    more = 'disk = ["nfs/one,,xvda,rw"]'
    host.ok("create", host.write("first.cfg", silent(tiny, "first", more)))
    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path) as other:
        source = host.json("pool", "info", "nfs")["pool"]["source"]
        other.ok("pool", "create", "nfs", "--type", "nfs", "--source", source)
        refused = other.fails("create", other.write("second.cfg", silent(tiny, "second", more)))
        assert "a disk of it is in use" in refused, refused
        host.ok("destroy", "first")
        other.ok("create", other.write("second.cfg", silent(tiny, "second", more)))
        other.ok("destroy", "second")
        other.ok("pool", "destroy", "nfs", "-y")

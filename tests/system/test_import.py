"""Machines on their way out and in: OVA and back, and what XenServer exports, booted."""

from __future__ import annotations

import hashlib
import random
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from tests.storage.archives import xva

from wirt.config.xlcfg import load
from wirt.images.tiny import TinyImage

from . import api
from .guests import READY, watch
from .host import Host, wait_until

pytestmark = pytest.mark.real

MAC = "00:16:3e:11:22:33"


@pytest.fixture
def host(shared_real_host: Host) -> Iterator[Host]:
    yield shared_real_host
    shared_real_host.tidy()
    for volume in shared_real_host.json("volume", "list")["volumes"]:
        shared_real_host.ok("volume", "destroy", volume["reference"])


def path_of(host: Host, volume: str) -> str:
    return str(host.json("volume", "info", volume)["path"])


def same(one: str | Path, other: str | Path, first: str = "qcow2", second: str = "qcow2") -> None:
    words = ["qemu-img", "compare", "-f", first, "-F", second, str(one), str(other)]
    subprocess.run(words, check=True, timeout=120, capture_output=True)


def raw(tiny: TinyImage, folder: Path) -> bytes:
    path = folder / "tiny.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(tiny.disk), str(path)], check=True, timeout=60)
    return path.read_bytes()


def text_of(host: Host, name: str) -> str:
    return str(api.request(host.socket, "GET", f"/v1/domains/{name}").document["text"])


def meaning(host: Host, name: str) -> dict[str, object]:
    """A domain's configuration, without what is each one's own and what OVF has no words for."""
    config = load(text_of(host, name), file=name, cwd=PurePosixPath("/")).config
    disks = [(disk.vdev, disk.cdrom, disk.writable, disk.target is None) for disk in config.disks]
    vifs = [vif.model for vif in config.vifs]
    return {
        "type": config.type,
        "memory": config.memory_mib,
        "vcpus": config.vcpus,
        "firmware": config.firmware,
    } | {
        "disks": disks,
        "vifs": vifs,
    }


def boots(host: Host, name: str) -> None:
    host.ok("start", name)
    with watch(host, name) as console:
        console.until(READY)
    host.ok("destroy", name)


def test_an_exported_domain_comes_back_the_same_and_boots(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "import", "default/web", str(tiny.disk))
    host.ok("volume", "create", "default/data", "--size", "8M", "--format", "raw")
    Path(path_of(host, "default/data")).write_bytes(b"mine".ljust(8 << 20, b"."))
    plain = host.scratch / "plain.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(plain), "4M"], check=True, timeout=60)
    text = f"""
name = "web"
type = "hvm"
memory = 128
vcpus = 2
cpu_weight = 512
disk = ["default/web,,hda,rw", "default/data,,xvdb,rw", ",,hdc,cdrom", "{plain},qcow2,xvdd,rw"]
vif = ["mac={MAC},model=e1000"]
"""
    host.ok("define", host.write("web.cfg", text))
    ova = host.scratch / "web.ova"
    shown = host.ok("export", "web", str(ova), "-n").out
    assert "not carried over: its cpu_weight (512)" in shown and not ova.exists()
    assert "not carried over: its cpu_weight (512)" in host.ok("export", "web", str(ova)).out
    assert "already" in host.fails("export", "web", str(ova))
    with tarfile.open(ova) as archive:
        names = archive.getnames()
        digests = "".join(
            f"SHA256({name})= {hashlib.sha256(archive.extractfile(name).read()).hexdigest()}\n"  # type: ignore[union-attr]
            for name in names
            if not name.endswith(".mf")
        )
        assert names == ["web.ovf", "web.mf", "web-disk1.vmdk", "web-disk2.vmdk", "web-disk3.vmdk"]
        assert archive.extractfile("web.mf").read().decode() == digests  # type: ignore[union-attr]

    planned = host.json("import", str(ova), "--name", "copy", "-n")
    assert planned["checked"]
    volumes = [disk["volume"] for disk in planned["disks"]]
    assert volumes == ["default/copy", "default/copy-1", "default/copy-2"]
    assert host.names() == ["web"]
    assert (
        f"the address {MAC} of card 0: another card here has it"
        in host.ok("import", str(ova), "--name", "copy").out
    )
    same(path_of(host, "default/web"), path_of(host, "default/copy"))
    same(path_of(host, "default/data"), path_of(host, "default/copy-1"), "raw")
    same(plain, path_of(host, "default/copy-2"))
    assert meaning(host, "web") == meaning(host, "copy")
    boots(host, "copy")
    host.ok("undefine", "web")
    again = host.ok("import", str(ova), "--name", "again").out
    assert MAC not in again
    assert f"mac={MAC}" in text_of(host, "again")


def test_a_domain_that_runs_is_not_exported(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "8M")
    text = 'name = "web"\ntype = "hvm"\nmemory = 64\ndisk = ["default/web,,hda,rw"]\nvif = ["net=none"]\n'
    host.ok("create", "-p", host.write("web.cfg", text))
    assert "wirt shutdown web first" in host.fails("export", "web", str(host.scratch / "web.ova"))
    host.ok("destroy", "web")


FORMS = pytest.mark.parametrize("new", [pytest.param(False, marks=pytest.mark.long, id="checksum"), True])


@FORMS
def test_an_export_of_xen_becomes_a_domain_with_its_disk(host: Host, tiny: TinyImage, new: bool) -> None:
    file = host.scratch / "shop.xva"
    file.write_bytes(xva({"Ref:7": raw(tiny, host.scratch)}, new=new))
    told = host.ok("import", str(file)).out
    assert "shop is defined" in told and "not carried over: the network 'Pool-wide network' of card 0" in told
    same(tiny.disk, path_of(host, "default/shop"))


@pytest.mark.long
@pytest.mark.parametrize("new", [False, True], ids=["checksum", "xxhash"])
def test_an_export_of_xen_boots(host: Host, tiny: TinyImage, new: bool) -> None:
    file = host.scratch / "shop.xva"
    file.write_bytes(xva({"Ref:7": raw(tiny, host.scratch)}, new=new))
    host.ok("import", str(file), "--format", "raw")
    boots(host, "shop")


def test_an_archive_that_lies_leaves_nothing_behind(host: Host, tiny: TinyImage) -> None:
    data = bytearray(xva({"Ref:7": raw(tiny, host.scratch)}, new=False))
    data[data.index(b"Ref:7/00000001\0") + 512] ^= 1
    file = host.scratch / "bad.xva"
    file.write_bytes(data)
    assert "chunk 1 of Ref:7 does not match its checksum" in host.fails("import", str(file))
    assert host.names() == [] and host.json("volume", "list", "default")["volumes"] == []
    file.write_bytes(data[: 1 << 20])
    assert "it is not whole" in host.fails("import", str(file))


@pytest.mark.long
@pytest.mark.parametrize("verb", ["import", "export"])
def test_a_daemon_that_is_killed_in_the_middle_leaves_nothing(real_host: Host, tiny: TinyImage, verb: str) -> None:
    """Half way through the copy, and once more: the next daemon takes back what was begun."""
    host, out = real_host, real_host.scratch / "out.ova"
    large = random.Random(1).randbytes(48 << 20) * 4
    file = host.scratch / "large.xva"
    file.write_bytes(xva({"Ref:7": large}, new=True))
    if verb == "export":
        host.ok("import", str(file))
    before = [each["reference"] for each in host.json("volume", "list")["volumes"]]
    words = ("import", str(file), "--name", "half") if verb == "import" else ("export", "shop", str(out))
    for _ in range(2):
        process = host.spawn("wirt", *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: any(0.25 < job["progress"] < 0.95 for job in running(host)), 60, "half of the copy")
        host.kill9()
        process.wait(timeout=60)
        host.start()
        wait_until(lambda: not running(host), 60, "the job's undoing")
        assert [each["reference"] for each in host.json("volume", "list")["volumes"]] == before
        assert "half" not in host.names()
        assert not out.exists() and not list(host.scratch.glob(".wirt-export-*"))
        assert not [command for command in host.processes().values() if "qemu-img" in command]
    host.ok(*words)
    host.finish()


def running(host: Host) -> list[dict[str, Any]]:
    jobs = host.json("jobs")["jobs"]
    return [job for job in jobs if job["state"] not in ("done", "failed", "cancelled")]

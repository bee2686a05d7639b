"""Guests on volumes of storage pools, from the command line to QEMU and back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, pvh, silent, watch
from .host import Host

pytestmark = pytest.mark.real


@pytest.fixture
def host(real_host: Host) -> Iterator[Host]:
    yield real_host
    real_host.tidy()


def disk(target: str) -> str:
    return f'disk = ["{target}"]'


def test_a_guest_runs_on_a_volume_which_is_its_own_while_it_runs(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "64M")
    host.ok("volume", "clone", "default/web", "cloned")
    web = host.write("web.cfg", pvh(tiny, "web", vif="net=none", more=disk("default/cloned,,xvda,rw")))
    db = host.write("db.cfg", silent(tiny, "db", disk("pool:default/cloned,,xvda,rw")))
    host.ok("create", web)
    with watch(host, "web") as console:
        console.until(READY)
    assert host.json("volume", "info", "default/cloned")["holders"][0]["domain"] == "web"
    assert "pool:default/cloned" in host.ok("list", "-l", "web").out
    for words in (
        ("create", db),
        ("volume", "destroy", "default/cloned"),
        ("volume", "copy", "default/cloned", "default/x"),
    ):
        assert "web" in host.fails(*words)
    base = host.write("base.cfg", silent(tiny, "base", disk("default/web,,xvda,rw")))
    assert "cloned stand" in host.fails("create", base)
    host.ok("destroy", "web")
    assert host.json("volume", "info", "default/cloned")["holders"] == []
    host.ok("create", db)
    host.ok("destroy", "db")


def test_one_disk_under_two_names_is_one_disk(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "8M", "--format", "raw")
    path = host.json("volume", "info", "default/web")["path"]
    link = host.scratch / "link"
    link.symlink_to(path)
    host.ok("create", host.write("web.cfg", silent(tiny, "web", disk("default/web,,xvda,rw"))))
    for number, target in enumerate((path, link)):
        config = host.write(f"{number}.cfg", silent(tiny, f"other{number}", disk(f"{target},raw,xvda,rw")))
        refused = host.fails("create", config)
        assert "is a disk of domain web" in refused
    host.ok("destroy", "web")


def test_a_format_that_the_pool_knows_better_is_refused(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "8M", "--format", "qcow2")
    config = host.write("web.cfg", silent(tiny, "web", disk("default/web,raw,xvda,rw")))
    refused = host.fails("create", config)
    assert "is qcow2, and the entry of xvda says raw" in refused


def test_what_is_exported_and_imported_again_is_the_same(host: Host, tmp_path: Path) -> None:
    host.ok("volume", "create", "default/web", "--size", "8M", "--format", "raw")
    path = Path(host.json("volume", "info", "default/web")["path"])
    path.write_bytes(b"content".ljust(8 << 20, b"."))
    exported = tmp_path / "web.vmdk"
    host.ok("volume", "export", "default/web", str(exported), "--file-format", "vmdk")
    host.ok("volume", "import", "default/back", str(exported), "--format", "qcow2")
    back = host.json("volume", "info", "default/back")
    words = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(path), back["path"]]
    subprocess.run(words, check=True, timeout=60, capture_output=True)


def test_an_image_that_names_files_of_the_host_reaches_none(host: Host, tmp_path: Path) -> None:
    evil = tmp_path / "evil.qcow2"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", str(evil)]
    subprocess.run(words, check=True, timeout=60)
    refused = host.fails("volume", "import", "default/evil", str(evil))
    assert "stands on /etc/shadow, which is not looked for" in refused
    assert host.json("volume", "list", "default")["volumes"] == []


def test_a_moved_volume_takes_its_domain_along(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "8M")
    host.ok("pool", "create", "fast", "--target", str(host.scratch / "fast"))
    host.ok("define", host.write("web.cfg", silent(tiny, "web", disk("default/web,,xvda,rw"))))
    host.ok("volume", "move", "default/web", "fast/moved", "--format", "raw")
    assert [each["reference"] for each in host.json("volume", "list")["volumes"]] == ["fast/moved"]
    assert host.json("volume", "info", "fast/moved")["domains"] == ["web"]
    host.ok("start", "web")
    refused = host.fails("pool", "destroy", "fast")
    assert "in use" in refused
    host.ok("destroy", "web")
    host.ok("undefine", "web")
    host.ok("pool", "destroy", "fast", "--delete-volumes", "--yes")

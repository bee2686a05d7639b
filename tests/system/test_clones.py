"""Templates and clones with real guests, from the command line to the disks."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, fake, pvh, watch
from .host import Host

PATTERN_MD5 = hashlib.md5(b"\x07" * (1 << 20)).hexdigest()
"""What the source's disk begins with."""


@pytest.fixture
def host(real_host: Host) -> Iterator[Host]:
    yield real_host
    real_host.tidy()


def volumes(host: Host) -> list[str]:
    return [each["reference"] for each in host.json("volume", "list", "default")["volumes"]]


def a_source(host: Host, text: str) -> Path:
    """A domain ``base`` that is off, with something on its disk; the path of that."""
    host.ok("volume", "create", "default/base", "--size", "64M")
    path = Path(host.json("volume", "info", "default/base")["path"])
    write = ["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 1M", str(path)]
    subprocess.run(write, check=True, timeout=60)
    host.ok("define", host.write("base.cfg", text))
    return path


@pytest.mark.real
def test_three_linked_clones_run_together_each_with_its_own(host: Host, tiny: TinyImage) -> None:
    more = 'disk = ["default/base,,xvda,rw"]  # the root\n'
    source = a_source(host, pvh(tiny, "base", vif="mac=00:16:3e:00:00:01,net=user", more=more))
    before = source.read_bytes()
    host.ok("template", "create", "base")
    assert "base" not in host.names()
    assert "is a template" in host.fails("start", "base")
    host.ok("clone", "base", "web", "--count", "3", "--start")
    names = [f"web-{number}" for number in (1, 2, 3)]
    assert host.json("template", "info", "base")["clones"] == [f"default/{name}" for name in names]
    assert "# the root" in host.json("list", "-l", "web-1")[0]["text"]
    with contextlib.ExitStack() as stack:
        consoles = [stack.enter_context(watch(host, name)) for name in names]
        for name, console in zip(names, consoles, strict=True):
            console.until(READY)
            console.does("dd if=/dev/vda bs=1M count=1 2>/dev/null | md5sum")
            console.until(PATTERN_MD5.encode())
            console.does(f"echo mine-{name} | dd of=/dev/vda bs=512 seek=4096 conv=fsync", "strings /dev/vdb")
            console.until(f'"local-hostname": "{name}"'.encode())
        for name, console in zip(names, consoles, strict=True):
            console.does("dd if=/dev/vda bs=512 skip=4096 count=1 2>/dev/null | sed s/mine/own/")
            console.until(f"own-{name}".encode())
    macs = [host.domain(name)["vifs"][0]["mac"] for name in names]
    assert len({*macs, "00:16:3e:00:00:01"}) == 4
    assert source.read_bytes() == before
    for name in names:
        host.ok("destroy", name)
        host.ok("undefine", name)
        host.ok("volume", "destroy", f"default/{name}")
        host.ok("volume", "destroy", f"default/{name}-seed")
    host.ok("template", "destroy", "base", "--delete-volumes")
    assert volumes(host) == []


def test_a_domain_that_others_stand_on_is_not_started_and_full_copies_do_not_keep_it(
    host: Host, tmp_path: Path
) -> None:
    """No guest is needed: what is refused is refused before there is one."""
    text = fake("base", 'disk = ["default/base,,xvda,rw"]\nvif = ["net=none"]')
    source = a_source(host, text)
    data = tmp_path / "data"
    data.write_text("#cloud-config\nfqdn: web.example\n")
    host.ok("clone", "base", "copy", "--user-data", str(data))
    copy = host.json("volume", "info", "default/copy")
    assert copy["backing"] is None
    subprocess.run(["qemu-img", "compare", "-q", str(source), copy["path"]], check=True, timeout=60)
    seed = Path(host.json("volume", "info", "default/copy-seed")["path"]).read_bytes()
    assert b"fqdn: web.example" in seed
    host.ok("clone", "base", "linked", "--linked", "--no-identity")
    refused = host.fails("start", "base")
    assert "is what linked stand on" in refused
    assert "wirt template create base" in refused
    host.ok("undefine", "base")
    assert "is what linked stand on" in host.fails("volume", "destroy", "default/base")
    assert volumes(host) == ["default/base", "default/copy", "default/copy-seed", "default/linked"]


def test_a_daemon_killed_while_it_clones_leaves_all_or_nothing(host: Host) -> None:
    text = fake("base", 'disk = ["default/base,,xvda,rw"]\nvif = ["net=none"]')
    a_source(host, text)
    host.ok("template", "create", "base")
    cloning = host.spawn("wirt", "clone", "base", "web", "--count", "20")
    while len(volumes(host)) < 4 and cloning.poll() is None:
        pass
    host.kill9()
    cloning.wait(timeout=60)
    host.start()
    assert (len(host.names()), len(volumes(host))) in ((0, 1), (20, 41))
    host.ok("template", "destroy", "base")

"""What is wrong with a request is told: where, what was expected, what to do. Nothing is left of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import hvm, silent
from .host import Host, wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def host(shared_real_host: Host) -> Iterator[Host]:
    yield shared_real_host
    shared_real_host.tidy()


@pytest.fixture
def disk(tiny: TinyImage, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny.disk, tmp_path / "disk.qcow2"))


def refused(host: Host, config: str) -> str:
    """What ``wirt create`` tells of a configuration that can't be. Nothing is left of it."""
    path = host.write("bad.cfg", config)
    told = host.fails("create", path)
    host.assert_nothing_left()
    assert not host.guests()
    return told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel": "/nosuch/vmlinuz"}, ["kernel", "/nosuch/vmlinuz", "no such file", "wirt image build tiny"]),
        ({"kernel": "/etc"}, ["kernel", "/etc", "is a directory"]),
        ({"ramdisk": "/nosuch/initrd"}, ["ramdisk", "/nosuch/initrd", "no such file"]),
        ({"memory": "64"}, ["memory", "64 MiB is too little", "at least 80"]),
        ({"memory": "999999999"}, ["999999999 MiB", "this host can give at most", "lower memory"]),
        ({"vcpus": "300"}, ["vcpus", "300", "at most 255"]),
        ({"memory": "much"}, ["bad.cfg:", "memory", "number"]),
        ({"type": "windows"}, ["bad.cfg:", "type", "hvm", "pvh"]),
        ({"name": "a/b"}, ["bad.cfg:", "name", "can't have '/' in it"]),
        ({"disk": "['/nosuch/disk.img,raw,xvda,rw']"}, ["disk", "/nosuch/disk.img", "no such file"]),
        ({"disk": "['/etc,raw,xvda,rw']"}, ["disk", "/etc", "is a directory"]),
        ({"on_crash": "explode"}, ["bad.cfg:", "on_crash", "coredump-restart"]),
        ({"vif": "['net=banana']"}, ["bad.cfg:", "vif", "user"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_bad_value_is_named_with_its_place_and_its_remedy(
    host: Host, tiny: TinyImage, change: dict[str, str], words: list[str]
) -> None:
    lines = {
        "name": "bad",
        "type": "pvh",
        "kernel": str(tiny.kernel),
        "memory": "96",
        **change,
    }
    config = "\n".join(f"{k} = {v if v.startswith('[') or v.isdigit() else repr(v)}" for k, v in lines.items())
    told = refused(host, config)
    for word in words:
        assert word in told
    assert host.fails("create", "-n", host.write("bad.cfg", config)) == told


def test_what_is_no_configuration_at_all_is_told_with_line_and_column(host: Host) -> None:
    assert "bad.cfg:2:" in refused(host, 'name = "x"\nmemory = = 5\n')
    assert "kernel" in refused(host, "")
    assert "no name" in refused(host, 'type = "hvm"')
    assert "kernel" in refused(host, 'name = "x"\ntype = "pvh"\n')
    assert "no such file" in host.fails("create", "/nosuch/web.cfg")
    (host.scratch / "binary.cfg").write_bytes(bytes(range(256)))
    host.fails("create", str(host.scratch / "binary.cfg"))


def test_a_relative_path_is_looked_for_where_the_command_was_called(host: Host, tiny: TinyImage) -> None:
    shutil.copy(tiny.kernel, host.scratch / "my-kernel")
    host.ok(
        "create", "-p", host.write("near.cfg", 'name = "near"\ntype = "pvh"\nkernel = "my-kernel"\nmemory = 96\n')
    )
    [shown] = host.json("list", "-l", "near")
    assert shown["config"]["kernel"] == str(host.scratch / "my-kernel")


def test_a_taken_name_is_refused_and_its_owner_is_not_touched(host: Host, tiny: TinyImage) -> None:
    path = host.write("web.cfg", silent(tiny, "web"))
    host.ok("create", path)
    before = host.domain("web")["pid"]
    told = host.fails("create", path)
    assert "there is a domain called web already" in told
    assert "name=OTHER" in told
    assert host.domain("web")["pid"] == before
    assert "there is a domain called web already" in host.fails("define", path)


def test_a_disk_of_a_running_domain_is_refused_by_whichever_name(host: Host, disk: Path) -> None:
    host.ok("create", "-p", host.write("first.cfg", hvm(disk, "first")))
    second = host.write("second.cfg", hvm(disk, "second"))
    told = host.fails("create", second)
    assert f"{disk} is a disk of domain first, which runs" in told
    assert "wirt shutdown first" in told
    alias = disk.with_name("alias.qcow2")
    alias.symlink_to(disk)
    told = host.fails("create", host.write("third.cfg", hvm(alias, "third")))
    assert f"{alias} is a disk of domain first" in told
    assert "in use" in told or "is a disk of domain first" in told
    assert host.names() == ["first"]
    assert len(host.guests()) == 1
    host.ok("destroy", "first")
    host.ok("create", "-p", second)


def test_a_disk_that_a_foreign_qemu_has_open_is_refused(host: Host, disk: Path) -> None:
    foreign = subprocess.Popen(
        ["qemu-system-x86_64", "-S", "-display", "none", "-nodefaults", "-hda", str(disk)],
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: opened_by(foreign.pid, disk), 30, "the other QEMU")
        told = refused(host, hvm(disk, "web"))
        assert "web: a disk of it is in use" in told
        assert str(disk) in told
        assert "give this domain a disk of its own" in told
    finally:
        foreign.kill()
        foreign.communicate(timeout=20)
    host.ok("create", "-p", host.write("web.cfg", hvm(disk, "web")))


def opened_by(pid: int, file: Path) -> bool:
    try:
        return any(link.resolve() == file for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_a_qemu_that_ends_in_start_up_has_the_last_word(host: Host, tiny: TinyImage) -> None:
    told = refused(host, silent(tiny, "web", 'device_model_args = ["-nonsense"]'))
    assert "web: QEMU ended in start-up" in told
    assert "-nonsense: invalid option" in told


def test_an_emulated_disk_can_not_be_read_only(host: Host, disk: Path) -> None:
    told = refused(host, hvm(disk, "web").replace("hda,rw", "hda,ro"))
    assert "hda is an emulated hard disk, and those can't be read-only" in told
    assert "name it xvda" in told


def test_a_disk_that_is_none_is_told_with_the_remedy(host: Host, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.qcow2"
    nothing.write_bytes(b"this is no image" * 64)
    told = refused(host, hvm(nothing, "web"))
    assert f"{nothing} is not a qcow2 image" in told
    assert "format=raw" in told


def test_a_persistent_domain_stays_defined_when_its_start_fails(host: Host, tiny: TinyImage) -> None:
    host.ok("define", host.write("web.cfg", silent(tiny, "web", 'device_model_args = ["-nonsense"]')))
    for _ in range(2):
        assert "-nonsense" in host.fails("start", "web")
        assert host.domain("web")["state"] == "off"
        assert not host.guests()

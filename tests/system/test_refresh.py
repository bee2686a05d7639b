"""Real guests go on in a new QEMU on the same host, with all that they have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.hypervisors.conftest import OLD_QEMU

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, ticks, watch
from .host import Host, a_host

pytestmark = pytest.mark.real
BRIDGED = "10.219.0.5"
DISK = 'disk = ["default/web,,xvda,rw"]'


def start(host: Host, tiny: TinyImage) -> int:
    """A guest with something in its memory and on its disk; the port that it answers at."""
    if shutil.which("passt") is None:
        pytest.skip("needs passt: make setup (Debian: apt-get install passt)")
    host.ok("volume", "create", "default/web", "--size", "24M", "--format", "qcow2")
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", more=DISK)))
    with watch(host, "web") as console:
        console.until(READY)
    port = port_of(host, "web")
    assert "ok=1" in ask(port, "wirt dirty 8 4")
    assert "ok=1" in ask(port, f"wirt disk-write vda 0 {8 * MIB} 7")
    return port


def is_whole(host: Host, port: int) -> None:
    assert host.domain("web")["state"] == "running"
    assert port_of(host, "web") == port
    assert "ok=1" in ask(port, "wirt mem-verify")
    assert "ok=1" in ask(port, f"wirt disk-verify vda 0 {8 * MIB} 7")


def test_a_guest_goes_on_in_a_new_process_with_memory_disk_ports_and_console(
    real_host: Host, tiny: TinyImage
) -> None:
    host = real_host
    port = start(host, tiny)
    before = host.domain("web")
    with watch(host, "web") as console:
        console.until(READY)
        result = host.json("refresh", "web")["result"]
        after = host.domain("web")
        assert (result["pid"], result["domid"]) == (after["pid"], after["domid"])
        assert after["pid"] != before["pid"] and not Path(f"/proc/{before['pid']}").exists()
        assert 0 < result["gap_s"] < 30
        is_whole(host, port)
        console.does("echo still here")
        assert ticks(console.output) == sorted(set(ticks(console.output))), "nothing twice, nothing out of order"
        assert console.output.count(READY) == 1
    assert "ok=1" in ask(port, f"wirt disk-write vda {8 * MIB} {MIB} 8")
    host.kill9()
    host.start()
    is_whole(host, port)
    host.ok("refresh", "web")
    is_whole(host, port)
    host.ok("destroy", "web")
    host.assert_nothing_left()


def test_an_upgrade_of_qemu_is_noticed_and_all_that_ran_before_go_on_in_the_new_one(
    tmp_path: Path, tiny: TinyImage
) -> None:
    new = shutil.which("qemu-system-x86_64")
    if not OLD_QEMU.exists() or new is None:
        pytest.skip("needs Debian 12's own QEMU 7.2: tools/setup/qemu-distribution.sh .cache/qemu-7.2")
    installed = tmp_path / "qemu"
    installed.symlink_to(OLD_QEMU)
    with a_host(tmp_path / "home", tmp_path, environment={"WIRT_QEMU": str(installed)}) as host:
        port = start(host, tiny)
        assert "refresh" not in host.ok("list").err
        assert host.json("refresh", "--all") == {"refreshed": []}
        (tmp_path / "newer").symlink_to(new)
        (tmp_path / "newer").replace(installed)
        assert "1 domain runs on a QEMU that is no longer installed: wirt refresh --all" in host.ok("list").err
        assert "wirt refresh --all" in host.ok("info").out
        pid = host.domain("web")["pid"]
        host.ok("refresh", "--all")
        assert host.domain("web")["pid"] != pid and not host.domain("web")["outdated"]
        is_whole(host, port)
        assert "refresh" not in host.ok("list").err
        host.ok("destroy", "web")

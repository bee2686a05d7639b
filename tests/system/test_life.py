"""A real guest's life, from its first byte on the console to the end of its process."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, Watch, ask, hvm, kept_console, port_of, pvh, ticks, watch
from .host import Host, wait_until

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def disk(shared_real_host: Host, tiny: TinyImage) -> str:
    """A persistent domain that boots from a disk, which takes longest: so it begins first, beside all others."""
    host = shared_real_host
    path = Path(shutil.copy(tiny.disk, host.scratch / "disk.qcow2"))
    host.ok("define", host.write("disk.cfg", hvm(path, "disk")))
    host.ok("start", "disk")
    return "disk"


@pytest.fixture(scope="module")
def web(shared_real_host: Host, disk: str, tiny: TinyImage) -> Iterator[Watch]:
    """A guest called web that is ready, as whoever created it with ``create -c`` sees it. It ticks fast."""
    host = shared_real_host
    config = host.write("web.cfg", pvh(tiny, "web", cmdline="tick=200", more="vcpus = 2"))
    with Watch(host, "create", "-c", config) as console:
        console.until(READY)
        yield console


@pytest.fixture
def host(shared_real_host: Host) -> Host:
    return shared_real_host


def test_the_console_is_complete_from_the_guests_first_byte(host: Host, web: Watch) -> None:
    assert re.match(rb"\[ +0\.000000\] Linux version ", web.output), web.output[:200]
    kept = kept_console(host, "web")
    assert kept.startswith(web.output[: web.output.index(READY)])
    with watch(host, "web") as late:
        late.until(READY)
        late.until(b"tick", count=kept.count(b"tick") + 2)
        assert late.output.startswith(kept)


def test_what_is_typed_reaches_the_guest(host: Host, web: Watch) -> None:
    with Watch(host, "console", "--no-history", "web") as console:
        console.type("echo four is $((2+2))\n")
        console.until(b"four is 4")
        assert READY not in console.output


def test_the_guest_answers_on_its_forwarded_port(host: Host, web: Watch) -> None:
    assert ask(port_of(host, "web"), "hello over user-mode networking") == "hello over user-mode networking"
    assert host.domain("web")["vifs"][0]["kind"] == "user"


def test_vcpus_and_time_are_the_guests_own(host: Host, web: Watch) -> None:
    rows = [row.split() for row in host.ok("vcpu-list", "web").out.splitlines()[1:]]
    assert [row[2] for row in rows] == ["0", "1"]
    assert {row[4] for row in rows} <= {"r--", "-b-"}
    used = host.domain("web")["cpu_time_s"]
    ask(port_of(host, "web"), "wirt spin 1")
    wait_until(lambda: host.domain("web")["cpu_time_s"] > used + 0.5, 60, "a spinning guest to use its CPU")
    ask(port_of(host, "web"), "wirt spin 0")
    assert 0 < host.domain("web")["uptime_s"] < 3600


def test_a_paused_guest_stands_still_and_goes_on_where_it_was(host: Host, web: Watch) -> None:
    host.ok("pause", "web")
    assert host.domain("web")["flags"] == "--p---"
    stopped = ticks(kept_console(host, "web"))
    assert {row.split()[4] for row in host.ok("vcpu-list", "web").out.splitlines()[1:]} == {"--p"}
    assert ticks(kept_console(host, "web")) == stopped
    host.ok("unpause", "web")
    wait_until(lambda: len(ticks(kept_console(host, "web"))) > len(stopped) + 2, 60, "ticks")
    assert_no_gap(kept_console(host, "web"))


def test_a_running_guest_can_be_renamed(host: Host, web: Watch) -> None:
    host.ok("rename", "web", "shop")
    assert kept_console(host, "shop").count(READY) == 1
    host.ok("rename", "shop", "web")


def test_a_dry_run_shows_qemus_command_line_and_starts_nothing(host: Host, tiny: TinyImage) -> None:
    before = host.processes()
    plan = host.json("create", "-n", host.write("dry.cfg", pvh(tiny, "dry", more="vcpus = 3")))
    assert Path(plan["command"][0]).name == "qemu-system-x86_64"
    assert plan["command"][plan["command"].index("-smp") + 1].startswith("cpus=3,")
    assert plan["plan"]["direct_boot"]["kernel"] == str(tiny.kernel)
    assert host.processes() == before
    assert "dry" not in host.names()


def test_a_paused_create_has_not_run_one_instruction(host: Host, tiny: TinyImage) -> None:
    host.ok("create", "-p", host.write("still.cfg", pvh(tiny, "still")))
    assert host.domain("still")["flags"] == "--p---"
    assert kept_console(host, "still") == b""
    host.ok("unpause", "still")
    with watch(host, "still") as console:
        console.until(b"Linux version")
    host.ok("destroy", "still")


def test_a_reboot_is_a_new_run_and_destroy_the_end_of_it(host: Host, web: Watch) -> None:
    first = host.domain("web")
    host.ok("reboot", "-w", "web")
    assert web.end() == 0, "the console of a run ends with it"
    second = host.domain("web")
    assert (second["uuid"], second["domid"] > first["domid"]) == (first["uuid"], True)
    assert second["pid"] != first["pid"]
    with watch(host, "web") as console:
        console.until(READY)
        assert console.output.count(b"Linux version") == 1
        host.ok("destroy", "web")
        assert console.end() == 0
    assert "web" not in host.names()
    assert second["pid"] not in host.guests()


def test_a_guest_on_a_disk_comes_up_and_shuts_down_when_asked(host: Host, disk: str) -> None:
    with watch(host, disk) as console:
        console.until(READY)
    assert ask(port_of(host, disk), "from a disk") == "from a disk"
    pid = host.domain(disk)["pid"]
    host.ok("shutdown", "-w", disk, "--timeout", "60")
    host.ok("wait", disk, "--until", "off", "--timeout", "60")
    assert pid not in host.guests()
    host.ok("undefine", disk)


def assert_no_gap(console: bytes) -> None:
    numbers = ticks(console)
    assert numbers == list(range(1, len(numbers) + 1)), console[console.find(READY) :].decode(errors="replace")

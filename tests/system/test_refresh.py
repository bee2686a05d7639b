"""Real guests go on in a new QEMU on the same host, with all that they have."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hypervisors.conftest import OLD_QEMU

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .conftest import give_facts
from .guests import READY, ask, port_of, pvh, ticks, watch
from .host import Host, a_host, wait_until

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
        assert after["pid"] != before["pid"]
        wait_until(lambda: not Path(f"/proc/{before['pid']}").exists(), 30, "the old process to be gone")
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


@pytest.mark.long
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


TALK = """
import select, socket, sys, time
connection = socket.create_connection((sys.argv[1], 7), timeout=30)
answers, longest, number = connection.makefile("rb"), 0.0, 0
print("talking", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    number, asked = number + 1, time.monotonic()
    connection.sendall(b"%d\\n" % number)
    assert answers.readline() == b"%d\\n" % number
    longest = max(longest, time.monotonic() - asked)
    time.sleep(0.01)
print(number, longest)
"""
"""One connection, over which one line after the other goes and comes until standard input is at its end."""


@pytest.mark.root
def test_a_connection_over_a_bridge_goes_on_and_nothing_is_left_of_the_old_tap(
    namespace: str, tmp_path: Path, qemu_facts: Path, tiny: TinyImage
) -> None:
    home, inside = give_facts(tmp_path / "home", qemu_facts), ("ip", "netns", "exec", namespace)
    with a_host(home, tmp_path, prefix=inside) as host:
        config = pvh(tiny, "web", vif=f"ip={BRIDGED}/24").replace("ip=10.0.2.15/24 ", f"ip={BRIDGED}/24 ")
        host.ok("create", host.write("web.cfg", config))
        with watch(host, "web") as console:
            console.until(READY)
        [before] = host.domain("web")["vifs"]
        talk = subprocess.Popen(
            [*inside, sys.executable, "-c", TALK, BRIDGED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert talk.stdout is not None and talk.stdout.readline() == "talking\n"
        gap_s = host.json("refresh", "web")["result"]["gap_s"]
        said, _ = talk.communicate(timeout=60)
        assert talk.returncode == 0 and int(said.split()[0]) > 1, said
        print(f"stood still for {1000 * gap_s:.0f} ms, the peer waited {1000 * float(said.split()[1]):.0f} ms")
        [after] = host.domain("web")["vifs"]
        links = subprocess.run(
            ["ip", "-n", namespace, "-o", "link"], capture_output=True, text=True, check=True
        ).stdout
        assert after["tap"] in links and before["tap"] not in links
        host.ok("destroy", "web")


@pytest.mark.long
def test_twenty_in_a_row_leave_memory_and_disk_as_they_are(real_host: Host, tiny: TinyImage) -> None:
    host = real_host
    port = start(host, tiny)
    gaps = []
    for _ in range(20):
        gaps.append(host.json("refresh", "web")["result"]["gap_s"])
        is_whole(host, port)
        assert "ok=1" in ask(port, f"wirt disk-write vda {8 * MIB} {MIB} 8")
    assert len(host.guests()) == 1
    host.ok("destroy", "web")
    host.assert_nothing_left()
    print(f"gaps: median {1000 * statistics.median(gaps):.0f} ms, longest {1000 * max(gaps):.0f} ms")

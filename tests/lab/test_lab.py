"""A real lab: hosts of network namespaces on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.system.guests import READY, pvh, watch
from tests.system.host import Host, wait_until

from wirt.images.tiny import TinyImage
from wirt.lab import Lab, LabError, state
from wirt.lab.processes import processes_of

pytestmark = [pytest.mark.real, pytest.mark.root]

GUESTS = {"h1": "10.219.0.11", "h2": "10.219.0.12"}
WAIT_S = 60.0
MEGABYTE = 1_000_000
SINK = """
import socket
server = socket.create_server(("", 9))
print(flush=True)
caller = server.accept()[0]
while caller.recv(65536):
    pass
"""
SOURCE = (
    "import socket, sys\ns = socket.create_connection((sys.argv[1], 9), 30)\ns.sendall(bytes(int(sys.argv[2])))"
)


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def lab(name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab.up(name, 2, tmp_path / "lab") as made:
        yield made


def seen(place: Path, name: str) -> list[str]:
    """What there is on this machine of the lab ``name`` in ``place``."""
    spaces = [path.name for path in Path("/run/netns").glob(f"wirt-{name}-*")]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {place}/" in line]
    processes = [str(pid) for number in (1, 2, 3) for pid in processes_of(place / f"h{number}")]
    records = [each for each in state.names() if each == name]
    return [*spaces, *mounts, *processes, *records, *([str(place)] if place.exists() else [])]


def links() -> str:
    return subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, timeout=30, check=True).stdout


def seconds_for(lab: Lab, size_bytes: int) -> float:
    """To send so much from h1 to h2, over their migration links."""
    sink = [*lab.entered("h2"), sys.executable, "-c", SINK]
    with subprocess.Popen(sink, stdout=subprocess.PIPE) as receiver:
        assert receiver.stdout is not None
        receiver.stdout.readline()
        begin = time.monotonic()
        source = [*lab.entered("h1"), sys.executable, "-c", SOURCE, lab.host("h2").plan.address, str(size_bytes)]
        subprocess.run(source, timeout=WAIT_S, check=True)
        receiver.wait(WAIT_S)
        return time.monotonic() - begin


@pytest.mark.long
def test_guests_of_two_hosts_share_a_network_until_a_link_is_cut_and_a_lost_host_comes_back(
    lab: Lab, tiny: TinyImage, tmp_path: Path
) -> None:
    with ExitStack() as consoles:
        watched = {}
        for name, address in GUESTS.items():
            host = lab.host(name)
            shell = Host(host.home, tmp_path, prefix=host.prefix, environment=host.settings)
            text = pvh(tiny, f"guest-{name}", vif=f"ip={address}").replace("ip=10.0.2.15/24", f"ip={address}/24")
            shell.ok("create", shell.write(f"{name}.cfg", text))
            watched[name] = consoles.enter_context(watch(shell, f"guest-{name}"))
        for console in watched.values():
            console.until(READY)
        watched["h1"].type(f"ping -c 3 -W 2 {GUESTS['h2']}\n")
        assert b" 0 packets received" not in watched["h1"].until(b" packets received")
        lab.cut("h2", "guests")
        assert not lab.answers(GUESTS["h2"])
        assert lab.answers(GUESTS["h1"], 10)
        lab.mend("h2", "guests")
        wait_until(lambda: lab.answers(GUESTS["h2"]), WAIT_S, "the mended link to pass")
        lab.kill_daemon("h1")
        assert lab.answers(GUESTS["h1"], 10), "a guest goes on without its daemon"
        lab.start_daemon("h1")
        assert "guest-h1" in lab.host("h1").wirt("list")
        lab.lose_power("h1")
        assert not processes_of(lab.host("h1").home)
        assert not lab.answers(GUESTS["h1"])
        lab.start_daemon("h1")
        assert lab.host("h1").json("pool", "list")


def test_a_link_is_as_wide_as_it_is_told_and_carries_nothing_when_cut(lab: Lab) -> None:
    lab.bandwidth("h1", MEGABYTE)
    assert seconds_for(lab, 3 * MEGABYTE) > 1.5, "3 MB can't pass faster than at 1 MB/s, but for what queues hold"
    lab.bandwidth("h1", None)
    lab.bandwidth("h2", None)
    address = lab.host("h2").plan.address
    assert lab.answers(address, 10, "h1")
    lab.cut("h2")
    assert not lab.answers(address, 2, "h1")
    lab.mend("h2")
    wait_until(lambda: lab.answers(address, 2, "h1"), WAIT_S, "the mended link to pass")


def test_all_hosts_have_one_pool_and_each_has_one_of_its_own(lab: Lab) -> None:
    lab.host("h1").wirt("volume", "create", "shared/one", "--size", "1M")
    lab.host("h2").wirt("volume", "create", "default/two", "--size", "1M")

    def volumes(host: str) -> list[str]:
        return sorted(each["reference"] for each in lab.host(host).json("volume", "list")["volumes"])

    assert (volumes("h1"), volumes("h2")) == (["shared/one"], ["default/two", "shared/one"])


def test_two_labs_stand_side_by_side_and_each_leaves_nothing(name: str, tmp_path: Path) -> None:
    before = links()
    other = f"{name}x"
    with Lab.up(name, 1, tmp_path / "a"), Lab.up(other, 1, tmp_path / "b") as second:
        assert {name, other} <= set(state.names())
        with pytest.raises(LabError, match="there is a lab"):
            Lab.up(name, 1, tmp_path / "c")
        Lab.find(name).down()
        assert second.host("h1").json("list")
        assert not seen(tmp_path / "a", name)
    assert not seen(tmp_path / "b", other)
    assert links() == before


def test_a_lab_of_which_all_was_killed_is_removed_and_made_again(name: str, tmp_path: Path) -> None:
    place = tmp_path / "lab"
    words = [sys.executable, "-m", "wirt.lab", "up", f"--name={name}", "--hosts=2", f"--dir={place}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env={**os.environ}) as making:
        assert making.stderr is not None
        while b"daemons" not in making.stderr.readline():
            assert making.poll() is None
        # One that it is just forking would not be known yet, and begin when all is removed.
        while not all(processes_of(place / f"h{number}") for number in (1, 2)):
            assert making.poll() is None
            time.sleep(0.01)
        making.kill()
    for host in Lab.find(name).hosts:
        host.lose_power()
    Lab.find(name).down()
    assert not seen(place, name)
    with Lab.up(name, 2, place) as again:
        assert all(host.serves() for host in again.hosts)
    assert not seen(place, name)


def test_a_directory_with_something_in_it_is_refused_and_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(LabError, match="not an empty directory"):
        Lab.up(name, 1, tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"
    assert name not in state.names()


def test_who_is_not_root_is_told_so() -> None:
    command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-m", "wirt.lab", "up"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert "needs root" in done.stderr
    assert "Traceback" not in done.stderr

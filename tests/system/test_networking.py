"""How a guest reaches the world: QEMU's user-mode network for everyone, a bridge for root.

What needs network devices happens in a network namespace of the test's own, daemon and commands included.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .conftest import give_facts
from .guests import READY, port_of, pvh, silent, watch
from .host import Host, a_host

pytestmark = pytest.mark.real
BRIDGED = "10.219.0.5"


@pytest.fixture
def host(namespace: str, tmp_path: Path, qemu_facts: Path) -> Iterator[Host]:
    home = give_facts(tmp_path / "home", qemu_facts)
    with a_host(home, tmp_path, prefix=("ip", "netns", "exec", namespace)) as made:
        yield made


def devices(namespace: str) -> set[str]:
    shown = subprocess.run(
        ["ip", "-n", namespace, "-json", "link"], capture_output=True, timeout=30, check=True
    ).stdout
    return {link["ifname"] for link in json.loads(shown)}


def ask_inside(namespace: str, line: str) -> str:
    """As ``ask``, from within the namespace."""
    code = (
        "import socket, sys\n"
        "connection = socket.create_connection((sys.argv[1], 7), timeout=30)\n"
        "connection.sendall(sys.argv[2].encode() + b'\\n')\n"
        "print(connection.makefile().readline().strip())\n"
    )
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", code, BRIDGED, line]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.root
def test_a_bridged_guest_is_reached_at_its_address_and_takes_its_tap_along(
    host: Host, namespace: str, tiny: TinyImage
) -> None:
    before = devices(namespace)
    config = pvh(tiny, "web", vif=f"ip={BRIDGED}/24").replace("ip=10.0.2.15/24 ", f"ip={BRIDGED}/24 ")
    host.ok("create", host.write("web.cfg", config))
    [vif] = host.domain("web")["vifs"]
    assert (vif["kind"], vif["bridge"]) == ("bridge", "wirtbr0")
    assert devices(namespace) - before == {"wirtbr0", vif["tap"]}
    assert vif["mac"] in host.ok("network-list", "web").out
    with watch(host, "web") as console:
        console.until(READY)
    assert ask_inside(namespace, "hello over the bridge") == "hello over the bridge"
    host.kill9()
    assert ask_inside(namespace, "still there") == "still there"
    host.start()
    [then] = host.domain("web")["vifs"]
    assert then["statistics"]["rx_packets"] > vif["statistics"]["rx_packets"]
    assert {**then, "statistics": None} == {**vif, "statistics": None}
    host.ok("destroy", "web")
    assert devices(namespace) - before == {"wirtbr0"}


@pytest.mark.root
def test_a_start_that_fails_leaves_no_tap(host: Host, namespace: str, tiny: TinyImage) -> None:
    before = devices(namespace)
    config = pvh(tiny, "web", vif="", more='device_model_args = ["-nonsense"]')
    assert "nonsense" in host.fails("create", host.write("web.cfg", config))
    assert devices(namespace) - before <= {"wirtbr0"}
    host.assert_nothing_left()
    other = pvh(tiny, "other", vif="bridge=nosuch0")
    assert "nosuch0" in host.fails("create", host.write("other.cfg", other))
    host.assert_nothing_left()


@pytest.mark.parametrize("passt", ["passt", "none"])
def test_a_forwarded_port_leads_into_the_guest_through_either_and_what_is_weaker_is_said(
    passt: str, tmp_path: Path, qemu_facts: Path, tiny: TinyImage
) -> None:
    if passt == "passt" and shutil.which("passt") is None:
        pytest.skip("needs passt: make setup (Debian: apt-get install passt)")
    home = give_facts(tmp_path / "home", qemu_facts)
    with a_host(home, tmp_path, environment={"WIRT_PASST": passt}) as host:
        host.ok("create", host.write("web.cfg", pvh(tiny, "web")))
        with watch(host, "web") as console:
            console.until(READY)
        with socket.create_connection(("127.0.0.1", port_of(host, "web")), timeout=30) as connection:
            connection.sendall(b"hello\n")
            assert connection.makefile().readline().strip() == "hello"
        weaker = host.domain("web")["weaker"]
        notes = [note for note in host.json("info")["notes"] if "user-mode" in note]
        # Where this host has no default route passt is not taken either, and that is said in the same places.
        own = any("host's network namespace" in note for note in notes)
        assert own == bool(weaker) and len(notes) == 1
        assert own or passt == "passt"


@pytest.mark.parametrize("passt", ["passt", pytest.param("none", marks=pytest.mark.long)])
def test_a_user_mode_card_comes_to_a_running_guest_with_a_forward_of_datagrams_and_goes_again(
    passt: str, tmp_path: Path, qemu_facts: Path, tiny: TinyImage
) -> None:
    if passt == "passt" and shutil.which("passt") is None:
        pytest.skip("needs passt: make setup (Debian: apt-get install passt)")
    home = give_facts(tmp_path / "home", qemu_facts)
    with a_host(home, tmp_path, environment={"WIRT_PASST": passt}) as host:
        host.ok("create", host.write("web.cfg", pvh(tiny, "web", vif="net=user")))
        with watch(host, "web") as console:
            console.until(READY)
            host.ok("network-attach", "web", "net=user", "ip=10.7.0.15/24", "forward=udp:7")
            console.does("ip link set eth1 up", "ip addr add 10.7.0.15/24 dev eth1")
            [_, card] = host.domain("web")["vifs"]
            [forward] = card["forwards"]
            assert says_by_datagram(forward["host_port"], "hello") == "hello"
            host.ok("network-detach", "web", card["mac"])
            assert len(host.domain("web")["vifs"]) == 1
            console.does("true")
        assert says_by_datagram(forward["host_port"], "hello", tries=1) == "no answer"


def says_by_datagram(port: int, line: str, tries: int = 10) -> str:
    """What the guest's echo service answers; datagrams may be lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(3)
        for _ in range(tries):
            asking.sendto(line.encode() + b"\n", ("127.0.0.1", port))
            with contextlib.suppress(OSError):
                return asking.recv(1500).decode().strip()
    return "no answer"


def test_a_chosen_port_is_the_one_that_is_forwarded(real_host: Host, tiny: TinyImage) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        port = probe.getsockname()[1]
        config = real_host.write("web.cfg", pvh(tiny, "web", vif=f"net=user,forward=tcp:{port}:7"))
        told = real_host.fails("create", config)
        assert f"tcp port {port} of 127.0.0.1 is in use" in told
        assert "hint: forward another" in told
        real_host.assert_nothing_left()
    real_host.ok("create", config)
    assert port_of(real_host, "web") == port
    with socket.create_connection(("127.0.0.1", port), timeout=30):
        pass  # QEMU listens there, though its guest may not be up yet


def test_a_card_without_a_network_is_a_card_all_the_same(real_host: Host, tiny: TinyImage) -> None:
    real_host.ok("create", "-p", real_host.write("web.cfg", silent(tiny, "web")))
    [vif] = real_host.domain("web")["vifs"]
    assert vif["kind"] == "none"
    assert re.fullmatch(r"00:16:3e(:[0-9a-f]{2}){3}", vif["mac"])

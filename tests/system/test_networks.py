"""Networks as a user has them: a real daemon, real guests, a bridge that somebody deletes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .conftest import give_facts
from .guests import READY, pvh, watch
from .host import Host, a_host, wait_until
from .test_networking import devices

pytestmark = [pytest.mark.real, pytest.mark.root]

GUEST = "10.5.0.20"
ASK = (
    "import socket, sys\n"
    "connection = socket.create_connection((sys.argv[1], 7), timeout=10)\n"
    "connection.sendall(b'hello\\n')\n"
    "print(connection.makefile().readline().strip())\n"
)


@pytest.fixture
def host(namespace: str, tmp_path: Path, qemu_facts: Path) -> Iterator[Host]:
    home = give_facts(tmp_path / "home", qemu_facts)
    with a_host(home, tmp_path, prefix=("ip", "netns", "exec", namespace)) as made:
        yield made
        for network in made.json("network", "list")["networks"]:
            for name in made.names():
                made.run("destroy", name)
            if network["name"] != "default":
                made.ok("network", "destroy", network["name"])


def answers(namespace: str, address: str = GUEST) -> bool:
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", ASK, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() == "hello"


def inside(namespace: str, *command: str) -> None:
    subprocess.run(["ip", "netns", "exec", namespace, *command], timeout=30, check=True)


def test_a_network_outlives_its_daemon_and_is_mended_around_a_running_guest(
    host: Host, namespace: str, tiny: TinyImage
) -> None:
    before = devices(namespace)
    assert host.json("network", "create", "lan", "--address", "10.5.0.1/24")["state"] == "done"
    config = pvh(tiny, "web", vif=f"network=lan,ip={GUEST}/24").replace("ip=10.0.2.15/24 ", f"ip={GUEST}/24 ")
    host.ok("create", host.write("web.cfg", config))
    with watch(host, "web") as console:
        console.until(READY)
    assert answers(namespace)
    assert "in use by domain web" in host.fails("network", "destroy", "lan")

    inside(namespace, "ip", "link", "delete", "br-lan")
    wait_until(lambda: answers(namespace), 30, "the guest to answer through the new bridge")
    detail = host.json("network", "info", "lan")
    assert "make the bridge br-lan" in [each["what"] for each in detail["mended"]]
    assert [each["domain"] for each in detail["vifs"]] == ["web"]

    host.kill9()
    inside(namespace, "ip", "link", "delete", "br-lan")
    host.start()
    wait_until(lambda: answers(namespace), 30, "the next daemon to mend it")

    server = host.json("network", "info", "lan")["server"]
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: _server(host) not in (None, server), 30, "another dnsmasq")

    host.ok("destroy", "web")
    host.ok("network", "destroy", "lan")
    assert devices(namespace) <= before
    host.assert_nothing_left()


def _server(host: Host) -> object:
    return host.json("network", "info", "lan")["server"]


def test_the_default_bridge_is_mended_around_a_running_guest(host: Host, namespace: str, tiny: TinyImage) -> None:
    address = "10.219.0.5"
    config = pvh(tiny, "web", vif=f"ip={address}/24").replace("ip=10.0.2.15/24 ", f"ip={address}/24 ")
    host.ok("create", host.write("web.cfg", config))
    with watch(host, "web") as console:
        console.until(READY)
    assert answers(namespace, address)
    inside(namespace, "ip", "link", "delete", "wirtbr0")
    wait_until(lambda: answers(namespace, address), 30, "the guest to answer through the new bridge")
    [default] = host.json("network", "list")["networks"]
    assert (default["name"], default["state"], default["vifs"]) == ("default", "up", 1)

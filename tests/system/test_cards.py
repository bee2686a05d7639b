"""Cards attached to guests that run, seen from inside them: they work, obey their cables, and go.

All in a network namespace of the test's own, daemon and commands included.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .conftest import give_facts
from .guests import READY, Watch, pvh, watch
from .host import Host, a_host, wait_until
from .test_networking import devices

pytestmark = [pytest.mark.real, pytest.mark.root]

PEER, OWN = "10.220.0.1", "10.220.0.2"
MAC = "00:16:3e:77:00:01"
_numbers = itertools.count(1000)


@pytest.fixture
def host(namespace: str, tmp_path: Path, qemu_facts: Path) -> Iterator[Host]:
    home = give_facts(tmp_path / "home", qemu_facts)
    # Not ip netns exec, which makes a new mount namespace each time: no daemon would see the mounts of the last.
    with a_host(home, tmp_path, prefix=("nsenter", f"--net=/run/netns/{namespace}")) as made:
        yield made


def config(kind: str, tiny: TinyImage, tmp_path: Path) -> str:
    if kind == "pvh":
        return pvh(tiny, "web", vif="")
    disk = shutil.copy(tiny.disk, tmp_path / "web.qcow2")
    return f"""
name = "web"
type = "hvm"
memory = 128
disk = ["{disk},qcow2,xvda,rw"]
vif = ["model=virtio"]
"""


def shell(console: Watch, command: str) -> bool:
    """Whether a command that is typed at the guest's console succeeds."""
    number = next(_numbers)
    # The sum keeps what is typed, which the console shows too, from looking like its answer.
    console.type(f"{command} >/dev/null 2>&1; echo ended-$(({number} + 0))=$?=\n")
    output = console.until(b"ended-%d=" % number)
    return b"ended-%d=0=" % number in output or b"ended-%d=0=" % number in console.until(b"=\r\n")


def pings(console: Watch) -> bool:
    return shell(console, f"ping -c 1 -W 3 -I eth1 {PEER}")


def card(host: Host, index: int) -> dict[str, object]:
    [found] = [vif for vif in host.domain("web")["vifs"] if vif["index"] == index]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("kind", "model"),
    [("pvh", "virtio"), ("hvm", "e1000"), pytest.param("hvm", "virtio", marks=pytest.mark.long)],
)
def test_a_card_that_is_attached_works_obeys_its_cable_and_goes(
    host: Host, namespace: str, tiny: TinyImage, tmp_path: Path, kind: str, model: str
) -> None:
    host.ok("create", host.write("peer.cfg", pvh(tiny, "peer", vif="")))
    host.ok("create", host.write("web.cfg", config(kind, tiny, tmp_path)))
    before = devices(namespace)
    with watch(host, "peer") as peer, watch(host, "web") as web:
        peer.until(READY)
        assert shell(peer, f"ip address add {PEER}/24 dev eth0; ip link set eth0 up")
        web.until(READY)
        assert not shell(web, "ip link show eth1")
        said = host.ok("network-attach", "web", f"mac={MAC}", f"model={model}").out
        assert said == f"web has network card 1 ({MAC})\n"
        assert shell(web, "for i in 1 2 3 4 5 6 7 8 9; do ip link show eth1 && break; sleep 1; done")
        assert shell(web, f"grep -i {MAC} /sys/class/net/eth1/address")
        assert shell(web, f"ip address add {OWN}/24 dev eth1 && ip link set eth1 up")
        wait_until(lambda: pings(web), 60, "an answer through the new card")
        counted = card(host, 1)["statistics"]
        assert isinstance(counted, dict)
        assert min(counted["rx_packets"], counted["tx_packets"]) > 0
        assert MAC in host.ok("network-list", "--stats", "web").out

        host.ok("network-link", "web", "1", "down")
        assert (card(host, 1)["state"], card(host, 1)["link"]) == ("attached", "down")
        assert not pings(web)
        host.kill9()
        host.start()
        assert card(host, 1)["link"] == "down"
    with watch(host, "web") as web:
        assert not pings(web)
        host.ok("network-link", "web", MAC, "up")
        wait_until(lambda: pings(web), 60, "an answer after the cable was plugged in again")
        host.ok("network-detach", "web", MAC)
        assert not shell(web, "ip link show eth1")
        assert shell(web, "ip link show eth0")
    assert devices(namespace) == before
    assert [vif["index"] for vif in host.domain("web")["vifs"]] == [0]
    assert MAC not in host.json("list", "-l", "web")[0]["text"]


def test_a_guest_that_does_not_answer_keeps_its_card_and_that_is_told(
    host: Host, namespace: str, tiny: TinyImage
) -> None:
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", vif="net=none")))
    # Its firmware still looks around, and nobody is there to answer.
    host.ok("network-attach", "web", "net=none")
    host.ok("pause", "web")
    assert "unpause" in host.fails("network-detach", "web", "1")
    host.ok("network-attach", "web", "net=none")
    host.ok("unpause", "web")
    with watch(host, "web") as web:
        web.until(READY)
        for command in ("ip link show eth1", "ip link show eth2"):
            assert shell(web, command)
        for devid in ("1", "2"):
            host.ok("network-detach", "web", devid)
        assert not shell(web, "ip link show eth1")


def test_what_is_wrong_is_told_and_changes_nothing(host: Host, namespace: str, tiny: TinyImage) -> None:
    host.ok("create", "-p", host.write("web.cfg", pvh(tiny, "web", vif=f"mac={MAC}")))
    before, text = devices(namespace), host.json("list", "-l", "web")[0]["text"]
    for words, told in (
        (["bridge=nosuch0"], "nosuch0"),
        ([f"mac={MAC}"], "is the address of network card 0"),
        (["devid=0"], "network card 0 already"),
        (["devid=9"], "no place"),
        (["model=usb-net"], "usb-net"),
        (["vifname=lo"], "lo"),
        (["rate=fast"], "no rate"),
    ):
        assert told in host.fails("network-attach", "web", *words), words
    assert "no network card 5" in host.fails("network-link", "web", "5", "down")
    assert host.run("network-link", "web", "0", "sideways").code == 2
    shown = host.json("network-attach", "-n", "web", "mac=00:16:3e:77:00:09")
    assert (shown["index"], shown["now"], shown["plan"]["port"]) == (1, True, 1)
    assert devices(namespace) == before
    assert host.json("list", "-l", "web")[0]["text"] == text


def test_a_daemon_killed_in_the_middle_leaves_the_card_wholly_there_or_not_at_all(
    host: Host, namespace: str, tiny: TinyImage
) -> None:
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", vif="")))
    before = devices(namespace)
    for delay_ms in range(0, 100, 12):
        command = host.spawn("wirt", "network-attach", "web", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: asked(host), 20, "wirt to ask")
        time.sleep(delay_ms / 1000)
        host.kill9()
        host.start()
        command.wait(30)
        wait_until(lambda: not unfinished(host), 60, "the job's end")
        domain = host.domain("web")
        taps = {vif["tap"] for vif in domain["vifs"]}
        assert devices(namespace) == {*before, *taps}, delay_ms
        assert {vif["state"] for vif in domain["vifs"]} == {"attached"}
        if len(domain["vifs"]) == 7:
            break


def asked(host: Host) -> bool:
    return any(job["kind"] == "network-attach" for job in host.json("jobs")["jobs"])


def unfinished(host: Host) -> list[object]:
    jobs = host.json("jobs")["jobs"]
    return [job for job in jobs if job["state"] not in ("done", "failed", "cancelled")]

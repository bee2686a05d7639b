"""passt beside QEMU: its command line, when it is taken, and what it is as a process."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import TypeVar

import pytest

from wirt.hypervisors.qemu import cmdline, devices, passt, process
from wirt.hypervisors.qemu.passt import Passt, Served
from wirt.model.devices import PortForward
from wirt.model.errors import LaunchFailed

from .qemu_plans import plan
from .qemu_scripts import script
from .rigs import eventually, free_port

T = TypeVar("T")

NIC = plan("user-forwards-static-address").nics[0]
TCP = PortForward("tcp", 80, 8080)
ROUTE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


def line(*forwards: PortForward, uid: int | None = 7) -> list[str]:
    return list(passt.command_line("/run/1/passt-vif0", passt.USUAL, forwards, 5, uid))


def test_ports_are_forwarded_from_the_loopback_and_the_hosts_own_loopback_stays_closed() -> None:
    words = line(TCP)
    assert words[words.index("--tcp-ports") + 1] == "127.0.0.1/8080:80"
    assert "--no-map-gw" in words
    assert words[words.index("--runas") + 1] == "7:7"
    assert "--runas" not in line(uid=None)


def test_a_udp_port_is_forwarded_too() -> None:
    words = line(PortForward("udp", 53, 5353))
    assert words[words.index("--udp-ports") + 1] == "127.0.0.1/5353:53"
    assert "--no-map-gw" not in words


@pytest.mark.parametrize(
    ("ip", "guest", "gateway"),
    [
        ((), "10.0.2.15/24", "10.0.2.2"),
        (("10.1.2.3/24",), "10.1.2.3/24", "10.1.2.1"),
        (("10.1.2.1/24",), "10.1.2.1/24", "10.1.2.2"),
        (("2001:db8::1/64", "10.1.2.3/24"), "10.1.2.3/24", "10.1.2.1"),
        (("10.1.2.3",), "10.0.2.15/24", "10.0.2.2"),
    ],
)
def test_a_guest_finds_the_addresses_that_qemus_own_network_has(
    ip: tuple[str, ...], guest: str, gateway: str
) -> None:
    chosen = passt.addresses(replace(NIC, addresses=ip))
    assert chosen == passt.Addresses(IPv4Interface(guest), IPv4Address(gateway))
    own = devices.user_network(replace(NIC, addresses=ip), ())
    assert own.get("host", "10.0.2.2") == gateway


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["nameserver 192.0.2.1\n"], ()),
        (["nameserver 127.0.0.53\n", "nameserver 192.0.2.1\nnameserver ::1\n"], ("192.0.2.1",)),
        (["nameserver 127.0.0.53\n", ""], ()),
        (["", "# none\nnameserver\nnameserver x\n"], ()),
    ],
)
def test_a_stub_on_the_loopback_is_no_name_server_for_a_guest(texts: list[str], expected: tuple[str, ...]) -> None:
    assert passt.resolvers(texts) == expected


def test_a_default_route_is_known() -> None:
    default = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    near = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    assert passt.has_default_route(ROUTE + near + default)
    assert not passt.has_default_route(ROUTE + near)
    assert not passt.has_default_route("")


def test_the_card_is_announced_in_one_frame() -> None:
    data = passt.announcement("00:16:3e:00:00:01", IPv4Address("10.0.2.15"))
    (length,) = struct.unpack(">I", data[:4])
    assert length == len(data) - 4 == 42
    assert data[10:16] == bytes.fromhex("00163e000001")
    assert data[-4:] == IPv4Address("10.0.2.15").packed == data[4 + 28 : 4 + 32]


def test_qemu_is_given_a_socket_and_no_network_of_its_own() -> None:
    made = plan("user-forwards-static-address")
    words = cmdline.command_line(made, "qemu", "/run/1", cmdline.preview_handles(made, passt=True))
    netdevs = [words[place + 1] for place, word in enumerate(words) if word == "-netdev"]
    assert netdevs == ["stream,id=vif0,server=off,addr.type=fd,addr.str=13"]


async def test_it_is_said_why_passt_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Passt("none", tmp_path).missing() == "the setting passt is none"
    assert "not installed" in str(await Passt("/nowhere/passt", tmp_path).missing())
    routes = tmp_path / "route"
    routes.write_text(ROUTE + "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
    monkeypatch.setattr(passt, "ROUTES", routes)
    refusing = script(
        tmp_path / "refusing", "echo 'Failed to send 3 bytes to syslog'; echo 'No namespaces here'; exit 1"
    )
    assert await Passt(refusing, tmp_path).missing() == "passt can't work here (No namespaces here)"
    wordless = script(tmp_path / "wordless", "exit 3")
    assert await Passt(wordless, tmp_path).missing() == "passt can't work here (exit status 3)"
    routes.write_text(ROUTE)
    assert "no IPv4 default route" in str(await Passt(refusing, tmp_path).missing())


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Passt]:
    if shutil.which("passt") is None:
        pytest.skip("needs passt: make setup (Debian: apt-get install passt)")
    made = Passt("passt", tmp_path)
    missing = await made.missing()
    if missing is not None:
        pytest.skip(f"passt is not used here: {missing}")
    yield made


async def serving(real: Passt, directory: Path, forward: PortForward, uid: int | None = None) -> Served:
    def spawn(run: Callable[[int | None], T]) -> T:
        return run(uid)

    served = real.serve(NIC, (forward,), directory, spawn)
    try:
        await served.begun
    except BaseException:
        served.end.close()
        raise
    return served


def status_of(pid: int) -> dict[str, str]:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(row.split(":\t", 1) for row in rows if ":\t" in row)


@pytest.mark.real
async def test_passt_serves_as_a_user_of_its_own_and_ends_with_the_socket(real: Passt, tmp_path: Path) -> None:
    directory = tmp_path / "a, pasta run"
    directory.mkdir()
    port = free_port()
    uid = 1_900_099_999 if os.geteuid() == 0 else None
    served = await serving(real, directory, PortForward("tcp", 80, port), uid)
    [found] = process.find(directory)
    await eventually(lambda: status_of(found.pid)["Seccomp"] == "2")  # the last thing that it does
    fields = status_of(found.pid)
    assert fields["Uid"].split() == [str(uid or os.geteuid())] * 4
    assert fields["CapEff"] == "0" * 16 and fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert (directory / "passt-vif0.log").exists()
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        pass
    served.end.close()
    await eventually(lambda: process.find(directory) == [])


@pytest.mark.real
async def test_a_port_in_use_is_told_in_passts_words_and_leaves_nothing(real: Passt, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchFailed, match=rf"passt can't serve vif0: .*{port}"):
            await serving(real, tmp_path, PortForward("tcp", 80, port))
    await asyncio.sleep(0.1)
    assert process.find(tmp_path) == []

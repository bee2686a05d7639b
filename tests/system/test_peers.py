"""Two hosts that are made known to one another, as their users do it, and talk."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from wirt.model.errors import PeerUnreachable
from wirt.model.peer import Address, KnownPeer
from wirt.peers import certificates
from wirt.peers.host import HostPeers, PeerSettings
from wirt.peers.ssh import Ssh
from wirt.peers.tls import Own, TlsPeer

from .host import SOURCE, Host, a_host, program, wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """Which know nobody before each test, and after it."""
    tmp_path = tmp_path_factory.mktemp("two")
    with one(tmp_path, "a", free_port()) as a, one(tmp_path, "b", free_port()) as b:
        yield a, b


def one(directory: Path, name: str, port: int) -> AbstractContextManager[Host]:
    scratch = directory / name
    scratch.mkdir()
    environment = {
        "WIRT_HYPERVISOR": "fake",
        "WIRT_HOST": name,
        "WIRT_PEER_LISTEN": f"127.0.0.1:{port}",
    }
    return a_host(scratch / "home", scratch, environment=environment)


def listens_at(host: Host) -> str:
    return host.environment["WIRT_PEER_LISTEN"]


def pair(one: Host, other: Host) -> None:
    certificate = other.ok("peer", "certificate").out
    name = other.environment["WIRT_HOST"]
    one.ok("peer", "add", name, listens_at(other), "--certificate", "-", stdin=certificate)


def troubles(host: Host) -> list[str]:
    return [note for note in host.json("info")["notes"] if "peer-listen" in note]


def called(one: Host, other: Host, path: str = "/v1/peer") -> object:
    """What ``other`` answers ``one``'s wirtd: with its own certificate and key."""

    async def call() -> object:
        directory = Path(one.home.state, "peers")
        own = Own(*certificates.own(directory, "unused"))
        pinned = certificates.read(other.ok("peer", "certificate").out)
        host, _, port = listens_at(other).partition(":")
        peer = TlsPeer(KnownPeer("other", Address(host, int(port)), pinned), own)
        try:
            return await peer.call("GET", path, deadline_s=30.0)
        finally:
            await peer.close()

    return asyncio.run(call())


def test_hosts_talk_once_each_knows_the_other_and_no_longer(two: tuple[Host, Host]) -> None:
    a, b = two
    pair(a, b)
    with pytest.raises(PeerUnreachable):
        called(a, b)
    pair(b, a)
    assert called(a, b) == {"name": "b", "wirt_version": b.json("info")["wirt_version"], "api": "v1"}
    with pytest.raises(Exception, match="Not Found"):
        called(a, b, "/v1/domains")
    b.stop()
    b.start()
    assert called(a, b) is not None
    b.ok("peer", "remove", "a")
    with pytest.raises(PeerUnreachable):
        called(a, b)
    assert b.json("peer", "list")["peers"] == []
    a.ok("peer", "remove", "b")


def test_what_is_wrong_with_a_peer_is_told(two: tuple[Host, Host]) -> None:
    a, b = two
    pair(a, b)
    own = a.ok("peer", "certificate").out
    assert "own certificate" in a.fails("peer", "add", "c", "10.0.0.1", "--certificate", "-", stdin=own)
    assert "no certificate" in a.fails("peer", "add", "c", "10.0.0.1", "--certificate", "-", stdin="x")
    other = b.ok("peer", "certificate").out
    assert "peer b already" in a.fails("peer", "add", "c", "10.0.0.1", "--certificate", "-", stdin=other)
    assert "did you mean b?" in a.fails("peer", "remove", "bb")
    a.ok("peer", "remove", "b")


def test_an_address_that_is_taken_keeps_no_host_from_serving_and_is_had_later(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with one(tmp_path, "a", holder.getsockname()[1]) as a:
            assert troubles(a)
            holder.close()
            wait_until(lambda: not troubles(a), 60.0, "the address to be tried again")
            host, _, port = listens_at(a).partition(":")
            socket.create_connection((host, int(port)), 30.0).close()


def test_a_host_is_reached_through_its_users_relay(two: tuple[Host, Host], tmp_path: Path) -> None:
    """As through ssh, but that the program in its place runs the command here."""
    _, b = two
    shell = tmp_path / "not-ssh"
    shell.write_text('#!/bin/sh\nfor command; do :; done\nexec sh -c "$command"\n')
    shell.chmod(0o755)
    remote = f"WIRT_HOME={b.home.state} PYTHONPATH={SOURCE} {' '.join(program('wirt'))}"
    settings = PeerSettings("a", tmp_path / "p", tmp_path / "d", None, range(1, 2), Ssh(str(shell), remote))

    async def call() -> tuple[str, object]:
        peer = await HostPeers(settings).reach("ssh://b")
        try:
            return peer.name, await peer.call("GET", "/v1/domains", deadline_s=30.0)
        finally:
            await peer.close()

    name, domains = asyncio.run(call())
    assert name == "b"
    assert isinstance(domains, dict)


def test_nobody_without_a_certificate_gets_in(two: tuple[Host, Host]) -> None:
    _, b = two
    host, _, port = listens_at(b).partition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    answer = b""
    with socket.create_connection((host, int(port)), 30.0) as raw, contextlib.suppress(OSError):
        stream = context.wrap_socket(raw)
        stream.sendall(b"GET /v1/peer HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = stream.recv(1)
    assert answer == b""

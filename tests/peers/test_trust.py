"""Who is not known gets nothing, and can't keep those out who are."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from wirt.model.errors import BadInput, PeerUnreachable
from wirt.model.peer import Address, KnownPeer
from wirt.peers import certificates, doors, http, listener
from wirt.peers.host import HostPeers
from wirt.ports.peers import Door

from .worlds import World, app_of, free_port, pin, serving, settings, tls_world

PATIENCE_S = 30.0


async def echo(method: str, path: str, body: Any) -> Any:
    return {"path": path}


class Forged:
    """A certificate of a test's own making, and its files."""

    def __init__(
        self, directory: Path, name: str, *, days: int = 10, authority: bool = False, by: Forged | None = None
    ) -> None:
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        issuer = by or self
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.secret.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(issuer.secret, hashes.SHA256())
        )
        self.file, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.key.write_bytes(self.secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def pem(self) -> str:
        return self.file.read_text()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tls_world(tmp_path) as made:
        made.serve(echo)
        yield made


def far_address(world: World) -> Address:
    assert isinstance(world.far, HostPeers)
    address = world.far._settings.listen
    assert address is not None
    return address


async def asked(address: Address, context: ssl.SSLContext) -> bytes:
    """What a request by hand brings; an error of TLS is raised."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
        writer.write(b"GET /v1/peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try:
            return await reader.read()
        finally:
            writer.transport.abort()


def trusting(forged: Forged | None = None, highest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if highest is not None:
        context.maximum_version = highest
    if forged is not None:
        context.load_cert_chain(forged.file, forged.key)
    return context


async def refused(address: Address, context: ssl.SSLContext) -> None:
    try:
        answer = await asked(address, context)
    except OSError:
        return
    assert answer == b""


async def test_a_client_without_a_certificate_gets_no_answer(world: World) -> None:
    await refused(far_address(world), trusting())


async def test_a_client_with_another_certificate_gets_no_answer(world: World, tmp_path: Path) -> None:
    await refused(far_address(world), trusting(Forged(tmp_path, "near")))


async def test_only_tls_1_3_is_spoken(world: World, tmp_path: Path) -> None:
    await refused(far_address(world), trusting(Forged(tmp_path, "x"), ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize(("days", "gets_in"), [(10, True), (-1, False)])
async def test_a_client_whose_pinned_certificate_has_expired_gets_no_answer(
    tmp_path: Path, days: int, gets_in: bool
) -> None:
    forged = Forged(tmp_path, "old", days=days)
    async with knowing(tmp_path, forged) as address:
        if gets_in:
            assert b'"far"' in await asked(address, trusting(forged))
        else:
            await refused(address, trusting(forged))


async def test_a_pinned_certificate_can_not_vouch_for_another(tmp_path: Path) -> None:
    """Even one that is an authority's."""
    authority = Forged(tmp_path, "authority", authority=True)
    child = Forged(tmp_path, "child", by=authority)
    child.file.write_text(child.pem + authority.pem)
    async with knowing(tmp_path, authority) as address:
        assert b'"far"' in await asked(address, trusting(authority))
        await refused(address, trusting(child))


@asynccontextmanager
async def knowing(directory: Path, forged: Forged) -> AsyncIterator[Address]:
    """The address of a host that has pinned ``forged``."""
    address = Address("127.0.0.1", free_port())
    far = HostPeers(settings(directory, "far", listen=address))
    far.know([KnownPeer("forged", Address("127.0.0.1", 1), certificates.read(forged.pem))])
    async with serving(far, app_of([echo], [])):
        yield address


async def test_who_is_pinned_or_removed_while_it_runs_is_so_at_once(world: World) -> None:
    near, far = world.near, world.far
    assert isinstance(near, HostPeers)
    peer = await near.reach(world.target)
    assert await peer.call("GET", "/v1/x")
    far.know(())
    with pytest.raises(PeerUnreachable):
        await peer.call("GET", "/v1/x")
    with pytest.raises(PeerUnreachable) as caught:
        await near.reach(world.target)
    assert "certificate" in str(caught.value)
    far.know([KnownPeer("again", Address("127.0.0.1", 1), await near.identity())])
    assert await peer.call("GET", "/v1/x")
    await peer.close()


async def test_it_is_known_which_peer_calls(world: World) -> None:
    peer = await world.near.reach(world.target)
    await peer.call("POST", "/v1/x", {})
    assert world.callers == ["over-here"]
    await peer.close()


async def test_another_host_at_the_address_is_told_with_both_fingerprints(tmp_path: Path) -> None:
    address = Address("127.0.0.1", free_port())
    near, far, other = (
        HostPeers(settings(tmp_path, name, listen=address if name == "other" else None))
        for name in ("near", "far", "other")
    )
    await pin(near, "far", address, far)
    async with serving(other, app_of([echo], [])):
        with pytest.raises(PeerUnreachable) as caught:
            await near.reach("far")
    assert (await other.identity()).fingerprint in caught.value.message
    assert (await far.identity()).fingerprint in caught.value.message


async def test_a_peer_whose_own_certificate_has_expired_is_not_believed(tmp_path: Path) -> None:
    forged = Forged(tmp_path, "old", days=-1)
    address = Address("127.0.0.1", free_port())
    near = HostPeers(settings(tmp_path, "near", listen=None))
    near.know([KnownPeer("old", address, certificates.read(forged.pem))])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(forged.file, forged.key)
    server = await asyncio.start_server(lambda r, w: w.close(), address.host, address.port, ssl=context)
    with pytest.raises(PeerUnreachable, match="not valid now"):
        await near.reach("old")
    server.close()


async def test_silent_clients_keep_nobody_out_and_are_hung_up_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_S", 0.5)
    address = far_address(world)
    silent = [socket.create_connection((address.host, address.port)) for _ in range(8)]
    peer = await world.near.reach(world.target)
    for stream in silent:
        stream.settimeout(PATIENCE_S)
        assert await asyncio.to_thread(stream.recv, 1) == b""
        stream.close()
    await peer.close()


async def test_too_many_handshakes_at_once_are_refused_and_others_get_in_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_S", 1.0)
    monkeypatch.setattr(listener, "MOST_SHAKING", 4)
    address = far_address(world)
    silent = [socket.create_connection((address.host, address.port)) for _ in range(12)]
    for stream in silent:
        stream.settimeout(PATIENCE_S)
        assert await asyncio.to_thread(_ended, stream)
    peer = await world.near.reach(world.target)
    await peer.close()


def _ended(stream: socket.socket) -> bool:
    with stream:
        try:
            return stream.recv(1) == b""
        except ConnectionResetError:
            return True


# ---- a peer that is known and does not behave


@asynccontextmanager
async def saying(directory: Path, words: bytes, *, then_wait: bool = False) -> AsyncIterator[HostPeers]:
    """A host that knows the peer ``odd``, which answers each request with ``words``."""
    forged = Forged(directory, "odd")
    address = Address("127.0.0.1", free_port())
    near = HostPeers(settings(directory, "near", listen=None))
    near.know([KnownPeer("odd", address, certificates.read(forged.pem))])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(forged.file, forged.key)
    stop = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        if then_wait:
            await stop.wait()
        writer.close()

    server = await asyncio.start_server(answer, address.host, address.port, ssl=context)
    try:
        yield near
    finally:
        stop.set()
        server.close()
        await asyncio.sleep(0.05)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        HEAD + b"Content-Length: 10\r\n\r\n{}",
        HEAD + b"Content-Length: 3\r\n\r\nno!",
        HEAD + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 50000000\r\n\r\n" + b"[" * 20_000_000,
        HEAD + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000,
        b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["nothing", "ssh", "short", "no-json", "long-head", "oversize", "deep", "no-problem"],
)
async def test_an_answer_that_can_not_be_is_an_error_and_no_more(tmp_path: Path, words: bytes) -> None:
    async with saying(tmp_path, words) as near:
        with pytest.raises(PeerUnreachable):
            await near.reach("odd")


async def test_an_answer_that_never_ends_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wirt.peers.host.REACH_S", 0.5)
    async with saying(tmp_path, HEAD + b"Content-Length: 10\r\n\r\n{", then_wait=True) as near:
        with pytest.raises(PeerUnreachable, match=r"within 0\.5 s"):
            await near.reach("odd")


def test_no_code_of_an_error_makes_an_error_that_can_not_be_raised() -> None:
    for code in [*http._KINDS, "who-knows", None, 7, ["x"]]:
        error = http.told({"code": code, "title": "t", "hint": 3}, "far")
        assert error.message == "far: t"
        assert error.hint is None


# ---- doors


async def test_a_wrong_token_a_short_one_and_silence_let_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "TOKEN_S", 0.5)
    door = doors.open_tcp("127.0.0.1", range(41400, 41500), token=True)
    port = door.door.port
    assert port is not None
    wrong, short, silent = (socket.create_connection(("127.0.0.1", port)) for _ in range(3))
    wrong.sendall(b"x" * 32 + b"more")
    short.sendall(b"x" * 5)
    short.shutdown(socket.SHUT_WR)
    waiting = asyncio.create_task(door.accept(PATIENCE_S))
    for stream in (wrong, short, silent):
        stream.settimeout(PATIENCE_S)
        assert await asyncio.to_thread(_ended, stream)
    assert not waiting.done()
    monkeypatch.setattr(doors, "TOKEN_S", PATIENCE_S)
    right = socket.create_connection(("127.0.0.1", port))
    await asyncio.to_thread(doors.show, right, door.door)
    right.sendall(b"behind it")
    stream = await waiting
    assert await asyncio.to_thread(stream.recv, 100) == b"behind it"
    stream.close()
    right.close()
    door.close()


async def test_a_token_may_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    door = doors.open_tcp("127.0.0.1", range(41400, 41500), token=True)
    stream = socket.create_connection(("127.0.0.1", door.door.port or 0))
    waiting = asyncio.create_task(door.accept(PATIENCE_S))
    for octet in bytes.fromhex(door.door.token or ""):
        stream.sendall(bytes([octet]))
        await asyncio.sleep(0.001)
    (await waiting).close()
    stream.close()
    door.close()


async def test_a_crowd_of_silent_streams_does_not_keep_the_right_one_out() -> None:
    door = doors.open_tcp("127.0.0.1", range(41400, 41500), token=True)
    port = door.door.port or 0
    waiting = asyncio.create_task(door.accept(PATIENCE_S))
    crowd = []
    for _ in range(doors.MOST_WAITING + 4):
        crowd.append(socket.create_connection(("127.0.0.1", port)))
        await asyncio.sleep(0.005)
    right = socket.create_connection(("127.0.0.1", port))
    doors.show(right, door.door)
    (await waiting).close()
    for stream in (*crowd, right):
        stream.close()
    door.close()


async def test_a_door_takes_the_next_free_port_and_says_when_there_is_none() -> None:
    first = doors.open_tcp("127.0.0.1", range(41500, 41502), token=False)
    second = doors.open_tcp("127.0.0.1", range(41500, 41502), token=False)
    assert {first.door.port, second.door.port} == {41500, 41501}
    with pytest.raises(Exception, match="none of the ports 41500-41501 is free"):
        doors.open_tcp("127.0.0.1", range(41500, 41502), token=False)
    first.close()
    second.close()


async def test_a_unix_door_is_its_owners_and_leaves_no_file(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    door = doors.open_unix(directory, token=True)
    path = Path(door.door.path or "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    door.close()
    assert not path.exists()


def test_a_token_is_not_the_same_twice() -> None:
    tokens = {doors._token(True) for _ in range(10)}
    assert len(tokens) == 10
    assert all(token is not None and len(bytes.fromhex(token)) == 32 for token in tokens)
    assert Door().token is None


# ---- certificates


def test_a_hosts_key_is_its_owners_alone_and_stays_the_same(tmp_path: Path) -> None:
    first, file, key = certificates.own(tmp_path / "peers", "host1")
    again, _, _ = certificates.own(tmp_path / "peers", "renamed")
    assert first == again
    assert first.name == "host1"
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "PRIVATE" not in file.read_text()
    assert first.not_after > time.time() + 365 * 86400


def test_a_crash_between_key_and_certificate_makes_both_anew(tmp_path: Path) -> None:
    (tmp_path / "host.key").write_text("half a k")
    made, file, key = certificates.own(tmp_path, "host1")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, key)
    assert made.fingerprint == certificates.fingerprint(ssl.PEM_cert_to_DER_cert(made.pem))


@pytest.mark.parametrize("what", ["", "nonsense", "key", "two", "large"])
def test_what_is_no_certificate_alone_is_refused(tmp_path: Path, what: str) -> None:
    _, file, key = certificates.own(tmp_path, "host1")
    pem = file.read_text()
    text = {"key": pem + key.read_text(), "two": pem + pem, "large": pem + "#" * 100_000}.get(what, what)
    with pytest.raises(BadInput):
        certificates.read(text)


@pytest.mark.parametrize(("days", "told"), [(-1, "expired")])
def test_a_certificate_that_has_expired_is_not_pinned(tmp_path: Path, days: int, told: str) -> None:
    peers = HostPeers(settings(tmp_path, "near", listen=None))
    with pytest.raises(BadInput, match=told):
        peers.examine(Forged(tmp_path, "old", days=days).pem)


def test_the_credentials_of_one_migration_work_and_those_of_another_do_not(tmp_path: Path) -> None:
    receiving, sending = certificates.for_one_migration()
    stranger = certificates.for_one_migration()[1]

    def shaken(credentials: Any) -> None:
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server.verify_mode = ssl.CERT_REQUIRED
        for context, side in ((server, receiving), (client, credentials)):
            files = tmp_path / "c", tmp_path / "k"
            files[0].write_text(side.certificate)
            files[1].write_text(side.key)
            context.load_cert_chain(*files)
            context.load_verify_locations(cadata=side.authority)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        here = client.wrap_bio(incoming, outgoing, server_hostname=receiving.name)
        there = server.wrap_bio(outgoing, incoming, server_side=True)
        done: set[ssl.SSLObject] = set()
        for _ in range(6):
            for side in (here, there):
                try:
                    side.do_handshake()
                    done.add(side)
                except ssl.SSLWantReadError:
                    pass
        assert done == {here, there}

    shaken(sending)
    with pytest.raises(ssl.SSLError):
        shaken(stranger)

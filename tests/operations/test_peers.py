"""Which hosts are known is what the store says, and the adapter is told of each change."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost

from wirt.model.errors import BadInput, CorruptState, NameInUse, NotFound
from wirt.operations import peers
from wirt.operations.records_peers import peer_key
from wirt.ports.store import Put


def certificate(name: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    made = SimulatedHost(tmp_path)
    await made.boot()
    return made


def told(host: SimulatedHost) -> list[str]:
    return list(host.links.host("host1").known)


async def test_a_peer_that_is_added_is_known_also_to_the_next_daemon(host: SimulatedHost) -> None:
    added = await peers.add(host.environment, "b", "10.99.0.2", certificate("host2"))
    assert str(added.address) == "10.99.0.2:16509"
    assert told(host) == ["b"]
    await host.stop()
    await host.boot()
    assert list(host.environment.known_peers) == [added]
    assert told(host) == ["b"]
    await host.stop()


async def test_a_peer_that_is_removed_is_forgotten(host: SimulatedHost) -> None:
    await peers.add(host.environment, "b", "[2001:db8::2]:17000", certificate("host2"))
    await peers.remove(host.environment, "b")
    assert told(host) == []
    with pytest.raises(NotFound):
        await peers.remove(host.environment, "b")
    await peers.add(host.environment, "b", "host2:1", certificate("host2"))
    await host.stop()


@pytest.mark.parametrize("name", ["", "-b", "a/b", "a b", "ssh:", "x" * 64, "b\n", "ä"])
async def test_a_name_that_can_not_be_is_refused(host: SimulatedHost, name: str) -> None:
    with pytest.raises(BadInput):
        await peers.add(host.environment, name, "host2", certificate("host2"))
    assert told(host) == []
    await host.stop()


@pytest.mark.parametrize("address", ["", ":1", "h:", "h:0", "h:65536", "h:x", "a b", "::1", "[::1", "[x]:1", "-h"])
async def test_an_address_that_can_not_be_is_refused(host: SimulatedHost, address: str) -> None:
    with pytest.raises(BadInput):
        await peers.add(host.environment, "b", address, certificate("host2"))
    await host.stop()


async def test_a_name_or_a_certificate_that_is_known_is_refused(host: SimulatedHost) -> None:
    await peers.add(host.environment, "b", "host2", certificate("host2"))
    with pytest.raises(NameInUse):
        await peers.add(host.environment, "b", "host3", certificate("host3"))
    with pytest.raises(NameInUse, match="peer b already"):
        await peers.add(host.environment, "c", "host3", certificate("host2"))
    assert told(host) == ["b"]
    await host.stop()


async def test_a_host_is_not_its_own_peer(host: SimulatedHost) -> None:
    own = await peers.own(host.environment)
    with pytest.raises(BadInput, match="own certificate"):
        await peers.add(host.environment, "b", "host2", own.pem)
    await host.stop()


async def test_a_record_that_can_not_be_read_is_named(host: SimulatedHost) -> None:
    await host.stop()
    await host.store.commit(Put(peer_key("b"), b'{"version": 9}'))
    with pytest.raises(CorruptState, match="peers/b"):
        await host.boot()

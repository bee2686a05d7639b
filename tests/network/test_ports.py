"""Ports of the real loopback, as any user has them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wirt.model.devices import PortForward
from wirt.model.errors import BadInput, Shortage, Unavailable
from wirt.network import DefaultBridge, HostNetwork
from wirt.network.ports import KEPT_S, LoopbackPorts, Probe, bound
from wirt.ports.virtual_clock import VirtualClock

from .worlds import user_card


async def test_a_chosen_port_can_be_bound_by_the_hypervisor(clock: VirtualClock) -> None:
    plugged = await HostNetwork(DefaultBridge(), clock).plug(
        user_card(PortForward("tcp", 22), PortForward("udp", 53))
    )

    for forward, kind in zip(plugged.forwards, (socket.SOCK_STREAM, socket.SOCK_DGRAM), strict=True):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", forward.host_port))


def test_the_kernel_offering_a_port_twice_within_a_minute_is_not_believed(clock: VirtualClock) -> None:
    offers = iter([4000, 4000, 4000, 4001])
    ports = LoopbackPorts(clock, _offering(offers))

    assert ports.take("a", [PortForward("tcp", 22)])[0].host_port == 4000
    ports.release("a")
    assert ports.take("b", [PortForward("tcp", 22)])[0].host_port == 4001


async def test_a_port_is_offered_again_after_a_minute(clock: VirtualClock) -> None:
    ports = LoopbackPorts(clock, _offering(iter([4000, 4000])))
    ports.take("a", [PortForward("tcp", 22)])

    await clock.advance(KEPT_S)

    assert ports.take("b", [PortForward("tcp", 22)])[0].host_port == 4000


def test_tcp_and_udp_count_their_ports_apart(clock: VirtualClock) -> None:
    ports = LoopbackPorts(clock, _offering(iter([4000, 4000])))

    chosen = ports.take("a", [PortForward("tcp", 53), PortForward("udp", 53)])

    assert [forward.host_port for forward in chosen] == [4000, 4000]


def test_no_free_port_is_a_shortage(clock: VirtualClock) -> None:
    with pytest.raises(Shortage, match="no tcp port"):
        LoopbackPorts(clock, _refusing(errno.EADDRINUSE)).take("a", [PortForward("tcp", 22)])


@pytest.mark.parametrize("port", [0, 80])
def test_a_port_that_may_not_be_bound_tells_the_kernels_reason(clock: VirtualClock, port: int) -> None:
    with pytest.raises(Unavailable, match="Permission denied"):
        LoopbackPorts(clock, _refusing(errno.EACCES)).take("a", [PortForward("tcp", 22, port)])


def test_a_protocol_without_ports_is_bad_input(clock: VirtualClock) -> None:
    with pytest.raises(BadInput, match="sctp"):
        LoopbackPorts(clock, bound).take("a", [PortForward("sctp", 22, 2222)])


def test_a_udp_port_is_seen_as_taken_even_if_its_owner_would_share_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        owner.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"), bound("udp", owner.getsockname()[1]):
            pass


def test_connections_of_an_earlier_guest_do_not_hold_a_tcp_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # closed first: this end stays in TIME-WAIT
        client.close()

    with bound("tcp", port) as number:
        assert number == port


def _offering(ports: Iterator[int]) -> Probe:
    @contextmanager
    def probe(protocol: str, port: int) -> Iterator[int]:
        yield port or next(ports)

    return probe


def _refusing(reason: int) -> Probe:
    @contextmanager
    def probe(protocol: str, port: int) -> Iterator[int]:
        raise OSError(reason, {errno.EACCES: "Permission denied"}.get(reason, "Address already in use"))
        yield 0

    return probe

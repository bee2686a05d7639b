"""Host ports for user-mode forwards.

QEMU binds them by itself (``hostfwd``), after we have looked: someone else may take one in between, and then QEMU
says so. What must not happen is that wirt gives one port to two cards, so each is remembered for a while.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from wirt.model.devices import PortForward
from wirt.model.errors import BadInput, ResourceBusy, Shortage
from wirt.network.refusals import refused
from wirt.ports.clock import Clock

LOOPBACK = "127.0.0.1"
KEPT_S = 60.0
"""How long a port that was given is offered to nobody else."""
STARTING_S = 5.0
"""How long it is refused even to who asks for it by number. After that its hypervisor has bound it, and a probe
sees that, or has ended, and whoever comes next may have it."""
_ATTEMPTS = 64
_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True)
class _Given:
    """``card`` is ``None`` once the card has been unplugged. ``at_s`` is the clock's monotonic time."""

    card: object
    at_s: float


Probe = Callable[[str, int], AbstractContextManager[int]]
"""Holds a port (of a protocol; 0: any free one) and gives its number, or ``OSError`` as bind(2) has it."""


class LoopbackPorts:
    def __init__(self, clock: Clock, probe: Probe) -> None:
        self._clock = clock
        self._probe = probe
        self._given: dict[tuple[str, int], _Given] = {}

    def take(self, card: object, forwards: Sequence[PortForward]) -> tuple[PortForward, ...]:
        """``forwards`` with a free port for each ``host_port`` of 0. All or nothing.

        Errors: ``ResourceBusy`` (a fixed port is taken), ``Shortage`` (no free one), ``Unavailable``.
        """
        now = self._clock.monotonic()
        self._given = {port: given for port, given in self._given.items() if now - given.at_s < KEPT_S}
        # The probes stay bound until all are chosen, so that one card does not get one port twice.
        with ExitStack() as probes:
            chosen = tuple(
                self._fixed(card, forward, now, probes) if forward.host_port else self._free(forward, probes)
                for forward in forwards
            )
        for forward in chosen:
            self._given[forward.protocol, forward.host_port] = _Given(card, now)
        return chosen

    def release(self, card: object) -> None:
        """Its ports may be asked for by number; a free one is still another than these for a while."""
        for port, given in self._given.items():
            if given.card == card:
                self._given[port] = replace(given, card=None)

    def _fixed(self, card: object, forward: PortForward, now: float, probes: ExitStack) -> PortForward:
        given = self._given.get((forward.protocol, forward.host_port))
        busy = given is not None and given.card not in (None, card) and now - given.at_s < STARTING_S
        try:
            if not busy:
                probes.enter_context(self._probe(forward.protocol, forward.host_port))
                return forward
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise refused(f"{_named(forward)} can't be used", error) from error
        raise ResourceBusy(
            f"{_named(forward)} is in use",
            hint=f"forward another, or any free one: forward={forward.protocol}:{forward.guest_port}",
        )

    def _free(self, forward: PortForward, probes: ExitStack) -> PortForward:
        for _ in range(_ATTEMPTS):
            try:
                port = probes.enter_context(self._probe(forward.protocol, 0))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    break
                raise refused(f"no port of {LOOPBACK} can be used", error) from error
            if (forward.protocol, port) not in self._given:
                return replace(forward, host_port=port)
        raise Shortage(
            f"no {forward.protocol} port of {LOOPBACK} is free for the guest's port {forward.guest_port}",
            hint="name one: forward=PROTOCOL:HOSTPORT:GUESTPORT",
        )


def _named(forward: PortForward) -> str:
    return f"{forward.protocol} port {forward.host_port} of {LOOPBACK}"


@contextmanager
def bound(protocol: str, port: int) -> Iterator[int]:
    """A :data:`Probe` of this machine's loopback."""
    if protocol not in _TYPES:
        raise BadInput(f"ports of {protocol} can't be forwarded", hint="tcp and udp can")
    with socket.socket(socket.AF_INET, _TYPES[protocol]) as probe:
        if protocol == "tcp":
            # As QEMU does: connections of an earlier guest that are still closing don't count. Not for udp, where
            # two that both set it would share the port without a word (socket(7)).
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        if protocol == "tcp":
            probe.listen(1)
        yield int(probe.getsockname()[1])

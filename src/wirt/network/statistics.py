"""What went through a tap, from the kernel's own counters (proc_pid_net(5), ``dev``).

Of the calling thread's network namespace, whichever that is; /sys shows the one that it was mounted in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from wirt.ports.network import VifStatistics

_TABLE = Path("/proc/thread-self/net/dev")
# Columns after the name: bytes, packets, errs, drop, fifo, frame, compressed, multicast; then those of sending.
_BYTES, _PACKETS, _DROPPED, _SENT = 0, 1, 3, 8


def tap_statistics(tap: str) -> VifStatistics | None:
    """As the guest sees it: what the host sends into the tap is what the guest receives. ``None`` if there is no
    such device."""
    return parse(_TABLE.read_text(errors="surrogateescape"), tap)


def device_statistics() -> Mapping[str, VifStatistics]:
    """Of every device, as a guest behind it sees it."""
    return parse_all(_TABLE.read_text(errors="surrogateescape"))


def parse_all(table: str) -> Mapping[str, VifStatistics]:
    return {name: _of(counters) for name, counters in _rows(table)}


def parse(table: str, tap: str) -> VifStatistics | None:
    for name, counters in _rows(table):
        if name == tap:
            return _of(counters)
    return None


def _rows(table: str) -> Iterator[tuple[str, str]]:
    for line in table.splitlines():
        name, colon, counters = line.partition(":")
        if colon:
            yield name.strip(), counters


def _of(counters: str) -> VifStatistics:
    numbers = [int(word) for word in counters.split()]
    host_received, host_sent = numbers[:_SENT], numbers[_SENT:]
    return VifStatistics(
        rx_bytes=host_sent[_BYTES],
        rx_packets=host_sent[_PACKETS],
        rx_dropped=host_sent[_DROPPED],
        tx_bytes=host_received[_BYTES],
        tx_packets=host_received[_PACKETS],
        tx_dropped=host_received[_DROPPED],
    )

"""Image files as they are, byte for byte, from one host to another: layers that nobody writes while a guest on top
of them runs.

A layer is known by its :class:`Content`, never by its name: of two with the same one, either will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wirt.ports.migration import Channel
from wirt.ports.storage import Progress

BLOCK = 64 * 1024
"""What is read, hashed and sent at once; blocks of nothing but zeros are left out."""


@dataclass(frozen=True, slots=True)
class Content:
    """Of a file of ``length`` bytes. ``digest``: SHA-256, in hex digits, of the number and the bytes of each block
    that has anything in it, and of the length; numbers are 8 bytes, the highest first. So holes cost nothing."""

    length: int
    digest: str


class LayerFiles(Protocol):
    """Errors: ``NotFound`` (no such file), ``BadInput`` (no plain file), ``Shortage`` (no room), ``ImageChanged``
    (what came, or what is there, is not what it should be), ``Unavailable`` with the system's words, also of a
    stream that was cut. The stream of a channel is the callee's to close. A cancelled call has stopped."""

    async def length(self, path: str) -> int:
        """In bytes, holes included."""
        ...

    async def content(self, path: str) -> Content: ...

    async def send(
        self, path: str, wanted: Content, channel: Channel, progress: Progress, *, bytes_per_s: int | None = None
    ) -> int:
        """What the file holds into ``channel``, where somebody calls ``receive``. Returns the bytes that went over
        once the other side has said that it has ``wanted``."""
        ...

    async def receive(self, path: str, wanted: Content, channel: Channel) -> None:
        """Into the file ``path``, which is there and loses what it held. It holds ``wanted`` afterwards, also
        after a loss of power."""
        ...

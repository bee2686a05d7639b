"""What wirt asks of one who makes seeds: small file systems that tell a guest who it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from wirt.model.storage import Volume


class SeedMaker(Protocol):
    async def image(self, label: str, files: Mapping[str, bytes]) -> bytes:
        """A read-only file system called ``label`` with ``files``, as the content of a disk."""
        ...

    async def write(self, image: bytes, volume: Volume) -> None:
        """Into a volume that has been activated and is large enough. When it returns, a guest reads it.
        ``Unavailable`` if its pool can't be written so."""
        ...

"""What wirt asks of whoever opens the disks of guests that are off, as bytes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wirt.model.storage import Image, Volume
from wirt.ports.blocks import Blocks


class DiskServer(Protocol):
    """By a process that reaches the images named and nothing else. Errors: ``BadInput`` (the image is not what it
    says), ``NotFound``, ``ResourceBusy`` (someone has it open), ``Unavailable``."""

    def serve(
        self, disk: Volume | Image, *, writable: bool = False, changes: str | None = None, top: bool = False
    ) -> AbstractAsyncContextManager[Blocks]:
        """Open until it is left; ``changes``: a checkpoint that the image keeps, from which on
        :meth:`Blocks.extents` tells what was written. What a ``Volume`` stands on is read too; with ``top``
        extents are only what the topmost image has of its own, zeroes as well."""
        ...

    async def checkpoints(self, disk: Volume | Image) -> frozenset[str]:
        """Those that the image keeps, and from which on all changes are known."""
        ...

    async def mark(self, disk: Volume | Image, checkpoint: str) -> None:
        """Begin ``checkpoint`` (``PLACE.NAME``) now, and forget all others of its place; an image that can't keep
        any stays as it is."""
        ...

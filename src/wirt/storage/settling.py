"""That what a program has written into a file is on its disk, or an error says that it is not.

qemu-img(1) writes through the host's memory and does not wait ("-t", "unsafe"): a disk that is full, or gone, is
found out later, by whoever asks. Sources: fsync(2), "ERRORS"; linux, Documentation/filesystems/vfs.rst, "Handling
errors during writeback".
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from wirt.model.errors import NotFound
from wirt.ports.files import opened
from wirt.storage.programs import run

SETTLE_S = 900.0
"""The host's memory may hold a great deal of it, and the disk be slow; or its server has gone."""


@asynccontextmanager
async def settled(path: str, what: str) -> AsyncIterator[None]:
    """Around what writes ``path``, a file or a device. ``Shortage`` or ``Unavailable`` (``what`` did not succeed)
    if not all of it has reached the disk. The kernel keeps an error only while somebody has the file open."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(opened(path, os.O_RDONLY))
        except OSError as error:
            raise NotFound(f"{what}: {path}: {error.strerror}") from error
        yield
        await run("sync", path, what=what, deadline_s=SETTLE_S)

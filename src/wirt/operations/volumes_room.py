"""Whether what failed did so because a pool is full.

Who writes may never hear of it: of a block device the kernel reports what it could not write back as an error of
input and output, whatever the reason was (linux, fs/buffer.c). The pool knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wirt.model.errors import HypervisorError, Shortage, Unavailable, WirtError
from wirt.model.storage import Capability, VolumeRef
from wirt.model.units import MIB
from wirt.operations.environment import Environment

FULL_BYTES = MIB
"""A pool with less room than this is full: file systems and thin pools give room in larger pieces than sectors."""


@asynccontextmanager
async def told_if_full(environment: Environment, ref: VolumeRef) -> AsyncIterator[None]:
    """Around what writes the volume ``ref``: an error that came because its pool is full is a ``Shortage`` which
    says so, with the numbers and with what can be done. Other errors are raised as they are."""
    try:
        yield
    except (Shortage, HypervisorError, Unavailable) as error:
        left = await _left(environment, ref)
        if left is None or (left >= FULL_BYTES and not isinstance(error, Shortage)):
            raise
        room = f"pool {ref.pool} has {left // MIB} MiB left"
        raise Shortage(
            f"{ref} can't be written any further: {room}: {error.message}",
            hint=f"make room in {ref.pool}, or choose another pool: wirt pool list shows how full they are",
        ) from error


async def _left(environment: Environment, ref: VolumeRef) -> int | None:
    """In bytes; nothing if the pool does not say, or its volumes have all of their room from the beginning."""
    with contextlib.suppress(WirtError):
        pool = await environment.pools.open(ref.pool)
        if Capability.THIN in pool.capabilities:
            return (await pool.usage()).available
    return None

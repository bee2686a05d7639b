"""Seeds as ISO 9660 (ECMA-119) with the long names of Joliet and Rock Ridge, written by pycdlib."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Mapping

from wirt.model.errors import Unavailable
from wirt.model.storage import Volume


class IsoSeeds:
    async def image(self, label: str, files: Mapping[str, bytes]) -> bytes:
        return await asyncio.to_thread(iso, label, files)

    async def write(self, image: bytes, volume: Volume) -> None:
        if not volume.path.startswith("/"):
            raise Unavailable(
                f"{volume.reference} is no file or device of this host, so no seed can be written there",
                hint="wirt clone --no-identity, or another pool for the clone (--pool)",
            )
        try:
            await asyncio.to_thread(_write, image, volume.path)
        except OSError as error:
            raise Unavailable(f"{volume.reference} can't be written: {error.strerror}") from error


def iso(label: str, files: Mapping[str, bytes]) -> bytes:
    """Loaded when it is first needed: it costs a daemon that never clones nothing."""
    from pycdlib import PyCdlib

    disc = PyCdlib()
    disc.new(vol_ident=label, joliet=3, rock_ridge="1.09")
    for number, (name, content) in enumerate(sorted(files.items())):
        disc.add_fp(io.BytesIO(content), len(content), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    out = io.BytesIO()
    disc.write_fp(out)
    disc.close()
    return out.getvalue()


def _write(image: bytes, path: str) -> None:
    # A device's name is a link that udev made; a file of a pool never is one.
    follow = 0 if path.startswith("/dev/") else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_WRONLY | follow | os.O_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(image)
        file.flush()
        os.fsync(file.fileno())

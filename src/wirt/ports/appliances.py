"""Reading archives of whole machines (OVA, OVF, XVA, bare images), and writing one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wirt.model.appliance import Appliance
from wirt.model.storage import ImageFormat, Volume
from wirt.ports.storage import Progress


@dataclass(frozen=True, slots=True)
class Package:
    """An appliance that was looked at. ``files`` lie beside the one at ``path`` and belong to it; ``stamp``
    changes when one of them does. ``format``: it is a bare image of that format. ``machine``: which of several
    is meant."""

    path: str
    stamp: str
    files: tuple[str, ...] = ()
    format: ImageFormat | None = None
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """``appliance`` with formats and sizes as its disks really are."""

    appliance: Appliance
    package: Package


@dataclass(frozen=True, slots=True)
class Packed:
    """A file that goes into an archive: ``name`` there, ``path`` here, ``size`` in bytes and its SHA-256."""

    name: str
    path: str
    size: int
    digest: str


class Appliances(Protocol):
    """Whoever made an archive is trusted with nothing: it is read by a process that reaches the open files and
    nothing else, bounded in memory and time. A cancelled call has ended its processes.

    Errors: ``BadInput`` (it is not what it says, is damaged, or would lead elsewhere), ``NotFound``, ``Shortage``,
    ``Unavailable``."""

    async def look(self, path: str, format_: ImageFormat | None = None, machine: str = "") -> Found:
        """``format_``: it is a bare image, of that format. ``machine``: which of several is meant."""
        ...

    async def check(self, package: Package, progress: Progress) -> None:
        """All of the files that a manifest vouches for. ``IllegalState`` if one has changed since :meth:`look`."""
        ...

    async def pour(
        self, package: Package, disk: int, format_: ImageFormat, target: Volume, progress: Progress
    ) -> None:
        """All that a guest would read of a disk, by its place in the appliance, into ``target``, which is large
        enough. Nothing is unpacked anywhere else."""
        ...

    async def measure(self, path: str) -> Packed:
        """A file of ours, that is to go into an archive, under its own name."""
        ...

    async def room(self, path: str) -> int:
        """Bytes that can be written into the directory of ``path``."""
        ...

    async def exists(self, path: str) -> bool: ...

    async def make_scratch(self, path: str) -> None:
        """A new directory, empty: what an interrupted call left there goes."""
        ...

    async def discard(self, path: str) -> None:
        """A directory that :meth:`make_scratch` made, with all that is in it, or a file. One that is not there is
        no error."""
        ...

    async def pack(
        self, path: str, descriptor: tuple[str, str], files: Sequence[Packed], scratch: str, progress: Progress
    ) -> None:
        """A new archive: a descriptor (name and text), a manifest that vouches for it and all ``files``, and them.
        ``NameInUse`` if there is one already; a call that fails leaves none."""
        ...

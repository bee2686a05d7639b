"""What wirt asks of a storage pool. A pool keeps volumes and nothing else: who may use one, and when, is decided
above it; copying between pools is :class:`ImageTool`'s work, which sees paths only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from wirt.model.devices import DiskFormat
from wirt.model.storage import (
    Capability,
    FileSystem,
    Image,
    ImageFormat,
    PoolConfig,
    PoolType,
    PoolUsage,
    Preallocation,
    Volume,
)
from wirt.plan.engine import Medium

Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class NewVolume:
    """``size`` in bytes; a pool that works in larger units rounds up."""

    name: str
    size: int
    format: DiskFormat
    preallocation: Preallocation = Preallocation.OFF


class Pool(Protocol):
    """One pool that is open here.

    Errors of all: ``NotFound`` (no such volume), ``NameInUse``, ``Shortage`` (no room; the numbers are told),
    ``ResourceBusy`` (in use, by whom if that can be found out), ``BadInput`` (the pool can't do this; its
    capabilities say so before), ``Unavailable`` (the server, the group or the device is gone). A call that fails
    leaves nothing; a call that is cancelled or killed in its middle leaves nothing that :meth:`volumes` would list
    as a volume, and :meth:`tidy` takes the rest away.
    """

    @property
    def config(self) -> PoolConfig: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def formats(self) -> tuple[DiskFormat, ...]:
        """That volumes may have, the preferred one first."""
        ...

    async def usage(self) -> PoolUsage: ...

    async def file_system(self) -> FileSystem | None:
        """What its files lie on, found out by trying, once. ``None`` where volumes are devices, or where nothing
        can be tried now."""
        ...

    async def volumes(self) -> tuple[Volume, ...]:
        """By name."""
        ...

    async def find(self, name: str) -> Volume: ...

    async def create(self, wanted: NewVolume) -> Volume: ...

    async def grow(self, name: str, size: int) -> Volume:
        """Make room for ``size`` bytes. What is in it, and who has it open, is not touched: a format's own size is
        the opener's to change. Never makes one smaller."""
        ...

    async def shrink(self, name: str, size: int) -> Volume:
        """Cut it off. Only for a volume that nobody uses, at its owner's own risk. Of a format with a size of its
        own, the image has been made smaller before (:meth:`ImageTool.resize`)."""
        ...

    async def clone(self, name: str, new: str) -> Volume:
        """A writable volume that begins as ``name`` is now and shares what neither has written since."""
        ...

    async def snapshot(self, name: str, kept: str) -> Volume:
        """A volume ``kept`` that holds what ``name`` does now, and depends on it in nothing. Whoever has ``name``
        open for writing has written all out and waits. Capability ``snapshot``."""
        ...

    async def layer(self, new: str, on: str, *, now: str | None = None) -> Volume:
        """A new image, empty, that stands on the volume ``on``; if there is none of that name yet, on the one that
        is called ``now`` until :meth:`rename`. Capability ``layers``."""
        ...

    async def rename(self, name: str, new: str) -> Volume:
        """``name`` is called ``new`` from now on, also while somebody has it open; what stands on it names it as
        before. Repeating it is no error; a ``new`` that is there beside ``name`` is."""
        ...

    async def remove(self, name: str) -> None:
        """``ResourceBusy`` while another volume stands on it. One that is not there is no error."""
        ...

    async def activate(self, name: str) -> Volume:
        """Make it ready to be opened on this host; its path holds from now on. Idempotent."""
        ...

    async def deactivate(self, name: str) -> None:
        """Nobody on this host will open it for now. Idempotent."""
        ...

    async def tidy(self) -> tuple[str, ...]:
        """Take away what interrupted calls left; a sentence for each thing."""
        ...

    async def close(self) -> None:
        """Let go of the pool; what is in it stays."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What a path leads to, however it is called: a file by its file system and number, a device by its number.
    ``within`` is the disk that a partition is a part of."""

    own: str
    within: str | None = None

    def overlaps(self, other: Identity) -> bool:
        return self.own == other.own or self.own == other.within or other.own == self.within


class Storage(Protocol):
    """Opens pools. ``types`` are those that can be used here; of the others the reason is told."""

    def types(self) -> tuple[PoolType, ...]: ...

    def reason(self, pool_type: PoolType) -> str | None:
        """Why there are no such pools here, and what would help; ``None`` if there are."""
        ...

    async def make(self, config: PoolConfig) -> bool:
        """Make what :meth:`open` needs and may be made without harm (a directory), and say whether it was
        missing. What exists is not changed."""
        ...

    async def unmake(self, config: PoolConfig) -> None:
        """Take back what :meth:`make` made, unless something is in it."""
        ...

    async def open(self, config: PoolConfig) -> Pool:
        """``Unavailable``, ``NotFound`` or ``BadInput`` say what is wrong with the target."""
        ...

    async def identify(self, paths: Collection[str]) -> Mapping[str, Identity]:
        """What each path leads to through all links; without those that lead nowhere. Never waits long."""
        ...

    async def media_of(self, paths: Collection[str]) -> Mapping[str, Medium]:
        """What each path lies on, found out by opening it to read; without those of which nothing can be found
        out. Never waits long."""
        ...

    async def lay_proof(self, path: str, token: str) -> bool:
        """Leave a mark beside the file ``path`` that another host sees if it has the same directory; whether that
        could be done. ``token``: up to 64 letters and digits. Never waits long."""
        ...

    async def sees_proof(self, path: str, token: str) -> bool:
        """Whether ``path`` is there with that mark beside it. Never waits long."""
        ...

    async def take_proof(self, path: str, token: str) -> None:
        """Take the mark away. One that is not there is no error."""
        ...

    async def stamps(self, paths: Collection[str]) -> Mapping[str, str]:
        """A word for each file that is another once the file has been written, also by others, and the same on
        every host that has it. Without those of which that can't be told: devices, and what is not there. Never
        waits long."""
        ...


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Of an image file, read without believing it: see :meth:`ImageTool.inspect`. ``size`` is what a guest would
    see. ``backing`` is the file that it stands on, as it is named there."""

    format: ImageFormat
    size: int
    allocated: int
    backing: str | None = None
    dirty: bool = False


class ImageTool(Protocol):
    """Copies and conversions of whole images, by a process that reaches the images named and nothing else, bounded
    in memory and time. A cancelled call has ended its process.

    Errors: ``BadInput`` (the image is not what it says), ``NotFound``, ``Shortage``, ``Unavailable``."""

    async def inspect(self, path: str, format_: ImageFormat | DiskFormat | None = None) -> ImageFacts:
        """Of unsaid format it is found out, which is safe only for a file that no guest has written."""
        ...

    async def chain(self, volume: Volume) -> tuple[str, ...]:
        """The real paths of the files that it stands on, the one right below it first, as its image says. Whoever
        wrote it may have named any file: compare with what is known before anything is read."""
        ...

    async def convert(
        self,
        source: Volume | Image,
        target: Volume | Image,
        progress: Progress,
        *,
        bytes_per_s: int | None = None,
    ) -> None:
        """All that a guest would read of ``source`` into ``target``, which exists and is large enough. Of a
        ``Volume`` the files that it stands on are read too; an ``Image`` that stands on others is refused."""
        ...

    async def write(
        self,
        source: Volume | Image,
        target: Image,
        progress: Progress,
        *,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """The same into a new file, with the format's ``options`` (qemu-img(1), "Notes"). ``NameInUse`` if there
        is one. A call that fails or is cancelled leaves none."""
        ...

    async def resize(self, volume: Volume, size: int) -> None:
        """Give the image itself another size, when it has one of its own (qcow2). Only while nobody uses it."""
        ...

    async def commit(self, volume: Volume, progress: Progress) -> None:
        """Write all that ``volume`` has of its own into the one right below it, which holds what a guest would
        read of ``volume`` afterwards; whoever else stands on that one reads nonsense. Repeating it is no harm.
        Only while nobody uses either."""
        ...

    async def point(self, volume: Volume, below: Volume) -> None:
        """Have ``volume`` name ``below`` as what it stands on. Nothing is copied: it holds the same already."""
        ...

    async def check(self, path: str, format_: DiskFormat) -> tuple[str, ...]:
        """What is wrong inside the image, a sentence each (qemu-img(1), "check")."""
        ...

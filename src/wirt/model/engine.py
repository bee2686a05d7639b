"""How the hypervisor reads and writes a disk: what does not belong to its content, and may be chosen anew at each
start. The words are QEMU's (qemu-system-x86_64(1), ``-blockdev``, ``-drive cache=``)."""

from __future__ import annotations

from enum import StrEnum


class CacheMode(StrEnum):
    """``none``: past the host's memory. ``writeback``: through it. ``directsync`` and ``writethrough`` are those
    two with every write lasting before the guest is told so. ``unsafe``: the guest's own flushes are ignored,
    and a host that fails may leave nothing of the disk."""

    NONE = "none"
    WRITEBACK = "writeback"
    DIRECTSYNC = "directsync"
    WRITETHROUGH = "writethrough"
    UNSAFE = "unsafe"

    @property
    def direct(self) -> bool:
        """Past the host's memory (open(2), O_DIRECT)."""
        return self in (CacheMode.NONE, CacheMode.DIRECTSYNC)

    @property
    def lasting(self) -> bool:
        """Every write is flushed before it is told done."""
        return self in (CacheMode.DIRECTSYNC, CacheMode.WRITETHROUGH)

    @property
    def buffered(self) -> CacheMode:
        """The same promise to the guest, through the host's memory."""
        return {CacheMode.NONE: CacheMode.WRITEBACK, CacheMode.DIRECTSYNC: CacheMode.WRITETHROUGH}.get(self, self)


class Aio(StrEnum):
    """``threads``: a pool of threads that each wait. ``native``: Linux AIO (io_submit(2)), for direct access only.
    ``io_uring``: io_uring(7)."""

    THREADS = "threads"
    NATIVE = "native"
    IO_URING = "io_uring"


class DetectZeroes(StrEnum):
    """``on``: a block of zeroes is written as such, without its bytes. ``unmap``: its room is given back."""

    OFF = "off"
    ON = "on"
    UNMAP = "unmap"


class IoThread(StrEnum):
    """Who serves a disk's queues. ``none``: the hypervisor's main thread. ``shared``: one thread for all disks
    of the guest that say so. ``own``: one for this disk alone."""

    NONE = "none"
    SHARED = "shared"
    OWN = "own"


MOST_QUEUES = 64
"""That an entry may ask for. virtio would allow 1024, each with an interrupt and a ring of the guest's memory."""

"""How each disk is served, chosen by where it lies, with the reasons: pure.

What was measured is in ``bench/figures/disk.py`` and its results. Nothing here depends on how busy a host is,
and what a guest can see (the number of queues, whether writes are flushed) depends on its configuration alone,
so that it finds the same wherever it moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.engine import Aio, CacheMode, DetectZeroes, IoThread
from wirt.model.errors import ConfigError
from wirt.model.storage import Volume

PLANNED_QUEUES = 8
"""At most, unasked: beyond that a queue costs its interrupt and ring, and one host thread serves all of them."""
NATIVE_REQUESTS = 1024
"""That QEMU reserves of fs.aio-max-nr for each thread that serves disks (block/linux-aio.c, MAX_EVENTS)."""
SPARE_STARTS = 16
"""Starts that may be under way at once, none of which sees what the others are about to reserve."""
MEMORY_FILE_SYSTEMS = frozenset(("tmpfs", "ramfs"))
SHARED_THREAD = "iothread"


@dataclass(frozen=True, slots=True)
class Medium:
    """What a disk lies on, found out by trying. ``file_system`` as mount(8) names it, ``None`` for a device.
    ``direct`` is ``None`` if the host's memory can be passed by (open(2), O_DIRECT), or why not. ``sparse``: it
    has less room than its length."""

    file_system: str | None
    direct: str | None = None
    sparse: bool = False

    @property
    def device(self) -> bool:
        return self.file_system is None


UNKNOWN = Medium("unknown", "nothing is known of where it lies")
DEVICE = Medium(None)


@dataclass(frozen=True, slots=True)
class Engines:
    """Those that this host can serve disks with, beside threads. ``missing``: why not the others.
    ``native_requests``: what is left of those that the kernel allows at once (fs.aio-max-nr)."""

    missing: tuple[tuple[Aio, str], ...] = ()
    native_requests: int = 65536

    def why_not(self, aio: Aio) -> str | None:
        if aio is Aio.NATIVE and self.native_requests < NATIVE_REQUESTS * SPARE_STARTS:
            return f"of fs.aio-max-nr only {self.native_requests} requests are left"
        return dict(self.missing).get(aio)


@dataclass(frozen=True, slots=True)
class DiskEngine:
    """``iothread`` is the name of the thread that serves it, if not the main one. ``queues`` is 0 where the
    device has none to choose. ``reasons``: why each is as it is, by its name."""

    cache: CacheMode = CacheMode.WRITEBACK
    aio: Aio = Aio.THREADS
    discard: bool = True
    detect_zeroes: DetectZeroes = DetectZeroes.OFF
    iothread: str | None = None
    queues: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)


def plan_engine(
    disk: DiskSpec,
    format_: DiskFormat,
    medium: Medium,
    engines: Engines,
    *,
    volume: Volume | None = None,
    vcpus: int = 1,
    paravirtual: bool = True,
) -> DiskEngine:
    """``format_`` is the image's, ``vcpus`` the most that the guest may ever have, ``paravirtual`` whether its
    device is virtio. A wish that this host can't fulfil is answered with the next best, and said so: it must
    never keep a guest from starting. ``ConfigError`` for one that no host could."""
    _refuse_for_emulated(disk, paravirtual=paravirtual)
    thin = _is_thin(format_, medium, volume)
    cache, why_cache = _cache(disk, medium)
    aio, why_aio = _aio(disk, format_, medium, cache, engines, thin=thin)
    discard, why_discard = _discard(disk, medium, thin=thin)
    zeroes, why_zeroes = _zeroes(disk, thin=thin, discard=discard)
    reasons = {"cache": why_cache, "aio": why_aio, "discard": why_discard, "detect_zeroes": why_zeroes}
    iothread, queues = None, 0
    if paravirtual:
        iothread, reasons["iothread"] = _iothread(disk)
        queues, reasons["queues"] = _queues(disk, vcpus)
    return DiskEngine(cache, aio, discard, zeroes, iothread, queues, reasons)


def _refuse_for_emulated(disk: DiskSpec, *, paravirtual: bool) -> None:
    if paravirtual:
        return
    for name, wish in (("queues", disk.queues), ("iothread", disk.iothread)):
        if wish is not None:
            raise ConfigError(
                f"{name}={wish} is for paravirtual disks, and {disk.vdev} is an emulated one",
                key="disk",
                hint=f"name it xvd{disk.vdev[2:]}, or leave {name}= out",
            )


def _is_thin(format_: DiskFormat, medium: Medium, volume: Volume | None) -> bool:
    """Whether it takes room as it is written."""
    if volume is not None:
        return volume.allocated < volume.size or volume.backing is not None
    return format_ is not DiskFormat.RAW or (medium.sparse and not medium.device)


def _cache(disk: DiskSpec, medium: Medium) -> tuple[CacheMode, str]:
    if disk.cache is not None:
        if disk.cache.direct and medium.direct is not None:
            other = disk.cache.buffered
            return other, f"cache={disk.cache} is asked for, and its file can't be opened so: {medium.direct}"
        return disk.cache, f"the entry of {disk.vdev} says so"
    if disk.cdrom:
        return CacheMode.WRITEBACK, "it is only read, and the host's memory keeps it for all who read it"
    if medium.direct is not None:
        return CacheMode.WRITEBACK, f"it goes through the host's memory: {medium.direct}"
    return CacheMode.NONE, "the guest keeps in its memory what it needs; twice takes room and a copy"


def _aio(
    disk: DiskSpec, format_: DiskFormat, medium: Medium, cache: CacheMode, engines: Engines, *, thin: bool
) -> tuple[Aio, str]:
    if disk.aio is not None:
        why_not = engines.why_not(disk.aio)
        if disk.aio is Aio.NATIVE and not cache.direct:
            why_not = f"it needs direct access, and the cache is {cache}"
        if why_not is None:
            return disk.aio, f"the entry of {disk.vdev} says so"
        return Aio.THREADS, f"aio={disk.aio} is asked for and can't be had: {why_not}"
    if disk.cdrom or medium is UNKNOWN:
        return Aio.THREADS, "they work wherever it lies" if medium is UNKNOWN else "a drive has few requests"
    if _remote(medium):
        return Aio.THREADS, "a server that does not answer then keeps threads waiting, not the guest"
    # io_uring measured the same as native, but what it does the jail's filter of system calls never sees: it is
    # for those who ask for it.
    direct = None if cache.direct else f"native needs direct access, and the cache is {cache}"
    why_not = direct or engines.why_not(Aio.NATIVE)
    if why_not is not None:
        return Aio.THREADS, why_not
    if format_ is DiskFormat.RAW and not thin:
        return Aio.NATIVE, "all of its room is there, so that no request has to wait for the file system"
    return Aio.NATIVE, "a fifth more requests than threads, and the jail's filter of system calls sees them"


def _remote(medium: Medium) -> bool:
    return medium.file_system is not None and medium.file_system.startswith(("nfs", "cifs", "smb", "fuse", "ceph"))


def _discard(disk: DiskSpec, medium: Medium, *, thin: bool) -> tuple[bool, str]:
    if disk.discard_given or not disk.discard:
        return disk.discard, f"the entry of {disk.vdev} says so"
    if not thin and not medium.device and medium is not UNKNOWN:
        return False, "all of its room is taken and is to stay so; discard in its entry gives room back"
    return True, "what the guest deletes is given back"


def _zeroes(disk: DiskSpec, *, thin: bool, discard: bool) -> tuple[DetectZeroes, str]:
    if disk.detect_zeroes is DetectZeroes.UNMAP and not discard:
        return DetectZeroes.ON, "detect-zeroes=unmap is asked for, and nothing is given back (discard)"
    if disk.detect_zeroes is not None:
        return disk.detect_zeroes, f"the entry of {disk.vdev} says so"
    if not disk.writable or disk.cdrom:
        return DetectZeroes.OFF, "it is only read"
    if thin and discard:
        return (
            DetectZeroes.UNMAP,
            "zeroes take no room then, and looking for them costs other writes nothing measurable",
        )
    return DetectZeroes.OFF, "there is no room to save"


def _iothread(disk: DiskSpec) -> tuple[str | None, str]:
    if disk.iothread is None:
        return None, "the main thread, which moves and copies disks too; one of its own measured no faster"
    why = f"the entry of {disk.vdev} says so"
    match disk.iothread:
        case IoThread.NONE:
            return None, why
        case IoThread.SHARED:
            return SHARED_THREAD, why
        case IoThread.OWN:
            return f"{SHARED_THREAD}-{disk.vdev}", why


def _queues(disk: DiskSpec, vcpus: int) -> tuple[int, str]:
    if disk.queues is not None:
        return disk.queues, f"the entry of {disk.vdev} says so"
    most = f", up to {PLANNED_QUEUES}" if vcpus > PLANNED_QUEUES else ""
    return min(vcpus, PLANNED_QUEUES), f"one for each CPU that the guest may have{most}"


def iothreads(engines: Iterator[DiskEngine]) -> tuple[str, ...]:
    """The threads that are to be made, each once, in the order of the disks."""
    return tuple(dict.fromkeys(each.iothread for each in engines if each.iothread is not None))

"""How a disk is served, by where it lies; whatever is wished for, a guest starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.engine import Aio, CacheMode, DetectZeroes, IoThread
from wirt.model.errors import ConfigError
from wirt.model.storage import Volume
from wirt.plan.engine import DEVICE, UNKNOWN, DiskEngine, Engines, Medium, iothreads, plan_engine

ALL = Engines()
NO_RINGS = Engines(missing=((Aio.IO_URING, "this host forbids it"),))
DISK = DiskSpec(vdev="xvda", target="/a")
EXT4 = Medium("ext4")
SPARSE = Medium("ext4", sparse=True)
TMPFS = Medium("tmpfs", "tmpfs keeps it in memory anyway")
NFS = Medium("nfs4")
RAW, QCOW2 = DiskFormat.RAW, DiskFormat.QCOW2
G = 1 << 30


def volume(format_: DiskFormat, allocated: int, backing: str | None = None, path: str = "/a") -> Volume:
    return Volume("p", "v", format_, G, allocated, path, backing)


LIES_ON = [
    ("a partition", RAW, DEVICE, volume(RAW, G), "none native unmap off"),
    ("a thick logical volume", RAW, DEVICE, volume(RAW, G), "none native unmap off"),
    ("a thin logical volume", RAW, DEVICE, volume(RAW, 5), "none native unmap unmap"),
    ("a file that is laid out whole", RAW, EXT4, volume(RAW, G), "none native ignore off"),
    ("a file with holes", RAW, SPARSE, volume(RAW, 5), "none native unmap unmap"),
    ("a file that is no volume", RAW, EXT4, None, "none native ignore off"),
    ("a qcow2 image", QCOW2, EXT4, volume(QCOW2, 5), "none native unmap unmap"),
    ("a qcow2 image that is laid out whole", QCOW2, EXT4, volume(QCOW2, G + 9), "none native ignore off"),
    ("a linked clone", QCOW2, EXT4, volume(QCOW2, G + 9, "base"), "none native unmap unmap"),
    ("a raw file on a server", RAW, NFS, volume(RAW, G), "none threads ignore off"),
    ("memory", QCOW2, TMPFS, volume(QCOW2, 5), "writeback threads unmap unmap"),
    ("nobody knows", RAW, UNKNOWN, None, "writeback threads unmap off"),
]


@pytest.mark.parametrize(
    ("format_", "medium", "of", "expected"), [each[1:] for each in LIES_ON], ids=[each[0] for each in LIES_ON]
)
def test_where_a_disk_lies_says_how_it_is_served(
    format_: DiskFormat, medium: Medium, of: Volume | None, expected: str
) -> None:
    assert words(plan_engine(DISK, format_, medium, ALL, volume=of)) == expected


def words(made: DiskEngine) -> str:
    return f"{made.cache} {made.aio} {'unmap' if made.discard else 'ignore'} {made.detect_zeroes}"


def test_what_an_entry_says_is_done_where_it_can_be() -> None:
    wish = replace(
        DISK,
        cache=CacheMode.DIRECTSYNC,
        aio=Aio.IO_URING,
        detect_zeroes=DetectZeroes.ON,
        iothread=IoThread.OWN,
        queues=3,
        discard=False,
        discard_given=True,
    )
    made = plan_engine(wish, RAW, EXT4, ALL, vcpus=2)
    assert words(made) == "directsync io_uring ignore on"
    assert (made.iothread, made.queues) == ("iothread-xvda", 3)
    assert set(made.reasons.values()) == {"the entry of xvda says so"}


def test_a_wish_that_the_host_can_not_fulfil_is_answered_with_the_next_best_and_why() -> None:
    rings = plan_engine(replace(DISK, aio=Aio.IO_URING), RAW, EXT4, NO_RINGS)
    assert rings.aio is Aio.THREADS
    assert "this host forbids it" in rings.reasons["aio"]
    direct = plan_engine(replace(DISK, cache=CacheMode.NONE, aio=Aio.NATIVE), RAW, TMPFS, ALL)
    assert words(direct).startswith("writeback threads")
    assert "memory anyway" in direct.reasons["cache"]
    assert "needs direct access" in direct.reasons["aio"]


def test_nobody_is_given_the_last_requests_of_the_kernel() -> None:
    """Each process reserves 1024 of fs.aio-max-nr, and one that finds none left does not start."""
    few = Engines(native_requests=1024 * 15)
    assert plan_engine(DISK, RAW, DEVICE, few).aio is Aio.THREADS
    asked = plan_engine(replace(DISK, aio=Aio.NATIVE), RAW, DEVICE, few)
    assert asked.aio is Aio.THREADS
    assert "fs.aio-max-nr" in asked.reasons["aio"]


def test_nothing_passes_by_the_jails_filter_of_system_calls_unasked() -> None:
    for _, format_, medium, of, _ in LIES_ON:
        assert plan_engine(DISK, format_, medium, ALL, volume=of).aio is not Aio.IO_URING


def test_a_drive_alone_opens_no_io_uring_to_its_qemu() -> None:
    drive = replace(DISK, vdev="hdc", cdrom=True, writable=False)
    for medium in (EXT4, SPARSE, TMPFS):
        assert plan_engine(drive, RAW, medium, ALL, paravirtual=False).aio is Aio.THREADS


def test_an_emulated_disk_has_no_queues_and_no_thread_to_choose() -> None:
    made = plan_engine(replace(DISK, vdev="hda"), RAW, EXT4, ALL, vcpus=4, paravirtual=False)
    assert (made.queues, made.iothread) == (0, None)
    for wish in (replace(DISK, vdev="hda", queues=2), replace(DISK, vdev="hda", iothread=IoThread.SHARED)):
        with pytest.raises(ConfigError, match="paravirtual") as error:
            plan_engine(wish, RAW, EXT4, ALL, paravirtual=False)
        assert "xvda" in (error.value.hint or "")


def test_disks_that_share_a_thread_make_it_once() -> None:
    made = [
        plan_engine(replace(DISK, vdev=vdev, iothread=thread), RAW, EXT4, ALL)
        for vdev, thread in (("xvda", IoThread.SHARED), ("xvdb", IoThread.OWN), ("xvdc", IoThread.SHARED))
    ]
    assert iothreads(iter(made)) == ("iothread", "iothread-xvdb")


optional = st.none()
disks = st.builds(
    DiskSpec,
    vdev=st.just("xvda"),
    target=st.just("/a"),
    writable=st.booleans(),
    cdrom=st.booleans(),
    discard=st.booleans(),
    discard_given=st.booleans(),
    cache=optional | st.sampled_from(CacheMode),
    aio=optional | st.sampled_from(Aio),
    detect_zeroes=optional | st.sampled_from(DetectZeroes),
    iothread=optional | st.sampled_from(IoThread),
    queues=optional | st.integers(1, 64),
)
media = st.builds(
    Medium, st.sampled_from([None, "ext4", "xfs", "nfs4", "fuse.x"]), optional | st.just("no"), st.booleans()
)
engines = st.builds(
    Engines,
    st.sets(st.sampled_from([Aio.IO_URING, Aio.NATIVE])).map(lambda gone: tuple((each, "no") for each in gone)),
    st.integers(0, 65536),
)


@given(disks, st.sampled_from([RAW, QCOW2]), media, engines, st.integers(1, 255))
def test_no_plan_is_one_that_qemu_refuses(
    disk: DiskSpec, format_: DiskFormat, medium: Medium, able: Engines, vcpus: int
) -> None:
    made = plan_engine(disk, format_, medium, able, vcpus=vcpus)
    assert not made.cache.direct or medium.direct is None
    assert made.aio is not Aio.NATIVE or made.cache.direct
    assert made.aio is Aio.THREADS or able.why_not(made.aio) is None
    assert made.detect_zeroes is not DetectZeroes.UNMAP or made.discard
    assert 1 <= made.queues <= 64
    assert all(made.reasons.values())


@given(disks, media, media, engines, engines, st.integers(1, 255))
def test_a_guest_sees_the_same_device_wherever_it_runs(
    disk: DiskSpec, here: Medium, there: Medium, able: Engines, unable: Engines, vcpus: int
) -> None:
    one = plan_engine(disk, RAW, here, able, vcpus=vcpus)
    other = plan_engine(disk, QCOW2, there, unable, vcpus=vcpus)
    assert (one.queues, one.cache.lasting) == (other.queues, other.cache.lasting)
    assert one.iothread == other.iothread

"""Disks and rates mean what libxlutil says they mean. The differences are listed in
``test_against_libxlutil.py``; those that concern devices have their tests here."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wirt.config.xlcfg.disk import parse_disk
from wirt.config.xlcfg.rate import parse_rate
from wirt.config.xlcfg.spec import SpecError
from wirt.config.xlcfg.vdev import parse_vdev

from . import samples
from .libxlutil import Oracle

CWD = PurePosixPath("/cwd")

TARGETS = ["/dev/vg/a", "/i.iso", "", "rel.img", "/a b", "iscsi:x", "a:b", "x:/y", "/é", "/d:e"]
POSITIONS = st.lists(
    st.sampled_from(
        [
            *TARGETS,
            "raw",
            "qcow2",
            "vhd",
            "empty",
            "qed",
            "xvda",
            "hdc",
            "sdb1",
            "51712",
            "d1p2",
            "hdc:cdrom",
            "xvdb:disk",
            "hda:tape",
            "r",
            "w",
            "ro",
            "rw",
            "",
            "",
            " ",
            "cdrom",
            "junk",
            "cdrom ",
            "vda",
        ]
    ),
    max_size=5,
)
ANY = samples.words(
    """
    format=raw format=qcow2 format= format=x vdev=xvda vdev= vdev=hdc access=z devtype= backendtype=phy
    backendtype=nbd backend= specification=y specification=xen foo=b bar=baz target=x
    """
)
HARMLESS = samples.words(
    """
    access=r access=rw access= devtype=cdrom devtype=disk backendtype=qdisk backend=dom1 script=block-x
    direct-io-safe discard no-discard colo no-colo cdrom colo-host=h colo-port=9 colo-export=e active-disk=a
    hidden-disk=b specification=virtio
    """
)
NAMED = st.one_of(
    st.lists(st.sampled_from(HARMLESS), max_size=4, unique=True),
    st.lists(st.sampled_from(ANY + HARMLESS), max_size=3),
)
PREFIXES = st.lists(
    st.sampled_from(["phy:", "file:", "tap:", "tap2:", "aio:", "raw:", "qcow2:", "vhd:", "nbd:", "drbd:", "foo:"]),
    max_size=2,
)
DISKS = st.builds(
    lambda prefixes, before, positions, after, target, gap: (
        "".join(prefixes) + ("," + gap).join([*before, *positions, *after, *target])
    ),
    st.one_of(st.just([]), st.just([]), PREFIXES),
    st.one_of(st.just([]), st.just([]), NAMED),
    st.one_of(
        st.tuples(
            st.sampled_from(["/dev/vg/a", "/i.iso", "rel.img"]),
            st.sampled_from(["", "raw", "qcow2"]),
            st.sampled_from(["xvda", "hdc", "sdb1"]),
        ).map(list),
        POSITIONS,
    ),
    NAMED,
    st.one_of(st.just([]), st.just([]), st.sampled_from(TARGETS).map(lambda path: [f"target={path},b=c"])),
    st.sampled_from(["", "", " "]),
)


def refused_only_here(theirs: dict[str, object]) -> bool:
    """The deliberate differences, judged by what libxlutil made of the disk."""
    if parse_vdev(str(theirs.get("vdev", ""))) is None:
        return True
    empty = not theirs.get("pdev_path")
    cdrom = bool(theirs.get("is_cdrom"))
    return (theirs.get("format") == "empty") is not empty or (empty and not cdrom)


@settings(max_examples=700, deadline=None)
@example("/dev/vg/guest-volume,,hda")
@example("format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume")
@example("raw:/root/image.iso,hdc:cdrom,ro")
@example(",hdc:cdrom,r")
@example("/root/image.iso,,hdc,,cdrom")
@example(",,hdc,cdrom,target=")
@example("/a,raw,xvda,,")
@example("/a,raw,xvda,, ")
@given(DISKS)
def test_disks_mean_the_same(oracle: Oracle, spec: str) -> None:
    theirs = oracle.disk(spec)
    try:
        mine = parse_disk(spec, CWD).disk
    except SpecError as error:
        assert 0 <= error.offset <= len(spec)
        assert theirs is None or refused_only_here(theirs)
        return
    assert theirs is not None
    target = theirs.get("pdev_path") or None
    if target and not target.startswith("/") and not theirs.get("script"):
        target = f"/dev/{target}" if (mine.target or "").startswith("/dev/") else f"/cwd/{target}"
    assert (mine.target, mine.vdev, mine.format) == (target, theirs["vdev"], theirs.get("format"))
    assert mine.writable == bool(theirs.get("readwrite"))
    assert mine.cdrom == bool(theirs.get("is_cdrom"))
    assert mine.removable == bool(theirs.get("removable"))
    assert mine.backend_type == theirs.get("backend")
    assert mine.backend == (theirs.get("backend_domname") or "0")
    assert mine.script == (theirs.get("script") or None)
    assert mine.direct_io_safe == bool(theirs.get("direct_io_safe"))
    assert mine.discard == (theirs.get("discard_enable", "True") == "True")
    assert mine.specification == theirs.get("specification")
    colo = dict(mine.colo)
    assert colo.get("colo") == {"True": "1", "False": "0"}.get(str(theirs.get("colo_enable")))
    assert int(colo.get("colo-port", "0")) == theirs.get("colo_port", 0)


@pytest.mark.parametrize(
    "spec",
    [
        "/a,raw,nonsense",
        "vdev=,/a",
        ",raw,xvda",
        "/a,empty,xvda",
        "/a,empty,hdc,cdrom",
        "/a,raw,xvda,colo-port=1x",
    ],
)
def test_difference_disks_that_xl_would_refuse_later_are_refused_at_once(oracle: Oracle, spec: str) -> None:
    assert oracle.disk(spec) is not None
    with pytest.raises(SpecError):
        parse_disk(spec, CWD)


@pytest.mark.parametrize("part", ["untrusted", "grant_usage=1", "transport=mmio"])
def test_difference_disk_parameters_newer_than_4_17_are_read(oracle: Oracle, part: str) -> None:
    spec = f"/a,raw,xvda,w,{part}"
    assert oracle.disk(spec) is None
    assert parse_disk(spec, CWD).disk.vdev == "xvda"


RATES = st.from_regex(r"[0-9]{1,11}[GMK]?[Bb]/s(@[0-9]{1,8}([mu]?s?|x))?|[0-9@KMb/s]{0,8}", fullmatch=True)


@settings(max_examples=300, deadline=None)
@example("10Mb/s")
@example("1000000GB/s")
@example("1MB/s@20ms")
@example("1MB/s@20")
@example("010KB/s@0x")
@example("1KB/s@5000s")
@given(RATES)
def test_rates_mean_the_same(oracle: Oracle, text: str) -> None:
    theirs = oracle.rate(text)
    try:
        mine = parse_rate(text, 0)
    except SpecError as error:
        trifling = theirs is not None and theirs.get("rate_bytes_per_interval", 0) == 0
        not_octal = any(number[:1] == "0" and set(number) & set("89") for number in split_numbers(text))
        assert theirs is None or trifling or not_octal, error.message
        return
    assert theirs is not None
    per_interval = mine.bytes_per_s * mine.interval_us // 1_000_000
    assert per_interval == theirs.get("rate_bytes_per_interval", 0)
    assert mine.interval_us == theirs.get("rate_interval_usecs", 0)


def split_numbers(text: str) -> list[str]:
    return "".join(each if each.isdigit() else " " for each in text).split()


def test_difference_rates_that_come_to_nothing_or_are_cut_short_are_refused(oracle: Oracle) -> None:
    for text in ("7b/s", "018KB/s"):
        assert oracle.rate(text) is not None
        with pytest.raises(SpecError):
            parse_rate(text, 0)

"""Limits in a disk's entry: what they mean, what can't be, and that a changed entry is otherwise the same."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config.xlcfg import load, with_qos, with_volumes
from wirt.config.xlcfg.diskqos import read_words, with_words, words_of
from wirt.model.diskqos import UNLIMITED, DiskQos, Limit, Measure, in_force
from wirt.model.errors import BadInput, ConfigError

ROOT = PurePosixPath("/")


def disk_of(*entries: str) -> str:
    return (
        'name = "web"\nkernel = "/k"\ntype = "pvh"\ndisk = [ '
        + ", ".join(f'"{each}"' for each in entries)
        + " ]\n"
    )


def limits_of(text: str) -> dict[str, DiskQos]:
    return {disk.vdev: disk.qos for disk in load(text, file="web", cwd=ROOT).config.disks}


def test_an_entry_may_limit_its_disk() -> None:
    found = limits_of(disk_of("/a.img,raw,xvda,rw,iops=100,iops-burst=500,burst-seconds=10,bps-write=10M"))
    assert found["xvda"] == DiskQos((Limit(Measure.IOPS, 100, 500), Limit(Measure.BPS_WRITE, 10 * 1024**2)), 10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("iops=0x", "iops is a number from 1 to 1000000000"),
        ("iops=10K", "as in 100"),
        ("bps=1K", "bps is from 4096 to 100000000000, not 1024"),
        ("iops=2000000000", "iops is from 1 to 1000000000"),
        ("iops=100,iops-burst=100", "from 101 to"),
        ("iops-burst=100", "iops-burst needs iops"),
        ("iops=100,iops-read=50", "both directions"),
        ("iops=100,burst-seconds=0", "burst-seconds is from 1 to 3600"),
        ("qos-group=a b", "no name of a group"),
    ],
)
def test_what_can_not_be_is_refused_with_what_can(words: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        limits_of(disk_of(f"/a.img,raw,xvda,rw,{words}"))
    assert said in f"{caught.value} {caught.value.hint}"
    assert caught.value.key == "disk"


def test_a_cdrom_has_no_limits() -> None:
    with pytest.raises(ConfigError, match="a cdrom has no limits"):
        limits_of(disk_of("/a.iso,raw,hdc,cdrom,iops=100"))


def test_disks_of_a_group_share_what_one_of_them_names() -> None:
    qos = read_words({"iops": "100", "qos-group": "data"})
    shared = in_force([("xvda", qos), ("xvdb", DiskQos(group="data")), ("xvdc", UNLIMITED)])
    assert shared == {"xvda": qos, "xvdb": qos, "xvdc": UNLIMITED}
    with pytest.raises(ConfigError, match="different limits"):
        limits_of(disk_of("/a,raw,xvda,w,iops=1,qos-group=g", "/b,raw,xvdb,w,iops=2,qos-group=g"))


numbers = st.integers(min_value=4096, max_value=10**8)


@st.composite
def any_limits(draw: st.DrawFn) -> DiskQos:
    measures = draw(st.sets(st.sampled_from(list(Measure))))
    measures = {each for each in measures if each is each.both or each.both not in measures}
    limits = []
    for measure in Measure:
        if measure in measures:
            per_s = draw(numbers)
            limits.append(Limit(measure, per_s, draw(st.none() | st.integers(per_s + 1, per_s + 10**8))))
    group = draw(st.none() | st.from_regex("[A-Za-z0-9_-]{1,32}", fullmatch=True))
    return DiskQos(tuple(limits), draw(st.integers(1, 3600)), group)


@given(any_limits())
def test_words_say_all_of_the_limits(qos: DiskQos) -> None:
    assert read_words(words_of(qos)) == qos


ENTRIES = (
    "/a.img,raw,xvda,rw",
    "vdev=xvda,access=ro,target=/with,comma=and.img",
    "phy:/dev/vg/a,xvda,w",
    "/a.img,qcow2,xvda,rw,iops=7,qos-group=old,cache=none,burst-seconds=9",
    "qcow2:/a.img,xvda,rw",
)


@given(st.sampled_from(ENTRIES), any_limits())
def test_other_limits_leave_all_else_of_an_entry_as_it_was(entry: str, qos: DiskQos) -> None:
    text = disk_of(entry)
    changed = with_qos(text, "xvda", qos)
    assert limits_of(changed) == {"xvda": qos}
    bare = load(with_qos(changed, "xvda", UNLIMITED), file="web", cwd=ROOT).config
    assert bare == load(with_qos(text, "xvda", UNLIMITED), file="web", cwd=ROOT).config


def test_a_volume_in_its_place_keeps_the_limits() -> None:
    text = disk_of("pool:default/a,,xvda,rw,iops=100")
    assert limits_of(with_volumes(text, {"xvda": "pool:default/b"})) == limits_of(text)


def test_zero_takes_a_limit_away_with_its_burst() -> None:
    qos = read_words({"iops": "100", "iops-burst": "200", "bps": "1M"})
    assert with_words(qos, {"iops": "0"}) == read_words({"bps": "1M"})
    assert with_words(qos, {"iops-burst": "0"}) == read_words({"iops": "100", "bps": "1M"})
    with pytest.raises(BadInput, match="no limit of a disk"):
        with_words(qos, {"iopz": "1"})

"""What a saved guest's file says, and whether it is believed."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config.xlcfg import load
from wirt.model.errors import CorruptState
from wirt.model.saved import SavedDisk, SavedGuest
from wirt.plan.launch import LaunchPlan, plan_launch
from wirt.plan.saved import (
    differences,
    hardware,
    read_disks,
    read_guest,
    write_disks,
    write_guest,
    written_since,
)

from .test_launch import HOST, QEMU

UUID_1 = UUID(int=1)
TEXT = 'name = "web"\ntype = "pvh"\nkernel = "/k"\nmemory = 128\ndisk = ["/d,raw,xvda,rw"]\nvif = [""]\n'
words = st.text(max_size=50)
numbers = st.integers(0, 1 << 61)
guests = st.builds(
    SavedGuest,
    id=words,
    uuid=st.uuids(),
    name=words,
    text=words,
    persistent=st.booleans(),
    epoch=numbers,
    domid=numbers,
    created_at=st.floats(0, 1 << 39),
    host=words,
    hypervisor=words,
    version=st.tuples(numbers, numbers, numbers),
    memory_mib=numbers,
    padding_kib=numbers,
    hardware=st.dictionaries(words, words, max_size=5).map(lambda each: tuple(each.items())),
    paused=st.booleans(),
    vcpus=st.none() | numbers,
)
disks = st.builds(
    SavedDisk,
    vdev=words,
    target=words,
    size=numbers,
    writable=st.booleans(),
    stamps=st.none() | st.lists(words, max_size=3).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@given(guests, st.lists(disks, max_size=4).map(tuple))
def test_what_is_written_is_read(guest: SavedGuest, each: tuple[SavedDisk, ...]) -> None:
    assert read_guest(write_guest(guest), "it") == guest
    assert read_disks(write_disks(each), "it") == each


@given(guests, st.data())
def test_whatever_stands_in_a_field_is_refused_or_of_its_kind(guest: SavedGuest, data: st.DataObject) -> None:
    values = json.loads(write_guest(guest))
    values[data.draw(st.sampled_from(sorted(values)))] = data.draw(json_values)
    with contextlib.suppress(CorruptState):
        read = read_guest(json.dumps(values).encode(), "it")
        assert write_guest(read)
        assert isinstance(read.text, str)


@given(st.binary(max_size=200) | json_values.map(lambda each: json.dumps(each).encode()))
def test_anything_else_is_refused(data: bytes) -> None:
    for read in (read_guest, read_disks):
        with pytest.raises(CorruptState, match="it"):
            read(data, "it")


def test_what_can_t_be_written_anywhere_is_no_word() -> None:
    values = {**json.loads(write_guest(saved_as(plan()))), "host": "\ud800"}
    with pytest.raises(CorruptState, match="surrogates"):
        read_guest(json.dumps(values).encode(), "it")


def plan(text: str = TEXT) -> LaunchPlan:
    return plan_launch(load(text, file="web.cfg", cwd=PurePosixPath("/")).config, UUID_1, 1, HOST, QEMU)


def saved_as(made: LaunchPlan) -> SavedGuest:
    known = SavedGuest("1", UUID_1, "web", TEXT, True, 1, 1, 0.0, "here", "qemu", (10, 0, 0), 128, 0, (), False)
    return replace(known, hardware=hardware(made))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT, ()),
        (TEXT.replace("/d,", "/elsewhere,").replace('"/k"', '"/other"').replace('[""]', '["bridge=br7"]'), ()),
        (TEXT.replace("128", "256"), ("memory was 128 MiB and is 256 MiB",)),
        (TEXT + "vcpus = 2\n", ("CPUs was 1 of 1 and is 2 of 2",)),
        (TEXT.replace(",rw", ",ro"), ("disk xvda was virtio disk at",)),
        (TEXT.replace("xvda", "xvdb"), ("disk xvda was", "disk xvdb was not there")),
        (TEXT.replace('""', '"mac=00:16:3e:01:02:03"'), ("vif 0 was",)),
    ],
)
def test_other_paths_are_no_other_machine_and_other_devices_are(text: str, told: tuple[str, ...]) -> None:
    found = differences(saved_as(plan()), plan(text))
    assert len(found) == len(told)
    assert all(each in phrase for each, phrase in zip(told, found, strict=True)), found


def test_a_disk_is_as_it_was_only_if_all_that_it_stands_on_is() -> None:
    disk = SavedDisk("xvda", "default/web", 1, True, ("top", "below"))
    assert written_since([disk], {"xvda": ("top", "below")}) == ()
    for now in (("top", "other"), ("top",), ("top", "below", "more")):
        assert written_since([disk], {"xvda": now}) == ("xvda (default/web) was written since",)
    for each, now_ in ((disk, None), (replace(disk, stamps=None), ("top", "below"))):
        [phrase] = written_since([each], {"xvda": now_})
        assert "can't be told" in phrase
    assert "can't be told" in written_since([disk], {})[0]

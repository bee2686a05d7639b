"""Which backups stay, and how a disk is cut up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.model.errors import CorruptState, WirtError
from wirt.plan import backup_manifest
from wirt.plan.backup import (
    BLOCK,
    CHUNK,
    HASH_BYTES,
    MOST_LAYERS,
    Backup,
    Consistency,
    DiskBackup,
    Keep,
    Kind,
    blocks_of,
    chunks_of,
    mask_length,
    masks,
    places,
    read_index,
    runs,
    superfluous,
    without_zeroes,
    write_index,
)

UUIDS = ("11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-666666666666")
DISK = DiskBackup("xvda", 9 * CHUNK, "qcow2", Kind.FULL, "ab" * 32, 5, 4, 3)
BACKUP = Backup("web-1", "web", UUIDS[0], "here", 1.5, "qemu 10", "running", 'name = "web"\n', None, "", (DISK,))

counts = st.integers(0, 6)
keeps = st.builds(Keep, last=counts, daily=counts, weekly=counts, monthly=counts)
times = st.lists(
    st.tuples(st.sampled_from(UUIDS), st.floats(0, 400 * 86400.0)), max_size=40, unique_by=lambda each: each[1]
)


def backups(made: list[tuple[str, float]]) -> list[Backup]:
    return [replace(BACKUP, id=f"b{number}", uuid=uuid, created_at=at) for number, (uuid, at) in enumerate(made)]


@given(times, keeps)
def test_the_newest_of_each_domain_and_what_the_policy_names_stay(
    made: list[tuple[str, float]], keep: Keep
) -> None:
    known = backups(made)
    gone = superfluous(known, keep)
    kept = [each for each in known if each not in gone]
    for uuid in {each.uuid for each in known}:
        mine = sorted((each for each in known if each.uuid == uuid), key=lambda each: -each.created_at)
        assert mine[0] in kept
        assert all(each in kept for each in mine[: keep.last])
        for count, form in ((keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")):
            periods = list(dict.fromkeys(_period(each, form) for each in mine))[:count]
            for period in periods:
                newest = next(each for each in mine if _period(each, form) == period)
                assert newest in kept
        if keep:
            most = max(1, keep.last) + keep.daily + keep.weekly + keep.monthly
            assert len([each for each in kept if each.uuid == uuid]) <= most
    assert list(gone) == sorted(gone, key=lambda each: (each.created_at, each.id))


@given(times, keeps)
def test_pruning_again_finds_nothing_and_a_wider_policy_keeps_no_less(
    made: list[tuple[str, float]], keep: Keep
) -> None:
    known = backups(made)
    gone = set(superfluous(known, keep))
    assert superfluous([each for each in known if each not in gone], keep) == ()
    wider = replace(keep, last=keep.last + 1)
    assert set(superfluous(known, wider)) <= gone or not keep


@given(times)
def test_without_a_policy_all_stay(made: list[tuple[str, float]]) -> None:
    assert superfluous(backups(made), Keep()) == ()


def _period(backup: Backup, form: str) -> str:
    return datetime.fromtimestamp(backup.created_at, UTC).strftime(form)


sizes = st.integers(1, 3 * CHUNK + 5)
extents = st.lists(st.tuples(st.integers(0, 3 * CHUNK), st.integers(1, CHUNK)), max_size=6)


@given(sizes, extents)
def test_masks_cover_what_they_are_made_of_and_nothing_else(size: int, wild: list[tuple[int, int]]) -> None:
    ordered, end = [], 0
    for offset, length in sorted(wild):
        if offset >= end and offset < size:
            ordered.append((offset, length))
            end = offset + length
    found = list(masks(ordered, size))
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    blocks = {number * 64 + place for number, mask in found for place in range(64) if mask >> place & 1}
    wanted = {
        block
        for offset, length in ordered
        for block in range(offset // BLOCK, -(-min(offset + length, size) // BLOCK))
    }
    assert blocks == wanted


@given(st.integers(1, CHUNK), st.integers(0, (1 << 64) - 1))
def test_runs_and_places_are_the_same_bytes(length: int, wild: int) -> None:
    mask = wild & ((1 << blocks_of(length)) - 1)
    one = [byte // 512 for offset, part in places(mask, length) for byte in (offset, offset + part)]
    assert sum(part for _, part in places(mask, length)) == mask_length(mask, length)
    assert sum(part for _, part in runs(mask, length)) == mask_length(mask, length)
    assert not one or max(one) <= length // 512
    content = bytes(mask_length(mask, length))
    assert without_zeroes(mask, content, length) == (0, b"")


layers = st.lists(st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES), max_size=MOST_LAYERS).map(tuple)


@given(st.lists(layers, min_size=1, max_size=20))
def test_an_index_is_read_as_it_was_written(index: list[tuple[bytes, ...]]) -> None:
    size = len(index) * CHUNK
    data = write_index(index)
    assert read_index(data, size) == tuple(index)
    for other in (data[:-1], data + b"\0"):
        with pytest.raises(CorruptState):
            read_index(other, size)
    assert chunks_of(size) == len(index)


@given(st.binary(max_size=200))
def test_what_is_no_index_is_an_error_of_ours(data: bytes) -> None:
    try:
        read_index(data, 3 * CHUNK)
    except CorruptState:
        return


@pytest.mark.parametrize("consistency", [None, *Consistency])
def test_a_manifest_is_read_as_it_was_written(consistency: Consistency | None) -> None:
    backup = replace(BACKUP, consistency=consistency)
    assert backup_manifest.read(backup_manifest.write(backup), "it") == backup


def test_a_manifest_of_the_first_version_is_read_and_one_of_a_later_is_not() -> None:
    def of_version(number: object) -> bytes:
        body = json.loads(backup_manifest.write(BACKUP)) | {"version": number}
        del body["sha256"]
        if number == 1:
            del body["consistency"]
        return json.dumps({**body, "sha256": backup_manifest._sum(body)}).encode()

    assert backup_manifest.read(of_version(1), "it") == BACKUP
    for number in (3, 0, True, "2", None):
        with pytest.raises(CorruptState, match="is of version"):
            backup_manifest.read(of_version(number), "it")


def test_a_consistency_that_there_is_not_is_an_error_of_ours() -> None:
    words: tuple[object, ...] = ("good", 1, [], {})
    for word in words:
        body = json.loads(backup_manifest.write(BACKUP)) | {"consistency": word}
        del body["sha256"]
        with pytest.raises(CorruptState, match="can't be understood"):
            backup_manifest.read(json.dumps({**body, "sha256": backup_manifest._sum(body)}).encode(), "it")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: st.lists(x) | st.dictionaries(st.text(max_size=5), x),
        max_leaves=8,
    )
)
def test_a_wrong_value_anywhere_in_a_manifest_is_an_error_of_ours(value: object) -> None:
    for name in ("id", "uuid", "disks", "created_at", "parent", "config"):
        body = json.loads(backup_manifest.write(BACKUP))
        body[name] = value
        del body["sha256"]
        body["sha256"] = backup_manifest._sum(body)
        try:
            backup_manifest.read(json.dumps(body).encode(), "it")
        except WirtError:
            continue


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 200, "a\nb"])
def test_a_manifest_names_no_path(name: str) -> None:
    with pytest.raises(CorruptState):
        backup_manifest.read(backup_manifest.write(replace(BACKUP, id=name)), "it")

"""Exports of XenServer that are compressed are read as if they were not, and what unpacks without end is not."""

from __future__ import annotations

import gzip
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from wirt.model.appliance import ApplianceKind
from wirt.model.errors import BadInput, WirtError
from wirt.storage.appliances import unpacking
from wirt.storage.appliances.host import HostAppliances

from .appliance_rig import CONTENT, Rig, an_ova, opened
from .archives import MIB, chunks, tar, xva, xva_description

Pack = Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


def in_parts(pack: Pack) -> Pack:
    """Several of them after one another are one file (RFC 1952, 2.2; RFC 8878, 3.1)."""
    return lambda data: b"".join(pack(data[at : at + MIB]) for at in range(0, len(data), MIB))


def quick(data: bytes) -> bytes:
    return gzip.compress(data, 1)


PACKS = [quick, zstd, in_parts(quick), in_parts(zstd)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    import os

    made = Rig(tmp_path, HostAppliances())
    yield made
    for fd in made.fds:
        os.close(fd)


@pytest.mark.parametrize("pack", PACKS)
async def test_a_compressed_export_holds_what_it_would_otherwise(rig: Rig, pack: Pack) -> None:
    second = random.Random(2).randbytes(2 * MIB + 512)
    data = xva({"Ref:7": CONTENT, "Ref:9": second}, new=True)
    plain_, found = await rig.look(data, "shop.xva"), await rig.look(pack(data), "packed.xva")
    assert found.appliance.kind is ApplianceKind.XVA
    assert found.appliance == plain_.appliance
    assert await rig.poured(found, 0) == CONTENT
    assert await rig.poured(found, 1) == second


def test_its_disks_can_be_read_in_any_order_but_not_for_ever(rig: Rig) -> None:
    disk = opened(rig, quick(xva({"Ref:7": CONTENT}, new=False)), "shop.xva").disks[0]
    assert disk is not None
    for offset in range(len(CONTENT) - MIB, -1, -MIB):
        assert disk.read(offset, MIB) == CONTENT[offset : offset + MIB]
    large = random.Random(3).randbytes(256) * 4096 * (unpacking.KEPT + 8)
    disk = opened(rig, zstd(xva({"Ref:7": large}, new=True)), "large.xva").disks[0]
    assert disk is not None
    with pytest.raises(BadInput, match="to and fro"):
        for _ in range(unpacking.MOST_PASSES):
            for offset in (len(large) - MIB, 0):
                for at in range(unpacking.KEPT):
                    disk.read((offset + at * MIB) % len(large), MIB)


@pytest.mark.parametrize("pack", PACKS[:2])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_one_that_is_cut_off_is_refused(rig: Rig, pack: Pack, share: float) -> None:
    data = pack(xva({"Ref:7": CONTENT}, new=True))
    with pytest.raises(BadInput):
        contents = opened(rig, data[: 8 + int(len(data) * share)][: len(data) - 8], "cut.xva")
        disk = contents.disks[0]
        assert disk is not None
        disk.read(0, disk.size)


@pytest.mark.parametrize("pack", PACKS[:2])
def test_damage_anywhere_is_no_other_error_than_ours(rig: Rig, pack: Pack) -> None:
    data, dice = bytearray(pack(xva({"Ref:7": CONTENT[: 2 * MIB]}, new=True))), random.Random(4)
    for _ in range(60):
        at = dice.randrange(len(data))
        before, data[at] = data[at], dice.randrange(256)
        try:
            for disk in opened(rig, bytes(data), "bad.xva").disks:
                if disk is not None:
                    disk.read(0, min(disk.size, 8 * MIB))
        except WirtError:
            pass
        data[at] = before


@pytest.mark.parametrize("pack", PACKS[:2])
async def test_what_unpacks_to_more_than_its_disks_can_hold_is_given_up_in_little_memory(
    rig: Rig, pack: Pack
) -> None:
    """A thousand times as much, or thirty thousand times."""
    small = bytes(2 * MIB)
    members = [("ova.xml", xva_description({"Ref:7": len(small)})), *chunks("Ref:7", small, new=True)]
    packed = pack(tar([*members, *((f"more{number}", bytes(12 * MIB)) for number in range(8))]))
    assert len(packed) < MIB
    with pytest.raises(BadInput, match="unpacks to more than"):
        await rig.look(packed, "bomb.xva")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput, match="unpacks to more than"):
        opened(rig, packed, "bomb.xva")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_description_that_is_a_bomb_is_not_unpacked(rig: Rig) -> None:
    for pack in PACKS[:2]:
        with pytest.raises(BadInput, match=r"a description has at most|unpacks to more than"):
            opened(rig, pack(tar([("ova.xml", b" " * (80 * MIB))])), "bomb.xva")


async def test_other_archives_that_are_compressed_are_to_be_unpacked_first(rig: Rig, tmp_path: Path) -> None:
    for pack, program in ((quick, "gzip"), (zstd, "zstd")):
        with pytest.raises(BadInput, match=f"packed with {program}") as caught:
            await rig.look(pack(tar(an_ova(tmp_path).items())), "web.ova")
        assert "unpack it first" in (caught.value.hint or "")
        with pytest.raises(BadInput, match=f"packed with {program}"):
            await rig.look(pack(CONTENT), "disk.img")

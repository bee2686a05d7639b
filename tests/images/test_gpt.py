"""The partition table."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from uuid import UUID

import pytest

from wirt.images import gpt

DISK = UUID(int=1)
SECTORS = 8192
BOOT = gpt.Partition(gpt.BIOS_BOOT, UUID(int=2), 34, 2014, "grub")
DATA = gpt.Partition(gpt.EFI_SYSTEM, UUID(int=3), 2048, 4096, "data")


def test_checksums_of_both_headers_hold() -> None:
    table = gpt.table(SECTORS, DISK, [BOOT, DATA])
    for header, entries in ((table.head[512:1024], table.head[1024:]), (table.tail[-512:], table.tail[:-512])):
        stored, stored_entries = struct.unpack_from("<I", header, 16)[0], struct.unpack_from("<I", header, 88)[0]
        zeroed = header[:16] + bytes(4) + header[20:92]
        assert stored == zlib.crc32(zeroed)
        assert stored_entries == zlib.crc32(entries)


def test_the_two_headers_point_at_each_other() -> None:
    table = gpt.table(SECTORS, DISK, [DATA])
    assert struct.unpack_from("<QQ", table.head, 512 + 24) == (1, SECTORS - 1)
    assert struct.unpack_from("<QQ", table.tail, len(table.tail) - 512 + 24) == (SECTORS - 1, 1)


def test_the_mbr_protects_the_whole_disk() -> None:
    mbr = gpt.table(SECTORS, DISK, [DATA]).head[:512]
    assert mbr[510:] == b"\x55\xaa"
    assert mbr[450] == 0xEE
    assert struct.unpack_from("<II", mbr, 454) == (1, SECTORS - 1)


@pytest.mark.parametrize(
    "partitions",
    [
        [BOOT, gpt.Partition(gpt.EFI_SYSTEM, DISK, 2047, 10, "over")],
        [gpt.Partition(gpt.EFI_SYSTEM, DISK, 33, 10, "in the table")],
        [gpt.Partition(gpt.EFI_SYSTEM, DISK, 2048, SECTORS - 2048 - 32, "past the end")],
        [gpt.Partition(gpt.EFI_SYSTEM, DISK, 2048, 0, "nothing")],
        [gpt.Partition(gpt.EFI_SYSTEM, DISK, 2048, 10, "n" * 37)],
        [BOOT] * 129,
    ],
)
def test_a_table_that_can_not_be_is_refused(partitions: list[gpt.Partition]) -> None:
    with pytest.raises(ValueError):
        gpt.table(SECTORS, DISK, partitions)


def test_sfdisk_reads_it_without_complaint(tmp_path: Path) -> None:
    program = shutil.which("sfdisk", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("needs sfdisk as an oracle: apt-get install fdisk")
    table = gpt.table(SECTORS, DISK, [BOOT, DATA])
    file = tmp_path / "disk"
    file.write_bytes(table.head + bytes(SECTORS * 512 - len(table.head) - len(table.tail)) + table.tail)
    verified = subprocess.run([program, "--verify", file], check=False, capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    dump = subprocess.run([program, "--dump", file], capture_output=True, text=True, check=True).stdout
    assert "start=          34, size=        2014" in dump
    assert 'name="data"' in dump

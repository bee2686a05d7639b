"""The archive that the kernel unpacks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from wirt.images import cpio

ENTRIES = [
    cpio.regular("bin/tool", b"#!x\n", 0o755),
    cpio.directory("bin"),
    cpio.directory("dev"),
    cpio.character_device("dev/console", 5, 1),
    cpio.symlink("bin/other", "tool"),
    cpio.regular("empty", b""),
]


def test_order_of_entries_does_not_change_the_archive() -> None:
    assert cpio.archive(ENTRIES) == cpio.archive(list(reversed(ENTRIES)))


def test_members_are_aligned_to_four_bytes_and_the_whole_to_a_sector() -> None:
    data = cpio.archive(ENTRIES)
    at = data.find(b"070701")
    while at != -1:
        assert at % 4 == 0
        at = data.find(b"070701", at + 6)
    assert len(data) % 512 == 0


def test_every_owner_and_time_is_zero() -> None:
    header = cpio.archive([cpio.regular("a", b"x")])[6:110].decode()
    fields = [int(header[i : i + 8], 16) for i in range(0, 104, 8)]
    inode, mode, uid, gid, links, mtime, size = fields[:7]
    assert (inode, mode, uid, gid, links, mtime, size) == (1, 0o100644, 0, 0, 1, 0, 1)


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        cpio.archive([cpio.directory("bin"), cpio.regular("bin", b"")])


def test_gnu_cpio_lists_what_was_put_in() -> None:
    program = shutil.which("cpio")
    if program is None:
        pytest.skip("needs cpio as an oracle: apt-get install cpio")
    listing = subprocess.run(
        [program, "-itv", "--numeric-uid-gid"], input=cpio.archive(ENTRIES), capture_output=True, check=True
    ).stdout.decode()
    lines = listing.splitlines()
    assert [line.split(" -> ")[0].split()[-1] for line in lines] == sorted(entry.name for entry in ENTRIES)
    assert next(line for line in lines if "console" in line).startswith("crw-------")


def test_busybox_unpacks_it_unchanged(tmp_path: Path) -> None:
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("needs busybox as an oracle: apt-get install busybox-static")
    plain = [entry for entry in ENTRIES if entry.name != "dev/console"]
    subprocess.run(
        [program, "cpio", "-id"], input=cpio.archive(plain), cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "bin/other").read_bytes() == b"#!x\n"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755

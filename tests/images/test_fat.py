"""The FAT file system that GRUB and UEFI read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from wirt.images import fat

SECTORS = 62 * 2048
FILES = {
    "VMLINUZ": bytes(range(256)) * 5000,
    "INITRD": b"i" * 4096,
    "EMPTY.TXT": b"",
    "EFI/BOOT/BOOTX64.EFI": b"efi" * 3000,
    "EFI/NOTE": b"n",
}


def made(files: dict[str, bytes] = FILES, sectors: int = SECTORS) -> bytes:
    return fat.file_system(files, sectors=sectors, hidden_sectors=2048, volume_id=0x12345678)


def tool(name: str, package: str) -> str:
    program = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip(f"needs {name} as an oracle: apt-get install {package}")
    return program


def test_same_content_gives_same_bytes_in_any_order() -> None:
    assert made() == made(dict(reversed(FILES.items())))
    assert len(made()) == SECTORS * 512


def test_mtools_reads_every_file_back(tmp_path: Path) -> None:
    program = tool("mcopy", "mtools")
    image = tmp_path / "fat"
    image.write_bytes(made())
    for path, content in FILES.items():
        out = subprocess.run([program, "-i", image, f"::{path}", "-"], capture_output=True, check=True).stdout
        assert out == content


def test_fsck_finds_nothing_wrong(tmp_path: Path) -> None:
    program = tool("fsck.vfat", "dosfstools")
    image = tmp_path / "fat"
    image.write_bytes(made())
    checked = subprocess.run([program, "-n", "-v", image], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["lower", "TOOLONGNAME", "A.LONG", "", "A/B/", "A B", "."])
def test_a_name_that_is_not_short_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"8\.3"):
        made({name: b""})


def test_a_file_in_the_place_of_a_directory_is_refused() -> None:
    with pytest.raises(ValueError, match="is a file"):
        made({"EFI": b"", "EFI/BOOT": b""})


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        made({"BIG": bytes(20 << 20)}, sectors=40960)


@pytest.mark.parametrize("sectors", [2048, 4 << 20])
def test_a_size_that_is_not_fat16_is_refused(sectors: int) -> None:
    with pytest.raises(ValueError, match="not FAT16"):
        made({}, sectors=sectors)

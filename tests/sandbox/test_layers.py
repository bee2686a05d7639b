"""Image headers are hostile: what is read of them is what qemu-img wrote, and everything else is refused."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.hypervisors.qemu.layers import MOST_LAYERS, chain
from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput
from wirt.model.units import MIB
from wirt.plan.qcow2 import HEADER_BYTES, parse

QCOW2 = DiskFormat.QCOW2


def create(path: Path, *words: str, size: str = "8M") -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), size], check=True, timeout=20)
    return path


@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_a_chain_is_followed_to_its_end(version: str, tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"\0" * MIB)
    below = tmp_path / "below"
    below.mkdir()
    create(below / "middle.qcow2", "-o", f"compat={version}", "-b", "../base.raw", "-F", "raw")
    top = create(tmp_path / "top.qcow2", "-o", f"compat={version}", "-b", "below/middle.qcow2", "-F", "qcow2")

    layers = chain(str(top), QCOW2)

    assert [Path(layer.path).resolve() for layer in layers] == [top, below / "middle.qcow2", base]
    assert [layer.format for layer in layers] == [QCOW2, QCOW2, DiskFormat.RAW]
    assert [layer.virtual_bytes for layer in layers] == [8 * MIB, 8 * MIB, MIB]


def test_a_raw_disk_is_never_looked_into(tmp_path: Path) -> None:
    """Its first bytes are the guest's, who may write a header there."""
    disk = create(tmp_path / "a", "-b", "/etc/hostname", "-F", "raw")
    assert [layer.path for layer in chain(str(disk), DiskFormat.RAW)] == [str(disk)]


def test_what_is_not_there_is_left_for_the_launch_to_tell(tmp_path: Path) -> None:
    assert len(chain(str(tmp_path / "none"), QCOW2)) == 1


def test_an_image_that_stands_on_itself_is_refused(tmp_path: Path) -> None:
    image = create(tmp_path / "a.qcow2")
    subprocess.run(
        ["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", "a.qcow2", str(image)], check=True, timeout=20
    )
    with pytest.raises(BadInput, match=f"more than {MOST_LAYERS}"):
        chain(str(image), QCOW2)


def test_a_backing_file_of_unsaid_format_is_refused_with_the_cure(tmp_path: Path) -> None:
    header = bytearray(create(tmp_path / "a.qcow2").read_bytes()[:HEADER_BYTES])
    struct.pack_into(">QI", header, 8, 1024, 4)
    header[1024:1028] = b"base"
    with pytest.raises(BadInput, match="says nothing of the format of 'base'") as caught:
        parse(bytes(header), "/a.qcow2")
    assert caught.value.hint is not None and "rebase" in caught.value.hint


@pytest.mark.parametrize("name", [b"nbd://there/disk", b'json:{"driver":"nbd"}', b"a\0b", b"fat:/etc"])
def test_only_files_of_this_host_are_stood_on(name: bytes, tmp_path: Path) -> None:
    header = bytearray(create(tmp_path / "a.qcow2", "-b", str(create(tmp_path / "b")), "-F", "qcow2").read_bytes())
    struct.pack_into(">QI", header, 8, 2048, len(name))
    header[2048 : 2048 + len(name)] = name
    with pytest.raises(BadInput, match="no file of this host"):
        parse(bytes(header[:HEADER_BYTES]), "/a.qcow2")


def test_data_in_another_file_is_refused(tmp_path: Path) -> None:
    image = create(tmp_path / "a.qcow2", "-o", f"data_file={tmp_path / 'data'}")
    with pytest.raises(BadInput, match="another file"):
        chain(str(image), QCOW2)


def test_another_format_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0" * 4096)
    with pytest.raises(BadInput, match="not a qcow2 image"):
        chain(str(tmp_path / "a"), QCOW2)


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_understood_or_refused(data: bytes, magic: bool) -> None:
    header = b"QFI\xfb\0\0\0\x03" + data if magic else data
    try:
        virtual = parse(header, "/a").size
    except BadInput:
        return
    assert 0 <= virtual < 1 << 64

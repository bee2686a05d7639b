"""Image headers are written by whoever made the image: read strictly, or refused with a reason."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.hypervisors.qemu import layers
from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput
from wirt.plan import qcow2
from wirt.plan.jail import Layer, most_bytes

from .mutations import mutated


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Of images that qemu-img made: with and without backing files, old and new."""
    if shutil.which("qemu-img") is None:
        pytest.skip("needs qemu-img: make setup (Debian: apt-get install qemu-utils)")
    directory = tmp_path_factory.mktemp("images")
    (directory / "base.raw").write_bytes(bytes(1 << 20))
    made = []
    for name, words in {
        "plain.qcow2": ["1M"],
        "old.qcow2": ["-o", "compat=0.10", "1M"],
        "over-raw.qcow2": ["-F", "raw", "-b", "base.raw"],
        "over-qcow2.qcow2": ["-F", "qcow2", "-b", "plain.qcow2"],
        "old-over.qcow2": ["-o", "compat=0.10", "-F", "qcow2", "-b", "old.qcow2"],
        "data-file.qcow2": ["-o", "data_file=outside.raw", "1M"],
    }.items():
        command = ["qemu-img", "create", "-q", "-f", "qcow2", *words[:-1]]
        tail = [name, words[-1]] if words[-2:-1] != ["-b"] else [words[-1], name]
        subprocess.run([*command, *tail], cwd=directory, check=True, timeout=60)
        made.append((directory / name).read_bytes()[: qcow2.HEADER_BYTES])
    return made


def check(header: bytes) -> None:
    try:
        said = qcow2.parse(header, "/images/x.qcow2")
        virtual, backing = said.size, said.backing
    except BadInput as error:
        assert len(error.message) < 5000
        assert (error.message + (error.hint or "")).isprintable()
    else:
        layer = Layer("x", DiskFormat.QCOW2, virtual_bytes=virtual)
        assert most_bytes(layer) < 1 << 63, "a limit that the kernel takes (setrlimit(2))"
        if backing is not None:
            assert "\0" not in backing[0]
            assert 0 < len(backing[0]) <= qcow2.MOST_NAME_BYTES


def test_real_headers_are_understood(headers: list[bytes]) -> None:
    found = []
    for header in headers[:-1]:
        said = qcow2.parse(header, "x")
        virtual, backing = said.size, said.backing
        found.append(backing)
        assert virtual == 1 << 20
    assert found == [
        None,
        None,
        ("base.raw", DiskFormat.RAW),
        ("plain.qcow2", DiskFormat.QCOW2),
        ("old.qcow2", DiskFormat.QCOW2),
    ]
    with pytest.raises(BadInput, match="keeps its data in another file"):
        qcow2.parse(headers[-1], "x")


def test_damaged_headers_are_understood_or_refused(headers: list[bytes]) -> None:
    # Most of a header's 64 KiB is zeros, which nothing reads.
    for header in mutated([header[:1024] for header in headers], 5000, seed=2):
        check(header)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_many_damaged_headers_are_understood_or_refused(headers: list[bytes], seed: int) -> None:
    for header in mutated([header[:1024] for header in headers], 50_000, seed):
        check(header)


@given(st.binary(max_size=300), st.sampled_from([b"", b"QFI\xfb\0\0\0\3", b"QFI\xfb\0\0\0\2"]))
def test_no_header_is_too_strange(rest: bytes, magic: bytes) -> None:
    check(magic + rest)


def header_with(name: bytes, format_: bytes = b"raw", virtual: int = 1 << 20) -> bytes:
    """A version 3 header by the book (docs/interop/qcow2.txt), but for what is asked for."""
    extension = struct.pack(">II", 0xE2792ACA, len(format_)) + format_ + bytes(-len(format_) % 8)
    extensions = extension + bytes(8)
    fixed = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 104 + len(extensions), len(name), 16, virtual, *[0] * 7)
    return fixed + struct.pack(">QQQII", 0, 0, 0, 4, 104) + extensions + name


def test_the_samples_of_this_test_are_by_the_book() -> None:
    assert qcow2.parse(header_with(b"base.raw"), "x") == qcow2.Header(1 << 20, ("base.raw", DiskFormat.RAW))


def test_an_image_that_claims_to_be_endless_is_refused() -> None:
    with pytest.raises(BadInput, match="claims to hold 18446744073709551615 bytes"):
        qcow2.parse(header_with(b"base.raw", virtual=(1 << 64) - 1), "x")


def test_a_name_in_a_header_moves_no_terminal_and_runs_nothing() -> None:
    with pytest.raises(BadInput) as caught:
        qcow2.parse(header_with(b"a\x1b[2J;reboot\n", format_=b"\x1b]0;x\x07"), "/x.qcow2")
    assert caught.value.hint is not None
    assert (caught.value.message + caught.value.hint).isprintable()
    assert "'a\\x1b[2J;reboot\\x0a'" in caught.value.hint


@pytest.mark.parametrize("name", [b"json:{}", b"nbd:unix:/x", b"fat:rw:/", b"a\0b", b"fd:3", b"http://x/y"])
def test_what_is_no_file_of_this_host_is_refused(name: bytes) -> None:
    with pytest.raises(BadInput, match="no file of this host"):
        qcow2.parse(header_with(name), "x")


def test_a_chain_that_bites_its_tail_or_leads_to_a_pipe_ends(tmp_path: Path) -> None:
    loop = tmp_path / "loop.qcow2"
    loop.write_bytes(header_with(b"loop.qcow2", format_=b"qcow2"))
    with pytest.raises(BadInput, match="more than 64 images"):
        layers.chain(str(loop), DiskFormat.QCOW2)
    os.mkfifo(tmp_path / "pipe")
    for format_ in (b"raw", b"qcow2"):
        loop.write_bytes(header_with(b"pipe", format_))
        with pytest.raises(BadInput, match="pipe can't be read"):
            layers.chain(str(loop), DiskFormat.QCOW2)
    loop.write_bytes(header_with(b"missing"))
    assert [layer.path for layer in layers.chain(str(loop), DiskFormat.QCOW2)] == [
        str(loop),
        f"{tmp_path}/missing",
    ]

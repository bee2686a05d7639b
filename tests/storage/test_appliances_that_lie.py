"""Archives that lie: each lie is refused by its name, and reaches nothing."""

from __future__ import annotations

import contextlib
import os
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.hostile.mutations import mutated

from wirt.model.errors import BadInput
from wirt.storage.appliances.host import HostAppliances

from .appliance_rig import CONTENT, Rig, an_ova, opened
from .archives import MIB, Disk, chunks, image, ovf, tar, xva, xva_description


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, HostAppliances())
    yield made
    for fd in made.fds:
        os.close(fd)


# What lies


def member(name: str, kind: bytes, data: bytes = b"", link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def with_size(archive: bytes, size: int) -> bytes:
    """The first member's size said to be ``size``, the header's checksum made good."""
    head = bytearray(archive[:512])
    head[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + archive[512:]


def bomb() -> bytes:
    lines = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    return (
        b'<?xml version="1.0"?><!DOCTYPE Envelope [<!ENTITY a0 "ha">'
        + "".join(lines).encode()
        + (b"]><Envelope>&a11;</Envelope>")
    )


EXTERNAL = b'<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd">]><Envelope>&x;</Envelope>'
DEEP = b"<a>" * 5000 + b"</a>" * 5000
ATTRIBUTE = b'<Envelope a="' + b"A" * 1_000_000 + b'"/>'

LIES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "absolute": (lambda at: tar([("/etc/cron.d/x", b"x")]), "leads out of it"),
    "upwards": (lambda at: tar([("a/../../x", b"x")]), "leads out of it"),
    "link": (lambda at: member("web.ovf", tarfile.SYMTYPE, link="/etc/passwd") + bytes(1024), "symbolic link"),
    "hard-link": (lambda at: member("web.ovf", tarfile.LNKTYPE, link="x") + bytes(1024), "holds a link"),
    "device": (lambda at: member("disk.vmdk", tarfile.BLKTYPE) + bytes(1024), "holds a device"),
    "sparse": (lambda at: member("disk.vmdk", tarfile.GNUTYPE_SPARSE) + bytes(1024), "sparse file"),
    "twice": (lambda at: tar([("a.ovf", b"x"), ("a.ovf", b"y")]), "twice"),
    "control": (lambda at: tar([("a\x1b[2J.ovf", b"x")]), "no name for a file"),
    "too-large": (lambda at: with_size(tar([("a.ovf", b"x")]), 1 << 40), "not whole"),
    "negative": (lambda at: with_size(tar([("a.ovf", b"x")]), (1 << 88) - 1), "can't be"),
    "nothing": (lambda at: tar([("readme", b"x")]), "is no appliance"),
    "cut": (lambda at: tar(an_ova(at).items())[: MIB // 2], "not whole"),
    "bomb": (lambda at: tar([("a.ovf", bomb())]), "document type"),
    "external": (lambda at: tar([("a.ovf", EXTERNAL)]), "document type"),
    "deep": (lambda at: tar([("a.ovf", DEEP)]), "too large or too deep"),
    "attribute": (lambda at: tar([("a.ovf", ATTRIBUTE)]), "attribute of more than"),
    "no-cpus": (lambda at: tar(an_ova(at, cpus="-3").items()), "number of CPUs"),
    "cpus": (lambda at: tar(an_ova(at, cpus="9" * 30).items()), "number of CPUs"),
    "memory": (lambda at: tar(an_ova(at, memory="999999999999").items()), "memory"),
    "unit": (lambda at: tar(an_ova(at, unit="byte * 2^900000000").items()), "no unit of bytes"),
    "missing": (lambda at: tar([("a.ovf", ovf([Disk("gone.vmdk", MIB)]))]), "is not there"),
    "other-size": (lambda at: tar([("a.ovf", ovf([Disk("d.vmdk", MIB, 5)])), ("d.vmdk", b"xy")]), "says 5"),
    "no-vmdk": (lambda at: tar([("a.ovf", ovf([Disk("d.vmdk", MIB)])), ("d.vmdk", bytes(MIB))]), "and is not"),
    "gzip": (lambda at: b"\x1f\x8b" + bytes(1022), "packed with gzip"),
    "empty": (lambda at: b"", "is empty"),
    "two": (lambda at: tar([("a.ovf", ovf([])), ("b.ovf", ovf([]))]), "2 OVF descriptors"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_archive_that_lies_is_refused_by_name(rig: Rig, lie: str) -> None:
    make, words = LIES[lie]
    with pytest.raises(BadInput, match=words):
        opened(rig, make(rig.folder))


async def test_a_refusal_leaves_the_jail_with_its_words(rig: Rig) -> None:
    with pytest.raises(
        BadInput, match=r"web\.ova can't be imported: web\.ova names /etc/x, which leads out of it"
    ):
        await rig.look(tar([("/etc/x", b"x")]))


EXTENT = b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 2048 FLAT "/etc/passwd" 0\n'


async def test_images_that_name_other_files_are_refused(rig: Rig) -> None:
    embedded = bytearray(image(rig.folder, CONTENT))
    embedded[12:20] = bytes(8)  # no capacity: then QEMU reads the text inside for extents
    qcow2 = bytearray(image(rig.folder, CONTENT, "qcow2", ""))
    name = b"/etc/passwd"
    struct.pack_into(">QI", qcow2, 8, 600, len(name))
    qcow2[600 : 600 + len(name)] = name
    (begin,) = struct.unpack_from(">I", qcow2, 100)
    qcow2[begin : begin + 24] = struct.pack(">II8sQ", 0xE2792ACA, 3, b"raw", 0)
    child = image(rig.folder, CONTENT).replace(b"parentCID=ffffffff", b"parentCID=12345678")
    footer = bytearray(512)
    footer[:8], footer[63] = b"conectix", 4
    for start, words in (
        (child, "a VMDK that stands on another"),
        (bytes(MIB - 512) + footer, "a VHD that stands on another"),
        (EXTENT, "in other files"),
        (bytes(embedded), "in other files"),
        (bytes(qcow2), "stands on another"),
    ):
        data = start.ljust(MIB, b"\0")
        with pytest.raises(BadInput, match=words):
            await rig.look(data, "evil.img")
        with pytest.raises(BadInput, match=words):
            opened(rig, tar([("a.ovf", ovf([Disk("d.vmdk", MIB)])), ("d.vmdk", data)]))


async def test_a_wrong_digest_is_found_before_anything_is_made(rig: Rig) -> None:
    files = an_ova(rig.folder)
    files["web-disk1.vmdk"] = files["web-disk1.vmdk"][:-1] + b"?"
    found = await rig.look(tar(files.items()))
    with pytest.raises(BadInput, match=r"web-disk1\.vmdk does not match its digest"):
        await rig.reader.check(found.package, lambda share: None)
    files = an_ova(rig.folder)
    files["web.mf"] += f"SHA256(gone.vmdk)= {'0' * 64}\n".encode()
    found = await rig.look(tar(files.items()))
    with pytest.raises(BadInput, match=r"gone\.vmdk, which is not there"):
        await rig.reader.check(found.package, lambda share: None)


@pytest.mark.parametrize("new", [False, True], ids=["checksum", "xxhash"])
async def test_a_chunk_that_does_not_match_its_checksum_fails_the_copy_by_name(rig: Rig, new: bool) -> None:
    members = [("ova.xml", xva_description({"Ref:7": len(CONTENT)})), *chunks("Ref:7", CONTENT, new=new)]
    number = next(n for n, (name, _) in enumerate(members) if name == "Ref:7/00000001")
    members[number] = (members[number][0], b"?" + members[number][1][1:])
    found = await rig.look(tar(members), "shop.xva")
    with pytest.raises(BadInput, match="chunk 1 of Ref:7 does not match its checksum"):
        await rig.poured(found)


XEN_LIES: dict[str, tuple[list[tuple[str, bytes]], str]] = {
    "beyond": ([("Ref:7/00000099", b"x")], "beyond its end"),
    "twice": ([("Ref:7/00000000", b"x")], "twice"),
    "huge": ([("Ref:7/00000002", bytes(MIB + 512))], "a chunk of"),
    "lone-checksum": ([("Ref:7/00000003.checksum", b"0" * 40)], "belongs to no chunk"),
    "no-checksum": ([("Ref:7/00000003", b"x"), ("Ref:7/00000003.xxhash", b"zzz")], "or is none"),
}


@pytest.mark.parametrize("lie", XEN_LIES)
def test_a_xen_export_that_lies_is_refused_by_name(rig: Rig, lie: str) -> None:
    more, words = XEN_LIES[lie]
    members = [("ova.xml", xva_description({"Ref:7": len(CONTENT)})), *chunks("Ref:7", CONTENT, new=False), *more]
    with pytest.raises(BadInput, match=words):
        opened(rig, tar(members), "shop.xva")


async def test_a_xen_export_that_is_cut_off_is_not_whole(rig: Rig) -> None:
    data = xva({"Ref:7": CONTENT}, new=True)
    at = data.index(b"Ref:7/00000004")
    with pytest.raises(BadInput, match="it is not whole"):
        await rig.look(data[:at], "cut.xva")


def test_damaged_archives_are_understood_or_refused(rig: Rig) -> None:
    damage(rig, 60, seed=3)


@pytest.mark.long
def test_many_damaged_archives_are_understood_or_refused(rig: Rig) -> None:
    damage(rig, 3000, seed=4)


def damage(rig: Rig, count: int, seed: int) -> None:
    """Real archives with a little in them changed; what is still understood can be read to its end, or not."""
    small = b"content".ljust(64 * 1024, b".")
    samples = [
        tar([("a.ovf", ovf([Disk("d.vmdk", len(small))])), ("d.vmdk", image(rig.folder, small))]),
        xva({"Ref:7": small}, new=True),
        xva({"Ref:7": small}, new=False),
    ]
    for number, data in enumerate(mutated(samples, count, seed)):
        with contextlib.suppress(BadInput):
            for disk in opened(rig, data, f"{number % 7}.ova").disks:
                if disk is not None:
                    disk.read(0, min(disk.size, MIB))


async def test_a_huge_sparse_archive_is_told_in_time_and_takes_no_room(rig: Rig) -> None:
    """64 GiB that hold one block."""
    path = rig.folder / "bomb.ova"
    with path.open("wb") as file:
        file.write(with_size(tar([("a.vmdk", b"")])[:512], 64 << 30))
        file.truncate((64 << 30) + 512)
        file.seek(0, os.SEEK_END)
        file.write(tar([("a.ovf", ovf([Disk("a.vmdk", 64 << 30)]))]))
    with pytest.raises(BadInput, match=r"a\.vmdk is said to be vmdk, and is not"):
        await rig.reader.look(str(path))

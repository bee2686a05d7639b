"""Archives of machines, read for real in the jail: every byte arrives, and what lies is refused."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.hostile.mutations import mutated

from wirt.model.appliance import ApplianceKind, Controller
from wirt.model.devices import DiskFormat
from wirt.model.domain import Firmware
from wirt.model.errors import BadInput, IllegalState, NotFound, WirtError
from wirt.model.storage import ImageFormat, Volume
from wirt.ports.appliances import Found
from wirt.storage.appliances.contents import Contents, open_contents
from wirt.storage.appliances.host import HostAppliances
from wirt.storage.appliances.slices import Slice
from wirt.storage.images import QemuImageTool

from . import archives
from .archives import MIB, Disk, chunks, image, manifest, ovf, tar, xva, xva_description

CONTENT = random.Random(1).randbytes(MIB + 4096) + bytes(3 * MIB) + b"end".ljust(MIB - 4096)


@dataclass
class Rig:
    """``poured`` gives back what came of a disk."""

    folder: Path
    reader: HostAppliances
    fds: list[int] = field(default_factory=list)

    def write(self, data: bytes, name: str = "web.ova") -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return str(path)

    async def look(self, data: bytes, name: str = "web.ova") -> Found:
        return await self.reader.look(self.write(data, name))

    async def poured(self, found: Found, disk: int = 0, format_: DiskFormat = DiskFormat.RAW) -> bytes:
        told = found.appliance.disks[disk]
        assert told.size is not None
        out = self.folder / "out"
        out.unlink(missing_ok=True)
        if format_ is DiskFormat.RAW:
            with out.open("xb") as file:
                file.truncate(told.size)
        else:
            await make_qcow2(out, told.size)
        volume = Volume("pool", "out", format_, told.size, 0, str(out))
        await self.reader.pour(found.package, disk, told.format, volume, lambda share: None)
        if format_ is DiskFormat.QCOW2:
            assert await QemuImageTool().check(str(out), format_) == ()
            return await as_raw(volume)
        return out.read_bytes()


async def make_qcow2(path: Path, size: int) -> None:
    from wirt.storage.programs import run

    await run("qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size), what="no image")


async def as_raw(volume: Volume) -> bytes:
    from wirt.storage.programs import run

    raw = f"{volume.path}.raw"
    await run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", volume.path, raw, what="no image")
    return Path(raw).read_bytes()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, HostAppliances())
    yield made
    for fd in made.fds:
        os.close(fd)


def an_ova(folder: Path, algorithm: str = "sha256", **more: str) -> dict[str, bytes]:
    """The members of one that is good."""
    disk = image(folder, CONTENT)
    descriptor = ovf([Disk("web-disk1.vmdk", len(CONTENT), len(disk))], **more)
    vouched = {"web.ovf": descriptor, "web-disk1.vmdk": disk}
    return {"web.ovf": descriptor, "web.mf": manifest(vouched, algorithm), "web-disk1.vmdk": disk}


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_an_ova_is_read_checked_and_poured_byte_for_byte(rig: Rig, algorithm: str) -> None:
    more = archives.VMWARE + archives.card(0, "VM Network", "00:50:56:01:02:03") + archives.CD
    found = await rig.look(tar(an_ova(rig.folder, algorithm, more=more).items()))
    machine = found.appliance
    assert (machine.kind, machine.name, machine.vcpus, machine.memory) == (ApplianceKind.OVA, "web", 2, 512 * MIB)
    assert machine.firmware is Firmware.OVMF and machine.signed
    disk, cd = machine.disks
    assert (disk.format, disk.size, disk.controller) == (ImageFormat.VMDK, len(CONTENT), Controller.SCSI)
    assert cd.cdrom and cd.file is None
    assert machine.cards[0].mac == "00:50:56:01:02:03"
    await rig.reader.check(found.package, lambda share: None)
    assert await rig.poured(found) == CONTENT
    assert await rig.poured(found, format_=DiskFormat.QCOW2) == CONTENT


async def test_what_a_domain_has_no_place_for_is_listed(rig: Rig) -> None:
    sections = (
        "<AnnotationSection><Info/><Annotation>made by me</Annotation></AnnotationSection>"
        "<ProductSection><Info/><Product>Shop</Product><Property ovf:key='password' ovf:type='string'/>"
        "</ProductSection><acme:Secret xmlns:acme='http://acme.example/'/>"
    )
    files = an_ova(rig.folder, more=archives.VMWARE, sections=sections)
    found = await rig.look(tar([*files.items(), ("web.cert", b"x"), ("readme.txt", b"x")]))
    lost = "\n".join(found.appliance.lost)
    for word in (
        *("USB controller", "sound card", "floppy drive", "unknown type 4711", "lsilogic", "nvram", "annotation"),
        *("product information of Shop", "property password", "section Secret", "Debian 64-bit", "a signature"),
        "readme.txt",
    ):
        assert word in lost, word


@pytest.mark.parametrize("new", [False, True], ids=["checksum", "xxhash"])
async def test_a_xen_export_is_read_chunk_by_chunk(rig: Rig, new: bool) -> None:
    second = random.Random(2).randbytes(MIB + 512)
    found = await rig.look(xva({"Ref:7": CONTENT, "Ref:9": second}, new=new), "shop.xva")
    machine = found.appliance
    assert (machine.kind, machine.name, machine.vcpus, machine.memory) == (ApplianceKind.XVA, "shop", 2, 256 * MIB)
    assert [disk.size for disk in machine.disks] == [len(CONTENT), len(second), None]
    assert machine.boot == "cd" and machine.cards[0].mac == "5e:00:00:00:00:01"
    assert await rig.poured(found) == CONTENT
    assert await rig.poured(found, 1, DiskFormat.QCOW2) == second


async def test_a_paravirtual_export_says_what_becomes_of_it(rig: Rig) -> None:
    found = await rig.look(xva({"Ref:7": CONTENT}, new=False, hvm=False, snapshots=["Ref:50"]), "old.xva")
    lost = "\n".join(found.appliance.lost)
    for word in ("pygrub", "becomes hvm", "snapshots", "auto_poweron"):
        assert word in lost
    assert await rig.poured(found) == CONTENT


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi"])
async def test_a_bare_image_is_recognised_and_poured(rig: Rig, kind: str) -> None:
    options = {"vmdk": "subformat=streamOptimized", "vpc": "force_size=on"}.get(kind, "")
    data = CONTENT if kind == "raw" else image(rig.folder, CONTENT, kind, options)
    found = await rig.look(data, f"disk.{kind}")
    assert found.appliance.kind is ApplianceKind.IMAGE and found.appliance.name == "disk"
    assert await rig.poured(found) == CONTENT


async def test_an_ovf_directory_is_read_with_the_files_beside_it(rig: Rig) -> None:
    files = an_ova(rig.folder)
    for name in ("web.mf", "web-disk1.vmdk"):
        rig.write(files[name], name)
    found = await rig.look(files["web.ovf"], "web.ovf")
    assert found.package.files == ("web-disk1.vmdk", "web.mf") and found.appliance.signed
    await rig.reader.check(found.package, lambda share: None)
    assert await rig.poured(found) == CONTENT
    (rig.folder / "web-disk1.vmdk").unlink()
    with pytest.raises(NotFound, match=r"web-disk1\.vmdk"):
        await rig.reader.look(str(rig.folder / "web.ovf"))


async def test_files_beside_an_ovf_are_reached_through_no_link_and_no_way_out(rig: Rig) -> None:
    (rig.folder / "web-disk1.vmdk").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="is a link, which is not followed"):
        await rig.look(an_ova(rig.folder)["web.ovf"], "web.ovf")
    for name in ("../../etc/passwd", "/etc/passwd", "a/../../b", "%2e%2e/b", "a\\b", "http://host/a"):
        with pytest.raises(BadInput, match=r"leads out of it|no name for a file"):
            await rig.look(ovf([Disk(name, MIB)]), "bad.ovf")


async def test_a_file_that_changes_between_look_and_pour_is_refused(rig: Rig) -> None:
    found = await rig.look(xva({"Ref:7": CONTENT}, new=True), "shop.xva")
    rig.write(xva({"Ref:7": CONTENT[::-1]}, new=True), "shop.xva")
    with pytest.raises(IllegalState, match="has changed since"):
        await rig.poured(found)


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


def opened(rig: Rig, data: bytes, name: str = "web.ova") -> Contents:
    """What the worker does, without its jail."""
    file = rig.folder / name
    file.write_bytes(data)
    fd = os.open(file, os.O_RDONLY)
    rig.fds.append(fd)
    return open_contents({name: Slice(fd, 0, len(data))}, name, lambda share: None, sure=None, probing=True)


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


async def test_the_worker_reaches_nothing_but_what_is_handed_over(rig: Rig) -> None:
    """What the jail shows: no home, no network, nothing that could be written."""
    from wirt.storage.appliances.jail import worker
    from wirt.storage.programs import run

    argv = list(worker("{}"))
    argv[argv.index("-m") :] = [
        "-c",
        "import os,socket\n"
        "print(sorted(os.listdir('/')))\n"
        "print(os.getuid(), socket.if_nameindex())\n"
        "for path in ('/x', '/code/x', '/usr/x', '/dev/x'):\n"
        "    try: open(path, 'w'); print('wrote', path)\n"
        "    except OSError: pass\n",
    ]
    said = await run(*argv, what="no jail")
    assert "wrote" not in said
    listed, rest = said.splitlines()
    assert not {"etc", "home", "root", "tmp", "var", "proc", "sys", "run"} & set(eval(listed))
    assert rest.startswith("65534 ")


async def test_names_in_the_ways_of_gnu_and_pax_are_understood(rig: Rig) -> None:
    long_name = "d" * 150 + ".vmdk"
    disk = image(rig.folder, CONTENT)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, data in (("a.ovf", ovf([Disk(long_name, len(CONTENT))])), (long_name, disk)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        found = await rig.look(out.getvalue())
        assert found.appliance.disks[0].label == long_name


async def test_everything_that_goes_wrong_is_told_as_ours(rig: Rig) -> None:
    for path in (str(rig.folder), "/dev/null", str(rig.folder / "gone")):
        with pytest.raises(WirtError):
            await rig.reader.look(path)

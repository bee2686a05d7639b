"""Archives of machines, read for real in the jail: every byte arrives."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config import tarheader
from wirt.model.appliance import ApplianceKind, Controller
from wirt.model.devices import DiskFormat
from wirt.model.domain import Firmware
from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, WirtError
from wirt.model.storage import ImageFormat, Volume
from wirt.storage.appliances.host import HostAppliances
from wirt.storage.appliances.writing import member_header
from wirt.storage.appliances.xxh64 import reckoned, xxh64

from . import archives
from .appliance_rig import CONTENT, Rig, an_ova, make_qcow2
from .archives import MIB, Disk, image, ovf, tar, xva


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, HostAppliances())
    yield made
    for fd in made.fds:
        os.close(fd)


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
        *("CoresPerSocket", "an annotation"),
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
    more = {"actions_after_crash": "restart", "actions_after_reboot": "restart", "VCPUs_max": "16"}
    found = await rig.look(xva({"Ref:7": CONTENT}, new=False, hvm=False, snapshots=["Ref:50"], **more), "old.xva")
    lost = "\n".join(found.appliance.lost)
    for word in ("pygrub", "becomes hvm", "snapshots", "auto_poweron", "actions_after_crash (restart)", "16 CPUs"):
        assert word in lost
    assert "actions_after_reboot" not in lost
    assert await rig.poured(found) == CONTENT


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi"])
async def test_a_bare_image_is_recognised_and_poured(rig: Rig, kind: str) -> None:
    options = {"vmdk": "subformat=streamOptimized", "vpc": "force_size=on"}.get(kind, "")
    data = CONTENT if kind == "raw" else image(rig.folder, CONTENT, kind, options)
    found = await rig.look(data, f"disk.{kind}")
    assert found.appliance.kind is ApplianceKind.IMAGE and found.appliance.name == "disk"
    assert await rig.poured(found) == CONTENT


async def test_an_image_whose_format_is_said_is_not_guessed(rig: Rig) -> None:
    """A guest can write into its raw disk what looks like another format."""
    data = image(rig.folder, CONTENT, "qcow2", "")
    found = await rig.reader.look(rig.write(data, "guest.raw"), ImageFormat.RAW)
    assert await rig.poured(found) == data.ljust(-(-len(data) // 512) * 512, b"\0")
    with pytest.raises(BadInput, match=r"is qcow|not a qcow2"):
        await rig.reader.look(rig.write(CONTENT, "guest.raw"), ImageFormat.QCOW2)


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


async def test_a_disk_of_terabytes_with_little_in_it_is_copied_at_once(rig: Rig) -> None:
    size = 1 << 42
    last = size // MIB - 1
    members = [
        ("ova.xml", archives.xva_description({"Ref:7": size})),
        *archives.chunks("Ref:7", b"begin".ljust(MIB, b"."), new=True),
        (f"Ref:7/{last:08d}", b"end".rjust(MIB, b".")),
    ]
    found = await rig.look(tar(members), "large.xva")
    assert any("checksums of 1 chunks" in each for each in found.appliance.lost)
    out = rig.folder / "out"
    with out.open("xb") as file:
        file.truncate(size)
    volume = Volume("pool", "out", DiskFormat.RAW, size, 0, str(out))
    await rig.reader.pour(found.package, 0, ImageFormat.RAW, volume, lambda share: None)
    with out.open("rb") as file:
        assert file.read(6) == b"begin."
        file.seek(MIB)
        assert not any(file.read(MIB))
        file.seek(size - 4)
        assert file.read() == b".end"
    assert out.stat().st_blocks * 512 < 16 * MIB


async def test_a_cancelled_copy_leaves_no_process(rig: Rig) -> None:
    path = rig.folder / "large.raw"
    path.write_bytes(b"content." * (16 * MIB))
    found, begun = await rig.reader.look(str(path)), asyncio.Event()
    out = rig.folder / "out"
    await make_qcow2(out, 128 * MIB)
    volume = Volume("pool", "out", DiskFormat.QCOW2, 128 * MIB, 0, str(out))
    pouring = rig.reader.pour(found.package, 0, ImageFormat.RAW, volume, lambda share: begun.set())
    task = asyncio.create_task(pouring)
    async with asyncio.timeout(60):
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    commands = [entry.read_bytes() for entry in Path("/proc").glob("[0-9]*/cmdline") if entry.exists()]
    assert not [each for each in commands if str(out).encode() in each or b"large.raw" in each]


@given(st.binary(max_size=200))
def test_xxh64_reckoned_is_what_the_library_says(data: bytes) -> None:
    assert reckoned(data) == xxh64(data)


def test_xxh64_is_the_algorithm_of_that_name() -> None:
    assert reckoned(b"") == 0xEF46DB3751D8E999
    assert reckoned(b"a") == 0xD24EC4F1A98C6E5B


async def test_what_is_packed_is_read_by_others_and_by_us(rig: Rig) -> None:
    """The archive is whole or not there, and no file of that name is written over."""
    files = an_ova(rig.folder)
    disk = rig.write(files["web-disk1.vmdk"], "web-disk1.vmdk")
    packed, target = await rig.reader.measure(disk), rig.folder / "out.ova"
    assert (packed.size, packed.digest) == (
        Path(disk).stat().st_size,
        hashlib.sha256(Path(disk).read_bytes()).hexdigest(),
    )
    scratch = str(rig.folder / "scratch")
    await rig.reader.make_scratch(scratch)
    await rig.reader.make_scratch(scratch)
    descriptor = ("web.ovf", files["web.ovf"].decode())
    await rig.reader.pack(str(target), descriptor, [packed], scratch, lambda share: None)
    with pytest.raises(NameInUse):
        await rig.reader.pack(str(target), descriptor, [packed], scratch, lambda share: None)
    assert list(Path(scratch).iterdir()) == []
    await rig.reader.discard(scratch)
    await rig.reader.discard(scratch)
    with tarfile.open(target) as archive:
        assert archive.getnames() == ["web.ovf", "web.mf", "web-disk1.vmdk"]
    found = await rig.reader.look(str(target))
    await rig.reader.check(found.package, lambda share: None)
    assert await rig.poured(found) == CONTENT


def test_members_beyond_what_ustar_can_say_are_written_as_gnu_tar_does() -> None:
    header = tarheader.parse(member_header("d.vmdk", 20 << 30), "x.ova")
    assert header is not None and (header.name, header.size) == ("d.vmdk", 20 << 30)

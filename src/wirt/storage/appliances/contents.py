"""What an appliance holds: the description, and the bytes of each disk. Runs inside the jail."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from wirt.config import ovf, tarheader, xva
from wirt.config.markup import MOST_BYTES
from wirt.config.ovf import manifest
from wirt.model.appliance import Appliance, ApplianceDisk, ApplianceKind
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.text import plain
from wirt.storage.appliances import archive, formats, unpacking
from wirt.storage.appliances.archive import Archive, Tell
from wirt.storage.appliances.slices import SECTOR, Chunks, Readable, Slice
from wirt.storage.appliances.unpacking import PackedFile

_PART_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """``disks`` are those of the appliance, ``None`` where nothing comes with one."""

    appliance: Appliance
    disks: tuple[Readable | None, ...]
    digests: Mapping[str, tuple[str, str]]
    members: Mapping[str, Readable]


def open_contents(
    files: Mapping[str, Slice],
    main: str,
    tell: Tell,
    *,
    sure: ImageFormat | None,
    probing: bool,
    machine: str = "",
) -> Contents:
    """``main`` is the name of the file that was handed in, the others lie beside it. ``sure``: it is a bare image
    of that format. Without ``probing`` the others are not there yet, and the description alone is read.
    ``machine``: which of several is meant."""
    whole = files[main]
    head = whole.read(0, min(whole.size, formats.HEAD_BYTES))
    if sure is not None:
        return _image(whole, sure, main, sure=True)
    if archive.is_archive(head):
        return _archive(whole, main, tell, machine)
    program = formats.packed(head)
    if program in ("gzip", "zstd"):
        packed = PackedFile(whole.fd, program, main)
        if _begins_archive(packed):
            return _packed(packed, program, main, tell)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and main.lower().endswith((".ovf", ".xml")):
        appliance = ovf.read(_text(whole, main), main, ApplianceKind.OVF, machine)
        if not probing:
            return Contents(appliance, (), {}, files)
        return _package(appliance, files, main)
    return _image(whole, ImageFormat.RAW, main, sure=False)


def _archive(whole: Slice, main: str, tell: Tell, machine: str) -> Contents:
    found = archive.index(whole, main, tell)
    if "ova.xml" in found.members:
        return _xen(found, main)
    descriptors = [name for name in found.members if name.lower().endswith(".ovf")]
    if len(descriptors) != 1:
        raise BadInput(
            f"{main} is an archive with {len(descriptors)} OVF descriptors and no ova.xml: it is no appliance",
            hint="OVA, XVA, an OVF directory's .ovf, and disk images are imported",
        )
    if found.chunks:
        raise BadInput(f"{main} is half an OVA and half an XVA")
    descriptor = descriptors[0]
    text = _text(found.members[descriptor], descriptor)
    return _package(ovf.read(text, descriptor, ApplianceKind.OVA, machine), found.members, descriptor)


def _begins_archive(packed: PackedFile) -> bool:
    try:
        return archive.is_archive(packed.read(0, tarheader.BLOCK))
    except BadInput:
        return False


def _packed(whole: PackedFile, program: str, main: str, tell: Tell) -> Contents:
    """Of XenServer's exports alone the description comes first, and says what may come after it."""
    first = archive.first_member(whole, main)
    if first is None or first[0] != "ova.xml":
        raise BadInput(
            f"{main} is packed with {program}, and no export of XenServer",
            hint=f"unpack it first: {program} -d",
        )
    disks = xva.read(_text(first[1], "ova.xml"), f"ova.xml in {main}").disks
    most = sum(disk.size or 0 for disk in disks)
    whole.limit = unpacking.FIRST_BYTES + most + most // 64
    return _xen(archive.index(whole, main, tell), main)


def _package(appliance: Appliance, members: Mapping[str, Readable], descriptor: str) -> Contents:
    folder = PurePosixPath(descriptor).parent
    disks = [_file(disk, folder, members, descriptor) for disk in appliance.disks]
    known = [_known(disk, file, descriptor) for disk, file in zip(appliance.disks, disks, strict=True)]
    digests = _digests(members, descriptor)
    lost = [*appliance.lost]
    lost += [f"a signature ({name})" for name in members if name.lower().endswith(".cert")]
    used = {str(folder / disk.file) for disk in known if disk.file is not None}
    unvouched = sorted(used - set(digests)) if digests else []
    lost += [f"a digest of {name}: the manifest has none" for name in unvouched]
    others = [name for name in members if name not in used and not name.lower().endswith((".ovf", ".mf", ".cert"))]
    lost += [f"the file {plain(name, 100)}" for name in others[:32]]
    result = replace(appliance, disks=tuple(known), lost=tuple(lost), signed=bool(digests))
    return Contents(result, tuple(disks), digests, members)


def _file(
    disk: ApplianceDisk, folder: PurePosixPath, members: Mapping[str, Readable], descriptor: str
) -> Readable | None:
    if disk.file is None:
        return None
    found = members.get(str(folder / disk.file))
    if found is None:
        raise BadInput(f"the file {plain(disk.file, 100)}, which {descriptor} names, is not there")
    return found


def _known(disk: ApplianceDisk, file: Readable | None, descriptor: str) -> ApplianceDisk:
    """With what its file says."""
    if file is None:
        return disk
    name = plain(disk.file, 100)
    if disk.stored and disk.stored != file.size:
        raise BadInput(f"{name} has {file.size} bytes, and {descriptor} says {disk.stored}")
    said = ImageFormat.RAW if disk.cdrom else disk.format
    return replace(disk, format=formats.find(file, said, name), stored=file.size)


def _digests(members: Mapping[str, Readable], descriptor: str) -> dict[str, tuple[str, str]]:
    """By member."""
    name = str(PurePosixPath(descriptor).with_suffix(".mf"))
    if name not in members:
        return {}
    if members[name].size > manifest.MOST_BYTES:
        raise BadInput(f"{name} has {members[name].size} bytes; a manifest is shorter")
    folder = PurePosixPath(name).parent
    said = manifest.read(members[name].read(0, members[name].size), name)
    return {str(folder / each): digest for each, digest in said.items()}


def check(contents: Contents, tell: Tell, *, whole: bool = True) -> None:
    """Every file that the manifest vouches for. ``BadInput`` names the first that is another, or not there. Not
    ``whole``: one machine of several, of the others' files nothing is asked."""
    missing = [name for name in contents.digests if name not in contents.members]
    if missing and whole:
        raise BadInput(f"the manifest vouches for {plain(missing[0], 100)}, which is not there")
    digests = {name: digest for name, digest in contents.digests.items() if name in contents.members}
    total = sum(contents.members[name].size for name in digests) or 1
    done = 0
    for name, (algorithm, digest) in digests.items():
        member, sums = contents.members[name], hashlib.new(algorithm, usedforsecurity=False)
        for offset in range(0, member.size, _PART_BYTES):
            part = member.read(offset, min(_PART_BYTES, member.size - offset))
            sums.update(part)
            done += len(part)
            tell(done / total)
        if sums.hexdigest() != digest:
            raise BadInput(
                f"{plain(name, 100)} does not match its digest in the manifest: it is damaged, or another",
                hint="copy or export it again",
            )


def _xen(found: Archive, main: str) -> Contents:
    appliance = xva.read(_text(found.members["ova.xml"], "ova.xml"), f"ova.xml in {main}")
    disks: list[Readable | None] = []
    known: list[ApplianceDisk] = []
    lost = [*appliance.lost]
    for disk in appliance.disks:
        if disk.file is None or disk.size is None:
            disks.append(None)
            known.append(disk)
            continue
        chunks = found.chunks.pop(disk.file, {})
        last = (disk.size - 1) // xva.CHUNK_BYTES
        if max(chunks, default=0) > last:
            raise BadInput(f"{main} has chunks of {disk.label} beyond its end")
        # The first and the last chunk are always written, empty or not.
        if not found.ended and last not in chunks:
            raise BadInput(f"{main} ends before {disk.label} does: it is not whole")
        bare = sum(chunk.checksum is None for chunk in chunks.values())
        if bare:
            lost.append(f"checksums of {bare} chunks of {disk.label}: there are none, so nothing vouches for them")
        known.append(replace(disk, stored=sum(chunk.piece.size for chunk in chunks.values())))
        disks.append(Chunks(disk.label, disk.size, chunks))
    lost += [f"the disk {name}, which is in no drive" for name in sorted(found.chunks)[:32]]
    lost += [f"the file {plain(name, 100)}" for name in found.members if name != "ova.xml"][:32]
    return Contents(replace(appliance, disks=tuple(known), lost=tuple(lost)), tuple(disks), {}, {})


def _image(whole: Slice, said: ImageFormat, main: str, *, sure: bool) -> Contents:
    if whole.size == 0:
        raise BadInput(f"{main} is empty")
    form = formats.find(whole, said, main, sure=sure)
    if form is ImageFormat.RAW and not sure and whole.size % SECTOR:
        raise BadInput(
            f"{main} is no image of a known format, and has {whole.size} bytes, as no disk has",
            hint="--file-format raw, if it is one all the same",
        )
    disk = ApplianceDisk(main, form, None, whole.size, file=main)
    name = PurePosixPath(main).stem
    return Contents(Appliance(ApplianceKind.IMAGE, name, disks=(disk,)), (whole,), {}, {})


def _text(member: Readable, what: str) -> bytes:
    if member.size > MOST_BYTES:
        raise BadInput(f"{plain(what, 100)} has {member.size} bytes; a description has at most {MOST_BYTES}")
    return member.read(0, member.size)

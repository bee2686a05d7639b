"""What lies where in a tar archive. Nothing is unpacked; every header is looked at, and whatever is odd is
refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from wirt.config import tarheader
from wirt.config.tarheader import BLOCK, Member
from wirt.config.xva import CHUNK_BYTES
from wirt.model.errors import BadInput
from wirt.model.text import plain
from wirt.storage.appliances.slices import Chunk, Readable, Whole

MOST_MEMBERS = 4096
"""Of those that are no chunks of a Xen disk."""
MOST_CHUNKS = 4 * 1024 * 1024
MOST_CHECKSUM = 128
_CHUNK = re.compile(r"(?P<disk>Ref:[0-9]{1,18})/(?P<number>[0-9]{1,12})(?:\.(?P<sum>checksum|xxhash))?")
_SUMS = {"checksum": re.compile(r"[0-9a-fA-F]{40}"), "xxhash": re.compile(r"[0-9a-fA-F]{1,16}")}

Tell = Callable[[float], None]


@dataclass(slots=True)
class Archive:
    """``chunks`` are those of Xen disks, by disk and number. ``ended``: the end is marked, so nothing is cut
    off."""

    members: dict[str, Readable] = field(default_factory=dict)
    chunks: dict[str, dict[int, Chunk]] = field(default_factory=dict)
    ended: bool = False
    count: int = 0


def is_archive(head: bytes) -> bool:
    try:
        return head[257:262] == b"ustar" or tarheader.parse(head[:BLOCK], "") is not None
    except BadInput:
        return False


def first_member(whole: Whole, what: str) -> tuple[str, Readable] | None:
    """By name, if there is one and it is a file."""
    header = tarheader.parse(whole.read(0, BLOCK), what)
    if header is None or header.kind is not Member.FILE:
        return None
    return header.name, whole.part(BLOCK, header.size)


def index(whole: Whole, what: str, tell: Tell) -> Archive:
    """``BadInput`` says what is wrong with ``what``."""
    archive, offset, end = Archive(), 0, 0
    name, size = "", -1
    while offset < whole.size:
        head = whole.read(offset, min(BLOCK, whole.size - offset))
        if offset >= whole.size:  # of a packed one the size is known once its end was seen
            break
        header = tarheader.parse(head, what)
        if header is None:
            archive.ended = True
            break
        begin = offset + BLOCK
        length = size if size >= 0 and header.kind is Member.FILE else header.size
        piece, end = whole.part(begin, length), begin + length
        if end > whole.size:
            raise BadInput(f"{what} ends in the middle of {plain(name or header.name, 100)}: it is not whole")
        if header.kind in (Member.EXTENDED, Member.LONG_NAME):
            name, size = _further(header.kind, piece, name, size, what)
        elif header.kind is Member.FILE:
            _keep(archive, tarheader.check_name(name or header.name, what), piece, what)
            name, size = "", -1
        elif header.kind is Member.DIRECTORY:
            name, size = "", -1
        offset = begin + -(-length // BLOCK) * BLOCK
        archive.count += 1
        if archive.count % 4096 == 0:
            tell(min(1.0, offset / whole.size))
    if end > whole.size:
        raise BadInput(f"{what} ends in the middle of a file: it is not whole")
    return archive


def _further(kind: Member, piece: Readable, name: str, size: int, what: str) -> tuple[str, int]:
    """What is said ahead of a member of its name and size."""
    if piece.size > tarheader.MOST_EXTENDED_BYTES:
        raise BadInput(f"{what} has a header of {piece.size} bytes, which can't be")
    data = piece.read(0, piece.size)
    if kind is Member.LONG_NAME:
        return data.rstrip(b"\0").decode(errors="replace"), size
    words = tarheader.extended(data, what)
    return words.get("path", name), tarheader.size_of(words["size"], what) if "size" in words else size


def _keep(archive: Archive, name: str, piece: Readable, what: str) -> None:
    match = _CHUNK.fullmatch(name)
    if match is not None:
        _keep_chunk(archive, match["disk"], int(match["number"]), match["sum"], piece, what)
        return
    if name in archive.members:
        raise BadInput(f"{what} holds {plain(name, 100)} twice; which of them is meant?")
    if len(archive.members) >= MOST_MEMBERS:
        raise BadInput(f"{what} holds more than {MOST_MEMBERS} files")
    archive.members[name] = piece


def _keep_chunk(
    archive: Archive, disk: str, number: int, checksum: str | None, piece: Readable, what: str
) -> None:
    chunks = archive.chunks.setdefault(disk, {})
    before = chunks.get(number)
    if checksum is None:
        if before is not None:
            raise BadInput(f"{what} holds chunk {number} of {disk} twice; which of them is meant?")
        if piece.size > CHUNK_BYTES or archive.count > 2 * MOST_CHUNKS:
            raise BadInput(f"{what} has a chunk of {piece.size} bytes, or too many of them")
        chunks[number] = Chunk(piece, None)
        return
    text = piece.read(0, min(piece.size, MOST_CHECKSUM)).decode(errors="replace").strip()
    if before is None or before.checksum is not None or not _SUMS[checksum].fullmatch(text):
        raise BadInput(f"{what} has a checksum that belongs to no chunk, or is none: {disk}/{number}")
    chunks[number] = Chunk(before.piece, (checksum, text))

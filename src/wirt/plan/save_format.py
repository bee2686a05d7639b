"""The frame of a saved guest's file, version 1: what stands where, and which of it may be believed.

::

    prefix   magic "WIRTSAVE", version, reserved, length and SHA-256 of the header
    header   JSON: who it was (plan/saved.py)
    chunk*   "CHNK", codec, bytes unpacked and packed, SHA-256 of the packed ones; then those
    tail     "TAIL", length and SHA-256; JSON: what its disks were once its memory was out
    end      magic "WIRTDONE", chunks, bytes of memory, offset of the tail, bytes of the file,
             SHA-256 of all that stands before it

Numbers are big-endian. Everything is bounded, and nothing is used before its checksum was compared. A checksum is
no signature: whoever can write the file can write another guest.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from wirt.model.errors import CorruptState
from wirt.model.units import MIB

MAGIC, DONE = b"WIRTSAVE", b"WIRTDONE"
VERSION = 1
CHUNK_BYTES = MIB
"""Of memory in one chunk, at most."""
MOST_HEADER, MOST_TAIL = 4 * MIB, MIB
STORED, ZSTD = 0, 1
PREFIX = struct.Struct(">8sHHI32s")
CHUNK = struct.Struct(">4sB3xII32s")
TAIL = struct.Struct(">4sI32s")
END = struct.Struct(">8sQQQQ32s")
_CHUNK_TAG, _TAIL_TAG = b"CHNK", b"TAIL"
DIGEST = 32
LEAST_FILE = PREFIX.size + TAIL.size + END.size


@dataclass(frozen=True, slots=True)
class Chunk:
    codec: int
    plain: int
    packed: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class End:
    chunks: int
    plain: int
    tail_at: int
    file_bytes: int
    digest: bytes


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def prefix(header: bytes) -> bytes:
    return PREFIX.pack(MAGIC, VERSION, 0, len(header), digest(header)) + header


def chunk(number: int, codec: int, plain: int, packed: bytes) -> bytes:
    return CHUNK.pack(_CHUNK_TAG, codec, plain, len(packed), _chunk_digest(number, packed))


def tail(data: bytes) -> bytes:
    return TAIL.pack(_TAIL_TAG, len(data), digest(data)) + data


def end(chunks: int, plain: int, tail_at: int, file_bytes: int) -> bytes:
    """Without its digest, which covers this as well."""
    return END.pack(DONE, chunks, plain, tail_at, file_bytes, bytes(DIGEST))[:-DIGEST]


def read_prefix(data: bytes, file_bytes: int, what: str) -> tuple[int, bytes]:
    """Length and digest of the header. ``CorruptState`` says what is wrong, and where."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise CorruptState(f"{what} is no saved guest: it does not begin as one", hint="wirt save makes them")
    if file_bytes < LEAST_FILE or len(data) < PREFIX.size:
        raise truncated(what, file_bytes)
    _, version, reserved, length, said = PREFIX.unpack(data[: PREFIX.size])
    if version != VERSION:
        raise CorruptState(f"{what} is of version {version}; this wirt knows {VERSION}", hint="use a newer wirt")
    if reserved != 0:
        raise damaged(what, len(MAGIC), "something is where nothing should be")
    if length > MOST_HEADER:
        raise damaged(what, len(MAGIC), f"a header of {length} bytes")
    if length > file_bytes - LEAST_FILE:
        raise truncated(what, file_bytes)
    return length, said


def read_end(data: bytes, file_bytes: int, header_length: int, what: str) -> End:
    if len(data) != END.size or not data.startswith(DONE):
        raise truncated(what, file_bytes)
    _magic, chunks, plain, tail_at, said_bytes, said = END.unpack(data)
    at = file_bytes - END.size
    if said_bytes != file_bytes:
        raise damaged(what, at, f"it says that the file has {said_bytes} bytes, and there are {file_bytes}")
    if not PREFIX.size + header_length <= tail_at <= at - TAIL.size:
        raise damaged(what, at, f"it says that its tail is at {tail_at}")
    if plain > chunks * CHUNK_BYTES or chunks > tail_at // CHUNK.size:
        raise damaged(what, at, f"it says that {plain} bytes are in {chunks} chunks")
    return End(chunks, plain, tail_at, file_bytes, said)


def read_tail(data: bytes, end_: End, what: str) -> bytes:
    """``data`` is all between the last chunk and the end."""
    tag, length, said = TAIL.unpack_from(data)
    content = data[TAIL.size :]
    if tag != _TAIL_TAG or length != len(content) or length > MOST_TAIL or digest(content) != said:
        raise damaged(what, end_.tail_at, "its tail is not what was written")
    return content


def read_chunk(data: bytes, at: int, room: int, what: str) -> Chunk:
    """``room``: bytes that are left for it before the tail."""
    if len(data) < CHUNK.size:
        raise damaged(what, at, "a chunk is cut off")
    tag, codec, plain, packed, said = CHUNK.unpack(data)
    if tag != _CHUNK_TAG or codec not in (STORED, ZSTD) or data[5:8] != bytes(3):
        raise damaged(what, at, "no chunk of memory is here")
    if not 0 < plain <= CHUNK_BYTES or not 0 < packed <= min(plain, room - CHUNK.size):
        raise damaged(what, at, f"a chunk of {packed} bytes that hold {plain}")
    if codec == STORED and packed != plain:
        raise damaged(what, at, f"a chunk of {packed} bytes that hold {plain}")
    return Chunk(codec, plain, packed, said)


def check_chunk(number: int, found: Chunk, packed: bytes, at: int, what: str) -> None:
    if len(packed) != found.packed or _chunk_digest(number, packed) != found.digest:
        raise damaged(what, at, "a chunk's checksum is another")


def _chunk_digest(number: int, packed: bytes) -> bytes:
    """With its place, so that chunks can't change places."""
    summed = hashlib.sha256(number.to_bytes(8, "big"))
    summed.update(packed)
    return summed.digest()


def truncated(what: str, file_bytes: int) -> CorruptState:
    return CorruptState(
        f"{what} is cut off: it ends after {file_bytes} bytes, and its end is not there",
        hint="it was not copied wholly, perhaps; compare its size with the original's",
    )


def damaged(what: str, at: int, how: str) -> CorruptState:
    return CorruptState(f"{what} is damaged at byte {at}: {how}", hint="restore it from another copy")

"""One header of a tar archive (POSIX.1-2008, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar
Format").

Only plain files are read: what could lead elsewhere (links, devices, sparse maps) is refused, not skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wirt.model.errors import BadInput
from wirt.model.text import plain

BLOCK = 512
MOST_NAME = 512
MOST_EXTENDED_BYTES = 64 * 1024
_MOST_SIZE = 1 << 62


class Member(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    EXTENDED = "pax header"
    """Of the member that follows: path and size."""
    GLOBAL = "global pax header"
    LONG_NAME = "long name"
    """The name of the member that follows (GNU)."""


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    size: int
    kind: Member


_KINDS = {
    b"0": Member.FILE,
    b"\0": Member.FILE,
    b"7": Member.FILE,
    b"5": Member.DIRECTORY,
    b"x": Member.EXTENDED,
    b"g": Member.GLOBAL,
    b"L": Member.LONG_NAME,
}
_REFUSED = {b"1": "link", b"2": "symbolic link", b"3": "device", b"4": "device", b"6": "pipe", b"S": "sparse file"}


def parse(block: bytes, what: str) -> Header | None:
    """``None`` for the zeroes at the end. ``BadInput`` says what is wrong in ``what``."""
    if len(block) != BLOCK:
        raise BadInput(f"{what} ends in the middle of a member's header: it is not whole")
    if not any(block):
        return None
    said = _number(block[148:156], what)
    if said != sum(block[:148]) + sum(block[156:]) + 8 * ord(" "):
        raise BadInput(f"{what} is damaged: a member's header does not match its checksum")
    name = _word(block[:100])
    if block[257:263] in (b"ustar\0",) and block[345:500].rstrip(b"\0"):
        name = f"{_word(block[345:500])}/{name}"
    flag = block[156:157]
    if flag not in _KINDS:
        kind = _REFUSED.get(flag, f"member of the kind {plain(repr(flag))}")
        raise BadInput(f"{what} holds a {kind}, {plain(name, 100)}, which no appliance needs")
    return Header(name, _number(block[124:136], what), _KINDS[flag])


def check_name(name: str, what: str) -> str:
    """``name`` without a ``./`` before it. ``BadInput`` unless it stays where it is."""
    name = name.removeprefix("./")
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ".." in parts:
        raise BadInput(f"{what} names {plain(name, 100)}, which leads out of it")
    if not name or len(name) > MOST_NAME or not name.isprintable() or "\\" in name or "" in parts or "." in parts:
        raise BadInput(f"{what} names {plain(name, 100)!r}, which is no name for a file")
    return name


def extended(data: bytes, what: str) -> dict[str, str]:
    """The records of a pax header: ``LENGTH KEY=VALUE`` and a newline."""
    found: dict[str, str] = {}
    while data:
        digits, blank, _ = data.partition(b" ")
        if not blank or not digits.isdigit() or len(digits) > 6:
            raise BadInput(f"{what} is damaged: a pax header can't be understood")
        length = int(digits)
        record, data = data[len(digits) + 1 : length], data[length:]
        key, equals, value = record.partition(b"=")
        if length <= len(digits) + 3 or not equals or not value.endswith(b"\n"):
            raise BadInput(f"{what} is damaged: a pax header can't be understood")
        found[key.decode(errors="replace")] = value[:-1].decode(errors="replace")
    if any(key.startswith("GNU.sparse") for key in found):
        raise BadInput(f"{what} holds a sparse file, which no appliance needs")
    return found


def size_of(text: str, what: str) -> int:
    """A size as a pax header says it."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _MOST_SIZE:
        raise BadInput(f"{what} says that a member has {plain(text, 40)} bytes, which can't be")
    return int(text)


def _word(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="replace")


def _number(data: bytes, what: str) -> int:
    """Octal digits, or with the highest bit set a binary number (GNU)."""
    if data[0] & 0x80:
        value = int.from_bytes(bytes([data[0] & 0x7F]) + data[1:], "big")
    else:
        digits = data.strip(b" \0")
        if not all(byte in b"01234567" for byte in digits):
            raise BadInput(f"{what} is damaged: a number in a member's header is none")
        value = int(digits or b"0", 8)
    if value > _MOST_SIZE:
        raise BadInput(f"{what} says that a member has {value} bytes, which can't be")
    return value

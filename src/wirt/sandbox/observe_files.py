"""What a process has open and has in sight: descriptors, sockets, mounts.

Sources: proc(5) (fd, fdinfo, mountinfo, net), unix(7), Documentation/networking/proc_net_tcp.rst, tun's fdinfo
(Linux, drivers/net/tun.c, tun_chr_show_fdinfo).
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wirt.plan.observed import FileKind, Mount, OpenFile, OpenSocket, file_identity
from wirt.ports.files import about
from wirt.sandbox.observe_rights import link, names, read

MOST_FILES = 20_000
MOST_MOUNTS = 10_000
MOST_SOCKETS = 200_000
_MODES = {os.O_RDONLY: "read", os.O_WRONLY: "write", os.O_RDWR: "read-write"}
_O_PATH = 0o10000000
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_INTERNET = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6")
_TCP_LISTEN = 0x0A
_UNIX_LISTENS = 0x10000
_KINDS = (
    (stat.S_ISREG, FileKind.REGULAR),
    (stat.S_ISBLK, FileKind.BLOCK),
    (stat.S_ISCHR, FileKind.CHARACTER),
    (stat.S_ISDIR, FileKind.DIRECTORY),
    (stat.S_ISFIFO, FileKind.PIPE),
    (stat.S_ISSOCK, FileKind.SOCKET),
)


def files(pid: int, known: Sequence[str] = ()) -> tuple[OpenFile, ...]:
    """One that is closed meanwhile is left out. Which of the ``known`` paths is the same file is told too: a name
    alone says little of a file that was moved."""
    identities = _identities(known)
    numbers = sorted(int(name) for name in names(f"/proc/{pid}/fd"))
    if len(numbers) > MOST_FILES:
        raise ValueError("too many descriptors")
    found = []
    for number in numbers:
        try:
            found.append(_file(pid, number, identities))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return tuple(found)


def _identities(paths: Sequence[str]) -> Mapping[tuple[int, int], tuple[str, ...]]:
    found: dict[tuple[int, int], tuple[str, ...]] = {}
    for path in dict.fromkeys(paths):
        try:
            there = about(path)
        except OSError:
            continue
        key = (there.device, there.inode)
        found[key] = (*found.get(key, ()), path)
    return found


def _file(pid: int, number: int, identities: Mapping[tuple[int, int], tuple[str, ...]]) -> OpenFile:
    place = f"/proc/{pid}/fd/{number}"
    target = link(place)
    found = about(place)
    info = dict(_pairs(read(f"/proc/{pid}/fdinfo/{number}")))
    flags = int(info["flags"], 8)
    return OpenFile(
        number=number,
        target=target,
        kind=_kind(found.mode, target),
        access=_access(flags),
        inode=found.inode,
        same_as=identities.get((found.device, found.inode), ()),
        tap=info.get("iff"),
        identity=file_identity(found.mode, found.device, found.inode, found.special),
    )


def _access(flags: int) -> str:
    if flags & _O_PATH:
        return "path"
    mode = _MODES.get(flags & os.O_ACCMODE, "read-write")
    return "append" if mode == "write" and flags & os.O_APPEND else mode


def _kind(mode: int, target: str) -> FileKind:
    if target.startswith("anon_inode:"):
        return FileKind.ANONYMOUS
    if target.startswith("/memfd:"):
        return FileKind.MEMORY
    return next((kind for test, kind in _KINDS if test(mode)), FileKind.OTHER)


def _pairs(text: bytes) -> Iterator[tuple[str, str]]:
    for line in os.fsdecode(text).splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name, value.strip()


def sockets(pid: int, files: tuple[OpenFile, ...]) -> tuple[OpenSocket, ...]:
    """Every socket that the process holds. A socket belongs to the network namespace that it was made in: the
    process's own, or ours for one that was handed over. One in neither is of family ``unknown``."""
    held: dict[int, list[int]] = {}
    for file in files:
        match = _SOCKET.fullmatch(file.target)
        if match is not None:
            held.setdefault(int(match[1]), []).append(file.number)
    known = {**_table("thread-self"), **_table(str(pid))}
    return tuple(
        _with(known.get(inode, OpenSocket("unknown", "", listening=False)), numbers)
        for inode, numbers in sorted(held.items())
    )


def listening(pid: int) -> tuple[OpenSocket, ...]:
    """Internet sockets that wait for the world in the process's network namespace, whoever holds them. In a
    namespace that is ours too, only the process's own."""
    table = _table(str(pid))
    if _namespace(str(pid)) == _namespace("thread-self"):
        held = {inode for inode in map(_inode, _links(pid)) if inode is not None}
        table = {inode: each for inode, each in table.items() if inode in held}
    return tuple(each for _, each in sorted(table.items()) if each.listening and each.family != "unix")


def network_devices(pid: int) -> tuple[str, ...]:
    lines = os.fsdecode(read(f"/proc/{pid}/net/dev")).splitlines()[2:]
    return tuple(line.rpartition(":")[0].strip() for line in lines if ":" in line)


def _namespace(whose: str) -> str:
    return link(f"/proc/{whose}/ns/net")


def _links(pid: int) -> Iterator[str]:
    for name in names(f"/proc/{pid}/fd"):
        try:
            yield link(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue


def _inode(target: str) -> int | None:
    match = _SOCKET.fullmatch(target)
    return int(match[1]) if match is not None else None


def _with(found: OpenSocket, numbers: list[int]) -> OpenSocket:
    return OpenSocket(found.family, found.name, found.listening, tuple(numbers))


def _table(whose: str) -> dict[int, OpenSocket]:
    """The sockets of a process's network namespace, by inode."""
    found: dict[int, OpenSocket] = {}
    for inode, each in _lines(whose):
        if len(found) >= MOST_SOCKETS:
            raise ValueError("too many sockets")
        found[inode] = each
    return found


def _lines(whose: str) -> Iterator[tuple[int, OpenSocket]]:
    for line in _net(whose, "unix"):
        fields = line.split(b" ", 7) if b"  " not in line else line.split(None, 7)
        if len(fields) >= 7 and fields[6].isdigit():
            name = os.fsdecode(fields[7]) if len(fields) > 7 else ""
            yield int(fields[6]), OpenSocket("unix", name, bool(int(fields[3], 16) & _UNIX_LISTENS))
    for family in _INTERNET:
        for line in _net(whose, family):
            fields = line.split()
            if len(fields) > 9:
                waits = int(fields[3], 16) == _TCP_LISTEN or (family[:3] != "tcp" and fields[2].endswith(b":0000"))
                yield int(fields[9]), OpenSocket(family.rstrip("6"), _address(fields[1]), waits)
    for family, column in (("packet", 8), ("netlink", 9)):
        for line in _net(whose, family):
            fields = line.split()
            if len(fields) > column and fields[column].isdigit():
                yield int(fields[column]), OpenSocket(family, "", listening=False)


def _net(whose: str, table: str) -> list[bytes]:
    """Without the heading; none where the kernel has no such table."""
    try:
        return _whole(f"/proc/{whose}/net/{table}").splitlines()[1:]
    except FileNotFoundError:
        return []


def _whole(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MOST_SOCKETS * 100)


def _address(word: bytes) -> str:
    """``0100007F:1F90 -> 127.0.0.1:8080``: words of 32 bits in the host's order."""
    address, _, port = word.decode().partition(":")
    packed = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    text = socket.inet_ntop(family, packed)
    return f"{text}:{int(port, 16)}" if family == socket.AF_INET else f"[{text}]:{int(port, 16)}"


def mounts(pid: int) -> tuple[Mount, ...]:
    """What its mount namespace shows it, from its root."""
    lines = _whole(f"/proc/{pid}/mountinfo").splitlines()
    if len(lines) > MOST_MOUNTS:
        raise ValueError("too many mounts")
    return tuple(_mount(line) for line in lines)


def _mount(line: bytes) -> Mount:
    """A mount is written to only if neither it nor its file system is read-only."""
    before, _, after = line.partition(b" - ")
    fields, kind = before.split(b" "), after.split(b" ")
    options = {*fields[5].split(b","), *kind[2].split(b",")}
    point = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), fields[4])
    return Mount(os.fsdecode(point), b"ro" not in options, os.fsdecode(kind[0]))

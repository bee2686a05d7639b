"""What a running domain's process has open and in sight, compared with its jail. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from wirt.plan.findings import Finding, few, judged, unseen
from wirt.plan.jail import Access
from wirt.plan.observed import FileKind, Mount, Observed, OpenFile, OpenSocket, Planned, PlannedFile

RUN_SOCKETS = ("control.sock", "events.sock", "console.sock", "agent.sock")
LOG = "qemu.log"
TUN, KVM = "/dev/net/tun", "/dev/kvm"
HARMLESS_ANONYMOUS = ("eventfd", "eventpoll", "signalfd", "timerfd", "inotify")
_KVM_ANONYMOUS = ("kvm-",)
_ALWAYS = ("/dev/null", "/dev/urandom")
_ACCESSES = {
    Access.READ: ("read",),
    Access.WRITE: ("read-write", "read", "write"),
    Access.APPEND: ("append",),
}
_ON_DISK = (FileKind.REGULAR, FileKind.BLOCK, FileKind.CHARACTER, FileKind.DIRECTORY)


def in_sight(planned: Planned, seen: Observed) -> Iterator[Finding]:
    if seen.mounts is None:
        yield unseen("mounts", "its libraries and firmware", seen.unseen.get("mounts", ""))
        return
    strange = [mount for mount in seen.mounts if not _shown(planned, mount.point)]
    count = len(seen.mounts)
    found = f"{count}, of which strange: {few(mount.point for mount in strange)}" if strange else str(count)
    yield judged(
        "mounts",
        found,
        "its own files, libraries, firmware",
        wider=bool(strange),
        details=map(_mount, seen.mounts),
    )
    writable = [mount.point for mount in seen.mounts if mount.writable]
    extra = [point for point in writable if point not in planned.devices]
    yield judged("writable places", few(writable), few(planned.devices), wider=bool(extra), details=writable)


def _shown(planned: Planned, point: str) -> bool:
    return point == "/" or _within(point, (*planned.visible, *planned.devices))


def _within(path: str, places: tuple[str, ...]) -> bool:
    return path in places or any(str(parent) in places for parent in PurePosixPath(path).parents)


def _mount(mount: Mount) -> str:
    return f"{mount.point} ({mount.kind}, {'writable' if mount.writable else 'read-only'})"


def descriptors(planned: Planned, seen: Observed, taps: frozenset[str], user_cards: int) -> Iterator[Finding]:
    """``taps`` are those that were handed to it, ``user_cards`` how many cards it has in user mode."""
    if seen.files is None:
        yield unseen("open files", "its disks and logs", seen.unseen.get("files", ""))
        return
    yield _files(planned, seen.files)
    yield _taps(seen.files, taps)
    yield _kvm(planned, seen.files)
    yield _anonymous(planned, seen.files)
    if seen.sockets is None:
        yield unseen("sockets", "monitor, events, console, agent", seen.unseen.get("sockets", ""))
    else:
        yield _sockets(planned, seen.sockets, user_cards)


def _files(planned: Planned, files: tuple[OpenFile, ...]) -> Finding:
    here = [f for f in files if f.kind in _ON_DISK and not _special(f)]
    strange = [file for file in here if not _planned(planned, file)]
    details = [f"{file.target} ({file.access})" for file in here]
    found = (
        f"{len(here)}, of which strange: {few(map(_told, strange))}" if strange else f"{len(here)}, all its own"
    )
    return judged("open files", found, "its disks and logs", wider=bool(strange), details=details)


def _told(file: OpenFile) -> str:
    return f"{file.target} ({file.access})"


def _special(file: OpenFile) -> bool:
    return file.kind is FileKind.CHARACTER and (file.target in (TUN, KVM) or file.tap is not None)


def _planned(planned: Planned, file: OpenFile) -> bool:
    """By its name, or by being the very file: a disk may have been moved or removed under its run. What is shown
    to it read-only it may read: its firmware, its libraries."""
    if file.kind is FileKind.CHARACTER and file.target in (*_ALWAYS, *planned.devices):
        return True
    names = {file.target, file.target.removesuffix(" (deleted)"), *file.same_as}
    if f"{planned.directory}/{LOG}" in names and file.access in ("write", "append"):
        return True
    if file.kind is FileKind.REGULAR and file.access == "read" and _within(file.target, planned.visible):
        return True
    return any(_is(each, file, names) and file.access in _ACCESSES[each.access] for each in planned.handed)


def _is(each: PlannedFile, file: OpenFile, names: set[str]) -> bool:
    """A disk's layer gets other names in its life, and its name may become another's."""
    if each.identity and file.identity:
        return each.identity == file.identity
    return each.path in names


def _taps(files: tuple[OpenFile, ...], taps: frozenset[str]) -> Finding:
    """A tun descriptor without a device could make one."""
    held = [file.tap or "one without a device" for file in files if file.target == TUN or file.tap is not None]
    wider = not set(held) <= taps
    return judged("taps", few(sorted(held), 8), few(sorted(taps), 8), wider=wider, details=held)


def _kvm(planned: Planned, files: tuple[OpenFile, ...]) -> Finding:
    held = [file.target for file in files if file.target == KVM]
    found = "open" if held else "not open"
    return judged("kvm", found, "open" if planned.kvm else "not open", wider=bool(held) and not planned.kvm)


def _anonymous(planned: Planned, files: tuple[OpenFile, ...]) -> Finding:
    """Grouped by what they are; those through which more than the process itself can be reached are named."""
    counts: dict[str, int] = {}
    strange: list[str] = []
    for file in files:
        name = _group(file)
        if name is None:
            continue
        counts[name] = counts.get(name, 0) + 1
        if not _harmless(planned, file, name):
            strange.append(file.target)
    found = f"strange: {few(strange)}" if strange else few((f"{n} {name}" for name, n in counts.items()), 6)
    details = [f"{name}: {count}" for name, count in counts.items()]
    return judged("other descriptors", found, "events and timers", wider=bool(strange), details=details)


def _group(file: OpenFile) -> str | None:
    if file.kind is FileKind.ANONYMOUS:
        return file.target.removeprefix("anon_inode:").strip("[]").partition(":")[0]
    if file.kind in (FileKind.MEMORY, FileKind.PIPE, FileKind.OTHER):
        return str(file.kind)
    return None


def _harmless(planned: Planned, file: OpenFile, name: str) -> bool:
    if file.kind is FileKind.MEMORY:
        return True
    if file.kind is not FileKind.ANONYMOUS:
        return False
    if name == "io_uring":
        return planned.io_uring
    return name in HARMLESS_ANONYMOUS or (planned.kvm and name.startswith(_KVM_ANONYMOUS))


def _sockets(planned: Planned, sockets: tuple[OpenSocket, ...], user_cards: int) -> Finding:
    """Its three, connections to them, and for each card in user mode one to passt, which has no name."""
    unnamed = [each for each in sockets if each.family == "unix" and not each.name]
    strange = [each for each in sockets if not _own(planned, each, user_cards)]
    if len(unnamed) > user_cards:
        strange += unnamed[user_cards:]
    details = [_socket(each) for each in sockets]
    found = f"strange: {few(map(_socket, strange))}" if strange else f"{len(sockets)}, all its own"
    return judged("sockets", found, "monitor, events, console, agent", wider=bool(strange), details=details)


def _own(planned: Planned, each: OpenSocket, user_cards: int) -> bool:
    if each.family == "unix":
        return not each.name or PurePosixPath(each.name).name in RUN_SOCKETS
    return not planned.private_network and user_cards > 0 and each.family in ("tcp", "udp", "raw")


def _socket(each: OpenSocket) -> str:
    return f"{each.family} {each.name or 'without a name'}{', listening' if each.listening else ''}"

"""A jail plan as bwrap's command line: a pure function, held by golden files. Options follow bwrap(1) 0.8.

As root no user namespace is made: bwrap builds the jail with the daemon's rights, keeps just the three
capabilities with which setpriv(1) then takes on the run's own uid, and setpriv gives those up with all others
before QEMU starts. Without root a user namespace stands in, inside which there is nothing to become.

QEMU is process 1 of its namespace (``--as-pid-1``), so whatever it starts ends with it, and no process of root's
is in there with it. There is neither /proc nor /sys nor any place to write. ``--die-with-parent`` is not given:
guests outlive the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from wirt.plan.jail import JailPlan

_OPEN_DIRECTORY = "0755"


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the two programs lie. ``linked``: what is a link on this host and so has to be one in the jail
    (``/lib``) and where it leads to (``usr/lib``)."""

    bwrap: str
    setpriv: str
    linked: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ends:
    """Descriptors for bwrap alone; it closes them before the program starts. ``copies`` are the files that are
    copied into the jail, by their path there."""

    status: int
    gate: int
    filter: int | None
    copies: Mapping[str, int] = field(default_factory=dict)


def command_line(
    plan: JailPlan, argv: Sequence[str], uid: int | None, tools: Tools, ends: Ends
) -> tuple[str, ...]:
    """``argv`` in the jail of ``plan``, as ``uid`` (``None``: the caller's own)."""
    return (
        tools.bwrap,
        *_namespaces(plan, uid),
        *_rights(uid),
        *_root(plan, tools, ends, uid),
        *("--chdir", "/", "--clearenv"),
        *(("--seccomp", str(ends.filter)) if ends.filter is not None else ()),
        *("--json-status-fd", str(ends.status), "--block-fd", str(ends.gate)),
        "--",
        *(_become(uid, plan.groups, tools) if uid is not None else ()),
        *argv,
    )


def _namespaces(plan: JailPlan, uid: int | None) -> Iterator[str]:
    yield from ("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if plan.private_network:
        yield "--unshare-net"
    if uid is None:
        yield from ("--unshare-user", "--disable-userns")
    yield from ("--hostname", "wirt")


def _rights(uid: int | None) -> Iterator[str]:
    yield from ("--cap-drop", "ALL")
    if uid is not None:
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            yield from ("--cap-add", capability)


def _root(plan: JailPlan, tools: Tools, ends: Ends, uid: int | None) -> Iterator[str]:
    """Directories first, and open to all: those that bwrap makes by itself only root could enter."""
    own = (plan.program, *((tools.setpriv,) if uid is not None else ()))
    shown = frozenset((*plan.shown, *own))
    links = dict(tools.linked)
    for directory in _ancestors((*shown, *plan.copied, *plan.devices)):
        if directory not in links and not _within(directory, shown):
            yield from ("--perms", _OPEN_DIRECTORY, "--dir", directory)
    for link, target in tools.linked:
        yield from ("--symlink", target, link)
    for path in sorted(shown):
        if not _within(path, shown):
            yield from ("--ro-bind", path, path)
    for path in plan.copied:
        yield from ("--perms", "0444", "--ro-bind-data", str(ends.copies[path]), path)
    for device in plan.devices:
        yield from ("--dev-bind", device, device)
    yield from ("--remount-ro", "/")


def _within(path: str, places: frozenset[str]) -> bool:
    """Whether a directory above ``path`` is shown as a whole."""
    return any(str(parent) in places for parent in PurePosixPath(path).parents)


def _ancestors(places: Iterable[str]) -> list[str]:
    found = {str(parent) for place in places for parent in PurePosixPath(place).parents}
    return sorted(found - {"/"})


def _become(uid: int, groups: Sequence[int], tools: Tools) -> Iterator[str]:
    yield from (tools.setpriv, "--reuid", str(uid), "--regid", str(uid))
    if groups:
        yield from ("--groups", ",".join(map(str, groups)))
    else:
        yield "--clear-groups"
    yield from ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--")

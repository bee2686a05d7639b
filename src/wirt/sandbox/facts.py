"""What this host allows a jail to be, with a sentence each for ``wirt info``."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wirt.model.errors import Unavailable
from wirt.model.units import MIB
from wirt.plan.jail import UID_BASE, JailHost, JailPlan, Limits, Uids
from wirt.ports.process import finish
from wirt.ports.sandbox import Claim, Outcome
from wirt.sandbox import bubblewrap, cgroups
from wirt.sandbox.bubblewrap import Ends, Tools
from wirt.sandbox.cgroups import Hierarchies

TRY_S = 10.0
RESOLVER = "/etc/resolv.conf"
_LINKS = ("/bin", "/lib", "/lib64", "/sbin")
_CAPABILITIES = {
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
}
"""Numbers of linux/capability.h."""


def tools() -> Tools:
    bwrap, setpriv = shutil.which("bwrap"), shutil.which("setpriv")
    if bwrap is None or setpriv is None:
        missing = "bwrap" if bwrap is None else "setpriv"
        raise Unavailable(f"{missing} is not installed", hint="apt-get install bubblewrap util-linux")
    links = ((path, str(Path(path).readlink())) for path in _LINKS if Path(path).is_symlink())
    return Tools(bwrap, str(Path(setpriv).resolve()), tuple(links))


def may_be_root() -> bool:
    """Whether this process may build jails as root does; uid 0 alone does not say so, in a container."""
    return os.geteuid() == 0 and _have(("CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_SYS_ADMIN"))


def mounts_stay() -> bool:
    """Whether what this process mounts is there for whoever comes after it: a daemon that systemd or ip-netns(8)
    gave a mount namespace of its own takes its mounts along, and with them the sockets of its guests. One that
    shares its parent's, or the first process's, does not."""
    own = Path("/proc/self/ns/mnt").readlink()
    for other in (os.getppid(), 1):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{other}/ns/mnt").readlink() == own:
                return True
    return False


def _have(names: Sequence[str]) -> bool:
    effective = 0
    for line in _text(Path("/proc/self/status")).splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    return all(effective >> _CAPABILITIES[name] & 1 for name in names)


def hierarchies() -> Hierarchies:
    """Those control groups that this process can really make groups in."""
    found = cgroups.find(_text(cgroups.MOUNTS), _text(cgroups.OWN))
    usable = [(name, base) for name, base in found.by_controller if _can_make(base)]
    return Hierarchies(_unified(found.unified), tuple(usable))


def _unified(own: Path | None) -> Path | None:
    """The daemon's own group, or, when it shares that with others, as in a login's session, the top of the tree:
    it alone may have processes and children with limits (cgroup-v2.rst, "No Internal Process Constraint")."""
    if own is None:
        return None
    top = cgroups.top(own)
    return next((base for base in dict.fromkeys((own, top)) if _can_make(base) and cgroups.hands_down(base)), None)


def _can_make(base: Path) -> bool:
    trial = base / f"wirt-trial-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


def jail_host(program: str, names: Sequence[str], *, root: bool) -> JailHost:
    # QEMU looks for its modules and tables beside itself, and without /proc it has but its name to go by.
    program = str(Path(program).resolve())
    _refuse_script(program)
    return JailHost(
        root=root,
        program=program,
        program_files=tuple(program_files(program)),
        kvm_group=_kvm_group(),
        resolver=RESOLVER if Path(RESOLVER).exists() else None,
        unreadable=frozenset(name for name in names if not _readable_by_all(Path(name))) if root else frozenset(),
    )


def _refuse_script(program: str) -> None:
    with contextlib.suppress(OSError), Path(program).open("rb") as file:
        if file.read(2) == b"#!":
            raise Unavailable(
                f"{program} is a script, and a jail has nothing that could run it",
                hint='name QEMU itself (qemu = ... in wirt.toml, WIRT_QEMU), or do without jails: jail = "off"',
            )


def program_files(program: str) -> Iterator[str]:
    """Libraries, firmware and tables that ``program`` may read: its installation's and the system's libraries, as
    far as they are there. No program but itself."""
    prefix = Path(program).resolve().parent.parent
    library = f"lib/{os.uname().machine}-linux-gnu"
    for root in dict.fromkeys((Path("/usr"), prefix)):
        for name in (library, "lib64", "lib/ipxe", "share/qemu", "share/seabios", "share/OVMF", "share/ovmf"):
            if (root / name).is_dir():
                yield str(root / name)
    for path in ("/lib64", f"/{library}"):
        if Path(path).is_dir() and not Path(path).is_symlink() and not Path(path).parent.is_symlink():
            yield path
    if Path("/etc/ld.so.cache").exists():
        yield "/etc/ld.so.cache"


def _kvm_group() -> int | None:
    try:
        about = Path("/dev/kvm").stat()
    except OSError:
        return None
    wanted = stat.S_IRGRP | stat.S_IWGRP
    return about.st_gid if about.st_mode & wanted == wanted else None


def _readable_by_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return True  # QEMU's own words about a missing file are better than ours


def claims(
    refusal: str | None, found: Hierarchies, *, root: bool, bounded: bool, filtered: bool
) -> tuple[Claim, ...]:
    """Each promise of the jail, and whether it holds here. ``refusal``: as :func:`refusal` has it."""
    return (
        _namespaces(refusal),
        _uid(root=root),
        Claim("capabilities", refusal is None, refusal or "QEMU has none and can gain none (no-new-privs)"),
        _system_calls(filtered=filtered),
        Claim(
            "files", refusal is None, refusal or "QEMU sees its libraries and firmware; disks come as descriptors"
        ),
        *_groups(found),
        _logs(root=root, bounded=bounded),
        _growth(root=root),
        Claim("cores", True, "QEMU leaves no core dump"),
    )


def _namespaces(refusal: str | None) -> Claim:
    said = "QEMU has mounts, processes, network, IPC and host name of its own (the network: see the notes)"
    return Claim("namespaces", refusal is None, refusal or said)


def _uid(*, root: bool) -> Claim:
    if root:
        return Claim("uid", True, f"each run has a uid of its own, from {UID_BASE} on")
    who = os.geteuid()
    return Claim("uid", False, f"all guests run as uid {who}: only root can give each a uid of its own")


def _system_calls(*, filtered: bool) -> Claim:
    if filtered:
        said = (
            "filtered twice: by the jail, which leaves io_uring to disks that it serves, and by QEMU's own sandbox"
        )
        return Claim("system calls", True, said)
    machine = os.uname().machine
    return Claim("system calls", False, f"only QEMU's own filter holds: the jail has none for {machine}")


def _groups(found: Hierarchies) -> Iterator[Claim]:
    for name, what in (("memory", "memory"), ("pids", "number of threads")):
        version = 1 if name in dict(found.by_controller) else 2
        if name in found.controllers:
            yield Claim(name, True, f"the {what} of a run is bounded by a control group (version {version})")
        else:
            beside = "" if name == "memory" else "; a limit on the process stands in (RLIMIT_NPROC)"
            yield Claim(
                name,
                False,
                f"no control group bounds the {what} of a run: none with {name} may be made here{beside}",
            )


def _logs(*, root: bool, bounded: bool) -> Claim:
    if bounded:
        return Claim("logs", True, "what QEMU writes into its logs is bounded by a file system of its own")
    why = "only root can mount it a file system"
    if root:
        why = "a file system that wirtd mounts would go with its mount namespace, which is not the host's"
    return Claim("logs", False, f"a console's log is bounded only while wirtd runs: {why}")


def _growth(*, root: bool) -> Claim:
    said = "no file of a guest's disk can become longer than the disk needs"
    if root and not _have(("CAP_SYS_RESOURCE",)):
        said += "; nor can a running guest's disk be made larger here, for root has no CAP_SYS_RESOURCE"
    return Claim("disk files", True, said)


@dataclass(frozen=True, slots=True)
class Trial:
    """``filter`` is a descriptor with the filter of system calls."""

    program: str
    words: Sequence[str] = ()
    given: bytes = b""
    descriptors: tuple[int, ...] = ()
    filter: int | None = None


async def refusal(tools: Tools, *, root: bool) -> str | None:
    """Why no jail can be built here; ``None`` if /usr/bin/true ran in one."""
    ended = await trial(tools, Trial(shutil.which("true") or "/usr/bin/true"), root=root)
    return None if ended.well else f"no jail can be built here: {ended.words}"


async def trial(tools: Tools, wanted: Trial, *, root: bool) -> Outcome:
    """What became of it in a jail."""
    program = str(Path(wanted.program).resolve())
    plan = JailPlan(
        name="trial",
        directory="/",
        program=program,
        uids=Uids(UID_BASE, 1, 0) if root else None,
        groups=(),
        shown=tuple(program_files(program)),
        copied=(),
        devices=("/dev/null", "/dev/urandom"),
        handed=(),
        private_network=True,
        limits=Limits(64 * MIB, 16, 64, MIB),
    )
    status, gate = os.open("/dev/null", os.O_WRONLY), os.open("/dev/null", os.O_RDONLY)
    try:
        ends = Ends(status, gate, wanted.filter)
        uid = UID_BASE if root else None
        words = bubblewrap.command_line(plan, [program, *wanted.words], uid, tools, ends)
        filters = (wanted.filter,) if wanted.filter is not None else ()
        return await outcome(words, wanted.given, (*wanted.descriptors, status, gate, *filters))
    finally:
        os.close(status)
        os.close(gate)


async def outcome(words: Sequence[str], given: bytes, descriptors: Sequence[int]) -> Outcome:
    try:
        ended = await finish(words, deadline_s=TRY_S, given=given, pass_fds=descriptors)
    except TimeoutError:
        return Outcome(False, f"it did not end within {TRY_S:g} s")
    except OSError as error:
        return Outcome(False, error.strerror or str(error))
    said = " ".join(ended.said.decode(errors="replace").split())[-200:]
    return Outcome(ended.code == 0, said or (f"exit status {ended.code}" if ended.code else ""))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

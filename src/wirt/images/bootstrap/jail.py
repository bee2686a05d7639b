"""The jail that installers run in: ``python -m wirt.images.bootstrap.jail SCRATCH PROGRAM ARGUMENTS``.

Inside, the caller is root of a user namespace whose 65536 uids mean nothing on this host (user_namespaces(7)), so
that packages' scripts, which are anybody's, can do what they must and reach nothing here. The host's files are
there to be read as far as everyone may; only ``SCRATCH`` can be written, as ``/mnt``. The network is the host's,
for the mirrors are there. Everything ends with this process, and this process with the one that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import wirt
from wirt.plan.bootstrap_tools import WORK

UIDS = 65536
ROOTS_BASE = 0x71000000
"""Where root's namespaces begin, which need no entry in /etc/subuid: above what is given to anybody by habit."""

_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_HIDDEN = ("/home", "/root", "/srv", "/media", "/tmp", "/var/tmp", "/run")
_KEPT = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_libc = ctypes.CDLL(None, use_errno=True)


def main(scratch: str, *argv: str) -> int:
    _call("prctl", _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
    own_ready, tell_ready = os.pipe()
    await_map, tell_map = os.pipe()
    ending, _ = life = os.pipe()  # Its other end is closed by this process's end, and by nothing else.
    child = os.fork()
    if child == 0:
        os.dup2(ending, 0)
        for descriptor in (own_ready, tell_map, *life):
            os.close(descriptor)
        _become(scratch, tell_ready, await_map, argv)
    for descriptor in (tell_ready, await_map, ending):
        os.close(descriptor)
    try:
        if os.read(own_ready, 1):
            _map(child)
            os.write(tell_map, b"1")
    finally:
        os.close(tell_map)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def owner() -> int:
    """The uid outside of who is root inside."""
    return ROOTS_BASE if os.geteuid() == 0 else os.geteuid()


def _map(child: int) -> None:
    if os.geteuid() == 0:
        for kind in ("uid", "gid"):
            Path(f"/proc/{child}/{kind}_map").write_text(f"0 {ROOTS_BASE} {UIDS}\n")
        return
    for program, file, own in (
        ("newuidmap", "/etc/subuid", os.getuid()),
        ("newgidmap", "/etc/subgid", os.getgid()),
    ):
        base, count = _range(file)
        words = [program, child, 0, own, 1, 1, base, min(count, UIDS - 1)]
        subprocess.run([str(word) for word in words], check=True, timeout=10)


def _range(file: str) -> tuple[int, int]:
    """The caller's line in subuid(5)."""
    import pwd

    names = {pwd.getpwuid(os.getuid()).pw_name, str(os.getuid())}
    for line in Path(file).read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in names:
            base, _, count = rest.partition(":")
            return int(base), int(count)
    raise SystemExit(f"{file} gives this user no further ids: usermod --add-subuids 100000-165535 USER")


def _become(scratch: str, tell_ready: int, await_map: int, argv: tuple[str, ...]) -> None:
    """In the child; it never returns."""
    try:
        # With the scratch directory's owner still, who alone may reach it where the home is private.
        _call("unshare", _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
        _mount("none", "/", _MS_REC | _MS_PRIVATE)
        _mount(scratch, WORK, _MS_BIND)
        os.write(tell_ready, b"1")
        if not os.read(await_map, 1):
            os._exit(1)
        with contextlib.suppress(PermissionError):
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        first = (sys.executable, "-m", "wirt.images.bootstrap.init")
        os.execvp("bwrap", ["bwrap", *_options(), "--", *first, *argv])
    except BaseException as error:
        print(f"no jail can be made: {error}", file=sys.stderr)  # noqa: T201
    finally:
        os._exit(1)


def _options() -> Iterator[str]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--new-session")
    yield from ("--hostname", "bootstrap", "--cap-add", "ALL", "--ro-bind", "/", "/")
    yield from ("--proc", "/proc", "--dev", "/dev")
    needed = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, Path(wirt.__file__).parent)]
    for place in _HIDDEN:
        if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
            yield from ("--tmpfs", place)
    for path in needed:
        if path.startswith(tuple(f"{place}/" for place in _HIDDEN)):
            yield from ("--ro-bind", path, path)
    yield from ("--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve")
    yield from ("--bind", WORK, WORK, "--chdir", WORK, "--clearenv")
    settings = {"PATH": _PATH, "HOME": WORK, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": "/tmp"}
    settings |= {name: os.environ[name] for name in _KEPT if name in os.environ}
    settings["PYTHONPATH"] = str(Path(wirt.__file__).parents[1])
    for name, value in settings.items():
        yield from ("--setenv", name, value)


def _mount(source: str, target: str, flags: int) -> None:
    _call(f"mount {source}", _libc.mount(source.encode(), target.encode(), None, flags, None))


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def missing() -> list[str]:
    """Programs that a jail takes and that are not here."""
    programs = ["bwrap"] if os.geteuid() == 0 else ["bwrap", "newuidmap", "newgidmap"]
    return [each for each in programs if shutil.which(each) is None]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

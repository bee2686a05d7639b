"""Debian's libvirt as a peer: libvirtd in session mode with its whole state in the workshop, and virsh.

Session mode needs neither systemd nor anything of /etc, and does the least: no security driver, no cgroups, no
virtlogd. Root's libvirtd would be the system's, so root runs it as Debian's own user for guests; for what only the
system's does, see :mod:`bench.rigs.libvirt_system`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.rigs.absence import NotHere
from bench.rigs.guests import Guest
from bench.rigs.processes import CommandFailed, end, kill_guests, started_command, timed_command
from bench.rigs.workshop import Workshop

DAEMON, CLIENT, EMULATOR = "libvirtd", "virsh", "qemu-system-x86_64"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
REMEDY = "tools/setup.sh bench installs it (make bench does so; Debian: libvirt-daemon-system, libvirt-clients)"
USERS = ("libvirt-qemu", "nobody")
START_S = 20.0
QEMU_CONF = 'stdio_handler = "file"\nsecurity_driver = "none"\n'


@dataclass(frozen=True, slots=True)
class Libvirt:
    home: Path
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    user: Mapping[str, object]
    mode: str = "session"

    @property
    def socket(self) -> Path:
        return self.home / "run" / "libvirt-sock"

    @property
    def address(self) -> str:
        """As virsh is told it."""
        return f"qemu+unix:///{self.mode}?socket={self.socket}"

    def command(self, *words: str) -> list[str]:
        return [found(CLIENT), "-q", "-c", self.address, *words]

    def run(self, *words: str) -> float:
        """Seconds that the whole command ``virsh WORDS`` takes."""
        return timed_command(self.command(*words), self.environment, self.user)

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """``virsh WORDS``, not waited for."""
        return started_command(self.command(*words), self.environment, self.user)

    @contextlib.contextmanager
    def cleared(self, name: str) -> Iterator[None]:
        """Whether the block succeeds or fails, no domain ``name`` is left after it."""
        try:
            yield
        finally:
            with contextlib.suppress(CommandFailed):  # there is none, most often
                self.run("destroy", name)

    def qemu_pid(self, name: str) -> int:
        return int((self.home / "run" / "libvirt" / "qemu" / "run" / f"{name}.pid").read_text())

    def define_file(self, guest: Guest, name: str, accelerator: str) -> str:
        """The path of a file that virsh can create ``guest`` from."""
        path = self.home / f"{name}.xml"
        console = self.home / f"{name}.console"
        path.write_text(guest.domain_xml(name, found(EMULATOR), accelerator, console))
        path.chmod(0o644)
        return str(path)


@contextlib.contextmanager
def started(workshop: Workshop) -> Iterator[Libvirt]:
    """``NotHere`` if it is not installed or does not come up; the reason says how to get it."""
    daemon = found(DAEMON)
    found(CLIENT)
    home = workshop.folder("libvirt")
    user = _user()
    environment = _prepare(home, user)
    log = home / "libvirtd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [daemon, "--config", str(home / "libvirtd.conf"), "--pid-file", str(home / "run" / "libvirtd.pid")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=home,
            **user,  # type: ignore[call-overload]
        )
    libvirt = Libvirt(home, process, environment, user)
    try:
        wait_serving(libvirt, log)
        yield libvirt
    finally:
        end(process)
        kill_guests(home)


def found(program: str) -> str:
    path = shutil.which(program, path=PATH)
    if path is None:
        raise NotHere(f"{program} is not installed: {REMEDY}")
    return path


def _user() -> dict[str, object]:
    """Whose libvirtd it is, as Popen takes it: nobody else's than ours, unless we are root."""
    if os.getuid() != 0:
        return {}
    for name in USERS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            groups = os.getgrouplist(name, entry.pw_gid)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
    raise NotHere(f"root's libvirt needs one of the users {', '.join(USERS)}: {REMEDY}")


def _prepare(home: Path, user: Mapping[str, object]) -> dict[str, str]:
    """Everything that a session libvirtd looks for, in ``home``; its environment."""
    folders = {name: home / name for name in ("run", "config", "cache", "data")}
    for folder in (*folders.values(), folders["config"] / "libvirt"):
        folder.mkdir(mode=0o700)
    (home / "libvirtd.conf").write_text(
        f'unix_sock_dir = "{folders["run"]}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
        f'host_uuid = "{uuid.uuid4()}"\n'  # two on one machine are two hosts
    )
    (folders["config"] / "libvirt" / "qemu.conf").write_text(QEMU_CONF)
    if user:
        for path in (home, *home.rglob("*")):
            shutil.chown(path, int(str(user["user"])), int(str(user["group"])))
    return {
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(folders["run"]),
        "XDG_CONFIG_HOME": str(folders["config"]),
        "XDG_CACHE_HOME": str(folders["cache"]),
        "XDG_DATA_HOME": str(folders["data"]),
    }


def wait_serving(libvirt: Libvirt, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(libvirt.socket):
        if libvirt.process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip()[-500:]
            raise NotHere(f"libvirtd is installed and does not serve: {said}")
        time.sleep(0.02)
    # It asks QEMU what it can when it is first asked itself: seconds that belong to no run.
    try:
        libvirt.run("version")
    except CommandFailed as error:
        raise NotHere(f"libvirtd is installed and does not answer: {error}") from error


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True

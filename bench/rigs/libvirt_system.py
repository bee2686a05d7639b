"""Debian's libvirt as the system runs it, which holds its guests to shares and limits; in a mount namespace of its
own, so that nothing of this machine's libvirt is touched (mount_namespaces(7)).

Its guests are in the control group ``/machine``, which goes with it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from bench.rigs.absence import NotHere
from bench.rigs.groups import mount_of
from bench.rigs.libvirt import CLIENT, DAEMON, PATH, QEMU_CONF, Libvirt, found, wait_serving
from bench.rigs.processes import end, kill
from bench.rigs.workshop import Workshop
from wirt.sandbox import facts

GROUP = "machine"
_CONF = QEMU_CONF + 'user = "root"\ngroup = "root"\nnamespaces = []\ncgroup_controllers = [ "cpu" ]\n'
_SCRIPT = """set -e
mount --make-rprivate /
for place in /run /var/lib/libvirt /var/log /var/cache/libvirt; do mount -t tmpfs tmpfs $place; done
mkdir -p /var/lib/libvirt/qemu /var/log/libvirt/qemu
mount --bind "$HOME/etc" /etc/libvirt
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
exec "$@"
"""
"""libvirt 9.0 makes no guests where version 2 of control groups is beside version 1 and has no controllers."""


@contextlib.contextmanager
def started(workshop: Workshop) -> Iterator[Libvirt]:
    """``NotHere`` if it is not installed, does not come up, or we are not root; the reason says what to do."""
    if os.geteuid() != 0:
        raise NotHere("the system's libvirt needs root")
    daemon = found(DAEMON)
    found(CLIENT)
    home = workshop.folder("libvirt-system")
    _prepare(home)
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": str(home)}
    log = home / "libvirtd.log"
    options = ("--config", str(home / "libvirtd.conf"), "--pid-file", str(home / "run" / "libvirtd.pid"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", daemon, *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=home,
        )
    libvirt = Libvirt(home, process, environment, {}, mode="system")
    try:
        wait_serving(libvirt, log)
        yield libvirt
    finally:
        for file in _pid_files(process.pid):
            kill(int(file.read_text()))
        end(process)
        _remove_groups()


def pid_of(libvirt: Libvirt, name: str) -> int:
    """The QEMU's. Its command line tells nothing of whose it is."""
    return next(int(file.read_text()) for file in _pid_files(libvirt.process.pid) if file.stem == name)


def _pid_files(daemon: int) -> list[Path]:
    """As the daemon sees the file system (proc(5))."""
    return [*Path(f"/proc/{daemon}/root/run/libvirt/qemu").glob("*.pid")]


def _prepare(home: Path) -> None:
    for name in ("run", "etc"):
        (home / name).mkdir()
    (home / "libvirtd.conf").write_text(
        f'unix_sock_dir = "{home / "run"}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
        f'host_uuid = "{uuid.uuid4()}"\n'
    )
    (home / "etc" / "qemu.conf").write_text(_CONF)


def group_of_guests() -> Path:
    """Where the CPU shares of all its guests together are. ``NotHere`` where no such group can be made."""
    return _groups()["cpu"] / GROUP


def _groups() -> dict[str, Path]:
    """The mount points of the controllers."""
    places = dict(facts.hierarchies().by_controller)
    if "cpu" not in places:
        raise NotHere("libvirt's shares are measured with version 1 of control groups")
    return {name: mount_of(name, place) for name, place in places.items()}


def _remove_groups() -> None:
    with contextlib.suppress(NotHere):
        for mount in _groups().values():
            place = mount / GROUP
            below = sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True)
            for directory in (*below, place):
                with contextlib.suppress(OSError):
                    directory.rmdir()

"""The files that a bootstrapped system gets beside its packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.config.xlcfg.document import quote

if TYPE_CHECKING:
    from wirt.plan.bootstrap import BootstrapWish

HOST_KEYS_UNIT = "ssh-host-keys.service"
REMOVED = ("etc/ssh/ssh_host_*", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "etc/resolv.conf")
"""What must not be the same in two systems, or was the host's: patterns, from the new root."""

_HOST_KEYS = """\
[Unit]
Description=Make this system's own ssh host keys
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service sshd.service
After=systemd-random-seed.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class File:
    """``path`` is from the new root. ``link``: a symbolic link that leads to ``text``."""

    path: str
    text: str
    mode: int = 0o644
    link: bool = False


def common(wish: BootstrapWish, root_uuid: UUID) -> Iterator[File]:
    """What every distribution of today reads from the same place."""
    yield File("etc/hostname", f"{wish.name}\n")
    yield File("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {wish.name}\n::1 localhost ip6-localhost\n")
    yield File("etc/fstab", f"UUID={root_uuid} / ext4 errors=remount-ro 0 1\n")
    # Empty: systemd makes one at the first boot (machine-id(5), "First boot semantics").
    yield File("etc/machine-id", "", 0o444)
    yield File(f"etc/systemd/system/{HOST_KEYS_UNIT}", _HOST_KEYS)
    yield File("etc/systemd/network/80-wired.network", network(wish))
    yield File("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf", link=True)
    if wish.user:
        yield File(f"etc/sudoers.d/{wish.user}", f"{wish.user} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    elif wish.ssh_keys:
        yield File("root/.ssh/authorized_keys", _lines(wish.ssh_keys), 0o600)


def network(wish: BootstrapWish) -> str:
    """systemd.network(5), of all Ethernet cards."""
    lines = ["[Match]", "Type=ether", "", "[Network]"]
    if wish.network == "dhcp":
        lines.append("DHCP=yes")
    elif wish.network == "static":
        lines.append(f"Address={wish.address}")
        lines += [f"Gateway={wish.gateway}"] if wish.gateway else []
    else:
        lines.append("LinkLocalAddressing=no")
    lines += [f"DNS={each}" for each in wish.dns]
    return _lines(lines)


def inside(wish: BootstrapWish, ssh_unit: str) -> Iterator[tuple[str, ...]]:
    """Commands in the new system."""
    if wish.user:
        yield ("useradd", "--create-home", "--shell", "/bin/bash", wish.user)
        home = f"/home/{wish.user}"
        if wish.ssh_keys:
            yield ("install", "-d", "-m", "700", "-o", wish.user, "-g", wish.user, f"{home}/.ssh")
            script = 'umask 077; printf "%s\\n" "$@" >"$0"'
            yield ("sh", "-c", script, f"{home}/.ssh/authorized_keys", *wish.ssh_keys)
            yield ("chown", f"{wish.user}:{wish.user}", f"{home}/.ssh/authorized_keys")
    units = ("systemd-networkd.service", "systemd-resolved.service", HOST_KEYS_UNIT, ssh_unit)
    for unit in units:  # One by one: systemctl stops at the first that there is not.
        yield ("systemctl", "--quiet", "enable", unit)


def grub_config(words: str, kernel: str, initrd: str, console: str) -> str:
    """What GRUB reads from the new system's own disk: it starts whatever the two links lead to, so that a new
    kernel is the next boot's."""
    unit = console.removeprefix("ttyS") if console.startswith("ttyS") else "0"
    return (
        f"serial --unit={unit} --speed=115200\n"
        "terminal_input serial console\nterminal_output serial console\n"
        "set timeout=1\nset gfxpayload=text\n"
        "menuentry 'Linux' {\n"
        f"  linux /{kernel} {words}\n  initrd /{initrd}\n"
        "}\n"
    )


def grub_start(root_uuid: UUID) -> str:
    """What is built into GRUB: where the rest is."""
    return (
        f"search --no-floppy --fs-uuid --set=root {root_uuid}\n"
        "set prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
    )


@dataclass(frozen=True, slots=True)
class Disk:
    """``target`` as an xl.cfg names it, ``format`` unless the target itself tells."""

    target: str
    format: str | None


def xl_config(wish: BootstrapWish, disk: Disk, words: str, kernel: str | None, initrd: str | None) -> str:
    """The domain's configuration. ``kernel`` and ``initrd`` are paths on the host, of a guest that is entered
    directly."""
    # An empty format would say raw (xl-disk-configuration(5)).
    form = "" if disk.format is None else f"format={disk.format},"
    entry = f"{form}vdev=xvda,access=rw,target={disk.target}"
    lines = [
        f"name    = {quote(wish.name)}",
        f"type    = {quote(wish.type)}",
        f"memory  = {wish.memory_mib}",
        "vcpus   = 1",
    ]
    if kernel is not None and initrd is not None:
        lines += [
            f"kernel  = {quote(kernel)}",
            f"ramdisk = {quote(initrd)}",
            f"cmdline = {quote(words)}",
        ]
    else:
        lines.append('boot    = "c"')
    lines.append(f"disk    = [ {quote(entry)} ]")
    card = "" if kernel is not None else "model=virtio"
    lines.append("vif     = [ ]" if wish.network == "none" else f"vif     = [ {quote(card)} ]")
    return _lines((*lines, 'on_reboot = "restart"'))


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)

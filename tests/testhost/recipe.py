"""What the test host is made of. Every change here, in the modules beside it or in the lock file makes a new
one."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).with_name("guest")
LOCK = ROOT / "requirements-dev.txt"

SUITE = "bookworm"
KERNEL = "linux-image-amd64"
PACKAGES = (
    *("systemd-sysv", "udev", "kmod", "util-linux", "procps", "e2fsprogs", "fdisk", "psmisc"),
    *("lvm2", "thin-provisioning-tools", "nfs-kernel-server", "xfsprogs"),
    *("dbus", "nftables", "iproute2", "iputils-ping", "dnsmasq-base", "busybox-static"),
    *("qemu-system-x86", "qemu-utils", "ovmf", "bubblewrap", "passt"),
    *("openssh-server", "openssh-client", "python3", "python3-venv"),
)
"""Without what they recommend. The kernel is not among them: its package is unpacked, see :mod:`.kernel`."""

MODULES = tuple((GUEST / "modules").read_text().split())
"""Patterns of names. What they need comes along; the other nine tenths of the kernel's modules stay out."""

LOADED = (
    "kvm_amd",
    "tun",
    "loop",
    "bridge",
    "br_netfilter",
    "8021q",
    "vxlan",
    "dm_mod",
    "dm_thin_pool",
    "sch_netem",
)
"""There from the start. Others load when they are asked for."""

FIRST_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
"""In the initramfs."""

PATHS_LEFT_OUT = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/i18n/*"),
    *(
        "/usr/share/lintian/*",
        "/usr/share/bash-completion/*",
        "/usr/share/perl/*/unicore/*",
        "/usr/share/pixmaps/*",
    ),
    *("/usr/bin/qemu-system-i386", "/usr/share/icons/*", "/usr/share/applications/*"),
)

SERVICES_OFF = (
    *("ssh.service", "nfs-server.service", "rpcbind.service", "rpcbind.socket", "nfs-client.target"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty@tty1.service", "remote-fs.target"),
)
"""Tests start what they need; what starts by itself costs every boot."""
MASKED = (
    "systemd-firstboot.service",
    "systemd-update-utmp.service",
    "serial-getty@ttyS0.service",
    "apt-daily.timer",
)

NOT_NEEDED_INSIDE = frozenset({"ruff", "uv", "mypy", "grimp", "import-linter", "pip", "setuptools", "librt"})
"""Of the locked Python packages: what only lints and builds."""

MEMORY_MIB = 2048
USUAL, NODES = "", "nodes"
SHAPES = {
    USUAL: ("-accel", "tcg,tb-size=512", "-smp", "1", "-m", f"{MEMORY_MIB}"),
    NODES: (
        *("-accel", "tcg,tb-size=512,thread=single", "-smp", "4,sockets=2,cores=2", "-m", f"{MEMORY_MIB}"),
        *("-object", f"memory-backend-ram,id=m0,size={MEMORY_MIB // 2}M", "-numa", "node,cpus=0-1,memdev=m0"),
        *("-object", f"memory-backend-ram,id=m1,size={MEMORY_MIB // 2}M", "-numa", "node,cpus=2-3,memdev=m1"),
        *("-numa", "dist,src=0,dst=1,val=20"),
    ),
}
"""Its CPUs and memory. The usual one goes on from the snapshot; another boots first, which takes half a minute.

One CPU: two of them hung guests, each in a thread of its own. Several in one thread (``single``) did not."""
DISK_MIB = 6 * 1024
SCRATCH_MIB = 4 * 1024
PARCEL_MIB = 512
"""The disk by which files come in: the agent's line takes 4 KiB a time, which is slow under emulation."""
COMMAND_LINE = (
    "root=/dev/vda rw console=ttyS0 quiet mitigations=off audit=0 nowatchdog net.ifnames=0 cgroup_no_v1=all "
    "random.trust_cpu=on systemd.show_status=0 rcupdate.rcu_expedited=1"
)


SHAPING = ("commands", "files", "image", "kernel", "qemu", "recipe")
"""The modules here that a finished one depends on; the others only use it."""


def key(qemu: str) -> str:
    """``qemu`` is the version outside: a snapshot is its own."""
    digest = hashlib.sha256(f"{qemu}\0".encode())
    own = [Path(__file__).with_name(f"{name}.py") for name in SHAPING]
    for path in (LOCK, *own, *sorted(path for path in GUEST.iterdir() if path.is_file())):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

"""The tiny guest's initramfs: busybox, our agent, and the modules that its devices need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wirt.images import cpio, kmodules
from wirt.images._process import run

GUEST_SOURCE = Path(__file__).parent / "guest"
_COMPILE_S = 120.0
_COMPILER_FLAGS = (
    *("-D_GNU_SOURCE", "-std=gnu11", "-static", "-pthread", "-Os", "-s"),
    *("-Wall", "-Wextra", "-Werror"),
    "-Wl,--build-id=none",
)

# In the order in which they load, save that what a module needs comes before it. Disk drivers' upper halves come
# before their lower ones, so that disks are there when loading is over.
WANTED_MODULES = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_console",
    "virtio_net",
    "virtio_blk",
    "sd_mod",
    "sr_mod",
    "virtio_scsi",
    "ata_piix",
    "ahci",
    "nvme",
    "e1000",
    "e1000e",
    "8139cp",
    "vmxnet3",
    "xen_netfront",
    "xen_blkfront",
    "virtio_balloon",
    "virtio_mem",
    "virtio_rng",
    "button",
    "evdev",
    "pvpanic_mmio",
    "pvpanic_pci",
    "i6300esb",
)
"""What the guest loads where the kernel has it. Debian's cloud kernel 6.1 has no ahci, e1000, e1000e, 8139cp and
i6300esb at all (its nvme is built in); the ordinary kernel has them all.
An image's manifest lists what is absent."""

_DIRECTORIES = ("bin", "dev", "etc", "modules", "proc", "root", "sys", "tmp")

_PROFILE = """\
hostname=$(busybox hostname)
# The prompt ends its line, so that a tick that follows it starts one.
PS1='[$hostname \\w]
'
echo "wirt-tiny shell: 'ticks off' for quiet, 'wirt stat' for numbers, 'busybox' for all commands"
"""

_UDHCPC = """\
#!/bin/busybox sh
case $1 in
bound | renew)
    busybox ip address replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || busybox ip route replace default via "${router%% *}"
    ;;
esac
"""


@dataclass(frozen=True, slots=True)
class UserSpace:
    """The programs: our agent, busybox, and the names that busybox answers to."""

    agent: bytes
    busybox: bytes
    applets: Sequence[str]


@dataclass(frozen=True, slots=True)
class Modules:
    """Modules in load order with their content, and the wanted ones that the kernel lacks."""

    order: tuple[str, ...]
    content: Mapping[str, bytes]
    absent: tuple[str, ...]


def choose_modules(files: Mapping[str, bytes]) -> Modules:
    """Pick from a kernel package's files (path to content) what `WANTED_MODULES` takes."""
    available = {kmodules.canonical(Path(path).name): content for path, content in files.items()}
    builtin = next((text for path, text in files.items() if path.endswith("/modules.builtin")), b"").decode()
    order = kmodules.load_order(
        WANTED_MODULES,
        available,
        (kmodules.canonical(Path(line).name) for line in builtin.splitlines()),
        lambda name: kmodules.depends(available[name]),
    )
    return Modules(order.modules, {name: available[name] for name in order.modules}, order.absent)


async def compile_agent(output: Path) -> None:
    """Compile the guest's C sources into one static program at `output`."""
    sources = sorted(path.name for path in GUEST_SOURCE.glob("*.c"))
    # Run where the sources are: their paths then say nothing of the directory that wirt is installed in.
    await run(["musl-gcc", *_COMPILER_FLAGS, "-o", output, *sources], cwd=GUEST_SOURCE, timeout_s=_COMPILE_S)


async def list_applets(busybox: bytes, scratch: Path) -> Sequence[str]:
    """The names that busybox answers to; asked of itself."""
    program = scratch / "busybox"
    program.write_bytes(busybox)
    program.chmod(0o755)
    names = await run([program, "--list"], cwd=scratch, timeout_s=10.0)
    return sorted(set(names.split()) - {"busybox"})


def initramfs(programs: UserSpace, modules: Modules) -> bytes:
    """The archive, not compressed: unpacking costs a guest more than reading does (measured under TCG)."""
    entries = [cpio.directory(name) for name in _DIRECTORIES]
    entries += [
        # The kernel opens it before /init can mount /dev.
        cpio.character_device("dev/console", 5, 1),
        cpio.regular("init", programs.agent, 0o755),
        cpio.regular("bin/busybox", programs.busybox, 0o755),
        cpio.symlink("bin/wirt", "/init"),
        cpio.symlink("bin/ticks", "/init"),
        cpio.regular("etc/profile", _PROFILE.encode()),
        cpio.regular("etc/udhcpc", _UDHCPC.encode(), 0o755),
        cpio.regular("modules/order", "".join(f"{name}\n" for name in modules.order).encode()),
    ]
    entries += [cpio.symlink(f"bin/{name}", "busybox") for name in programs.applets]
    entries += [cpio.regular(f"modules/{name}.ko", content) for name, content in modules.content.items()]
    return cpio.archive(entries)

"""What each distribution's own installer is told: mmdebstrap(1), zypper(8) with ``--root``, dnf(8) with
``--installroot``. Paths are those of the jail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirt.model.errors import BadInput
from wirt.plan.bootstrap_files import File

if TYPE_CHECKING:
    from wirt.plan.bootstrap import BootstrapWish, Distribution

WORK = "/mnt"
"""The jail's only directory that can be written and lasts."""
ROOT = f"{WORK}/root"
APT_SOURCES = f"{WORK}/sources.list"
APT_OPTIONS = f"{WORK}/apt.conf"
KEY = f"{WORK}/key"
REPOSITORY = "wirt-bootstrap"
PATIENCE_S = 20
"""How long a mirror may be silent. Asked twice, and then another."""

_DEBIAN_RELEASE = "bookworm"
_DEBIAN_PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "kmod", "procps", "iproute2", "systemd-resolved", "initramfs-tools"),
    *("e2fsprogs", "openssh-server", "ca-certificates"),
)
_FEDORA_PACKAGES = (
    *("systemd", "systemd-udev", "systemd-networkd", "systemd-resolved", "dbus", "kmod", "iproute", "dracut"),
    *("e2fsprogs", "openssh-server", "util-linux", "passwd", "shadow-utils", "dnf", "fedora-release"),
    *("glibc-minimal-langpack", "rootfiles"),
)
_SUSE_PACKAGES = (
    *("systemd", "udev", "systemd-network", "dbus-1", "kmod", "iproute2", "dracut", "e2fsprogs"),
    *("openssh-server", "util-linux", "util-linux-systemd", "shadow", "zypper", "openSUSE-release"),
)
_DRACUT = """\
set -e
v=$(ls /lib/modules | sort -V | tail -n 1)
[ -n "$v" ] || { echo "no kernel was installed" >&2; exit 1; }
[ -e "/boot/vmlinuz-$v" ] || cp "/lib/modules/$v/vmlinuz" "/boot/vmlinuz-$v"
dracut --quiet --force --no-hostonly "/boot/initrd-$v" "$v"
ln -sf "vmlinuz-$v" /boot/vmlinuz
ln -sf "initrd-$v" /boot/initrd
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A place that packages come from, as apt names it: ``uri`` may hold a name and a password, which stay on
    the host."""

    uri: str
    release: str
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One distribution's part of a :class:`~wirt.plan.bootstrap.BootstrapPlan`. ``helpers``: what the jail gets in
    its work directory, by name and text."""

    program: str
    commands: tuple[tuple[str, ...], ...]
    kernel: str
    initrd: str
    ssh_unit: str
    early: tuple[File, ...] = ()
    late: tuple[File, ...] = ()
    removed: tuple[str, ...] = ()
    inside: tuple[tuple[str, ...], ...] = ()
    helpers: tuple[tuple[str, str], ...] = ()


def recipe(
    distribution: Distribution, wish: BootstrapWish, sources: Sequence[Source], *, cloud_kernel: bool
) -> Recipe:
    if distribution == "debian":
        return _debian(wish, sources, cloud_kernel=cloud_kernel)
    return _fedora(wish) if distribution == "fedora" else _opensuse(wish)


# Debian


def _debian(wish: BootstrapWish, sources: Sequence[Source], *, cloud_kernel: bool) -> Recipe:
    release = wish.release or _DEBIAN_RELEASE
    chosen = debian_sources(wish, release, sources)
    kernel = wish.kernel or ("linux-image-cloud-amd64" if cloud_kernel else "linux-image-amd64")
    packages = [*_DEBIAN_PACKAGES, kernel, *(("sudo",) if wish.user else ()), *wish.packages]
    command = (
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--architectures=amd64", "--format=directory"),
        *("--skip=output/dev,cleanup/reproducible", f"--aptopt={APT_OPTIONS}"),
        *("--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Retries 1"),
        *(f"--aptopt=Acquire::{scheme}::Timeout {PATIENCE_S}" for scheme in ("http", "https", "ftp")),
        "--dpkgopt=force-unsafe-io",
        *((f"--keyring={KEY}",) if wish.key else ()),
        f"--include={','.join(dict.fromkeys(packages))}",
        *(release, ROOT, APT_SOURCES),
    )
    return Recipe(
        program="mmdebstrap",
        commands=(command,),
        kernel="vmlinuz",
        initrd="initrd.img",
        ssh_unit="ssh.service",
        late=(File("etc/apt/sources.list", _apt_lines(chosen, public=True)),),
        removed=(
            *("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"),
            *("vmlinuz.old", "initrd.img.old"),
        ),
        helpers=(("sources.list", _apt_lines(chosen, trusted=wish.unsigned)),),
    )


def debian_sources(wish: BootstrapWish, release: str, sources: Sequence[Source]) -> tuple[Source, ...]:
    """The named mirror, or what the host's own apt uses for Debian: with updates where it has them for this
    release."""
    if wish.mirror:
        return (Source(wish.mirror, release, ("main",)),)
    suites = (release, f"{release}-updates", f"{release}-security")
    own = tuple(each for each in sources if each.release in suites and "main" in each.components)
    if any(each.release == release for each in own):
        return own
    # Another release lies on the same mirror, beside the one that the host runs.
    for each in sources:
        debian = each.uri.rstrip("/").endswith("/debian")
        if debian and "main" in each.components and "-" not in each.release:
            return (Source(each.uri, release, ("main",)),)
    raise BadInput("this host's apt knows no mirror of Debian", hint="name one: --mirror URL")


def _apt_lines(sources: Sequence[Source], *, public: bool = False, trusted: bool = False) -> str:
    option = "[trusted=yes] " if trusted else ""
    rows = []
    for each in sources:
        uri = without_login(each.uri) if public else each.uri
        rows.append(f"deb {option}{uri} {each.release} {' '.join(each.components)}\n")
    return "".join(rows)


def without_login(uri: str) -> str:
    """``uri`` without name and password."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


# Fedora and kin


def _fedora(wish: BootstrapWish) -> Recipe:
    if not wish.release:
        raise BadInput("which release of Fedora?", hint="as in --release 41")
    packages = [
        *_FEDORA_PACKAGES,
        wish.kernel or "kernel-core",
        *(("sudo",) if wish.user else ()),
        *wish.packages,
    ]
    command = (
        *("dnf", "--assumeyes", f"--installroot={ROOT}", f"--releasever={wish.release}", "--forcearch=x86_64"),
        *("--setopt=install_weak_deps=False", "--setopt=tsflags=nodocs", "--setopt=keepcache=False"),
        *("--setopt=retries=2", f"--setopt=timeout={PATIENCE_S}", f"--setopt=cachedir={WORK}/cache"),
        *(f"--setopt=logdir={WORK}/log", f"--setopt=persistdir={ROOT}/var/lib/dnf"),
        *_dnf_mirror(wish),
        *("install", *dict.fromkeys(packages)),
    )
    dracut = File("etc/dracut.conf.d/wirt.conf", 'hostonly="no"\n')
    kernel_install = File("etc/kernel/install.conf", "layout=other\n")
    return Recipe(
        program="dnf",
        commands=(command,),
        kernel="boot/vmlinuz",
        initrd="boot/initrd",
        ssh_unit="sshd.service",
        early=(dracut, kernel_install),
        inside=(("sh", "-c", _DRACUT),),
    )


def _dnf_mirror(wish: BootstrapWish) -> tuple[str, ...]:
    """Without a mirror the host's own repositories serve (dnf(8), ``--installroot``)."""
    if not wish.mirror:
        return ("--nogpgcheck",) if wish.unsigned else ()
    check = ("--nogpgcheck",) if wish.unsigned else (f"--setopt={REPOSITORY}.gpgkey=file://{KEY}",)
    if not wish.unsigned and not wish.key:
        raise BadInput(
            "packages from a mirror that is named are checked against a key", hint="--key FILE, or --unsigned"
        )
    on = () if wish.unsigned else (f"--setopt={REPOSITORY}.gpgcheck=1",)
    return (f"--repofrompath={REPOSITORY},{wish.mirror}", f"--repo={REPOSITORY}", *on, *check)


# SUSE


def _opensuse(wish: BootstrapWish) -> Recipe:
    packages = [
        *_SUSE_PACKAGES,
        wish.kernel or "kernel-default-base",
        *(("sudo",) if wish.user else ()),
        *wish.packages,
    ]
    zypper: tuple[str, ...] = ("zypper", "--non-interactive", "--root", ROOT, "--cache-dir", f"{WORK}/cache")
    zypper = (*zypper, *(("--releasever", wish.release) if wish.release else ()))
    commands: list[tuple[str, ...]] = []
    if wish.mirror:
        if not wish.unsigned and not wish.key:
            raise BadInput(
                "packages from a mirror that is named are checked against a key", hint="--key FILE, or --unsigned"
            )
        if wish.key:
            commands.append(("rpm", "--root", ROOT, "--import", KEY))
        check = ("--no-gpgcheck",) if wish.unsigned else ("--gpgcheck-strict",)
        commands.append((*zypper, "addrepo", *check, wish.mirror, REPOSITORY))
    else:
        zypper = (*zypper, "--reposd-dir", "/etc/zypp/repos.d")
    install = ("install", "--no-recommends", "--auto-agree-with-licenses", *dict.fromkeys(packages))
    commands += [(*zypper, "refresh"), (*zypper, *install)]
    return Recipe(
        program="zypper",
        commands=tuple(commands),
        kernel="boot/vmlinuz",
        initrd="boot/initrd",
        ssh_unit="sshd.service",
        early=(File("etc/dracut.conf.d/wirt.conf", 'hostonly="no"\n'),),
        inside=(("sh", "-c", _DRACUT),),
    )

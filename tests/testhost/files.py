"""The root file system as a directory: Debian's packages, the kernel's modules, Python's packages, the agent."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from wirt.images import packages
from wirt.model.errors import ImageBuildFailed

from . import kernel, recipe
from .commands import Failed, run

INSTALL_S = 900.0
HOME = Path("srv/wirt")
"""Where the work tree is inside."""
AGENT = Path("usr/lib/testhost/agent.py")
AGENT_UNIT = "testhost-agent.service"

_CANDIDATES = '. "$1"; apt_etc=$2; backports_candidates "$3"'
_PINS = """\
Package: src:qemu seabios
Pin: release n=bookworm-backports
Pin-Priority: 500

Package: *
Pin: release n=bookworm-backports
Pin-Priority: -1
"""
_PATIENCE = "[Manager]\nDefaultTimeoutStartSec=600\nDefaultDeviceTimeoutSec=600\n"
_LAUNCHER = """\
#!/opt/wirt/bin/python
import sys
from {module} import {function}
sys.exit({function}())
"""


def lay_out(root: Path, scratch: Path, cache: Path, say: Callable[[str], None]) -> kernel.Kernel:
    """Everything that is on the test host's disk, in ``root``, and the kernel that it boots with."""
    say("installing Debian's packages")
    _install(root, scratch, say)
    say("unpacking the kernel")
    chosen = asyncio.run(_kernel(cache, scratch))
    for path, content in chosen.files().items():
        target = root / "usr" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    run("chroot", root, "depmod", "-a", chosen.release, timeout_s=60)
    _python(root)
    _settings(root)
    return chosen


# Debian's packages


def _install(root: Path, scratch: Path, say: Callable[[str], None]) -> None:
    """From the mirror that this machine's apt uses; the first entry for Debian that serves what is needed."""
    entries = _entries(scratch)
    reasons = []
    for suites in (f"{recipe.SUITE} {recipe.SUITE}-backports", recipe.SUITE):
        for name, text in entries:
            source = scratch / f"source{Path(name).suffix}"
            source.write_text(_for_suites(text, suites))
            try:
                _mmdebstrap(root, source, scratch)
            except Failed as error:
                reasons.append(error)
                shutil.rmtree(root, ignore_errors=True)
                continue
            if "backports" not in suites:
                say("no bookworm-backports in reach: the QEMU inside is Debian 12's own, 7.2")
            return
    if reasons:
        raise reasons[0]
    raise Failed(
        f"apt has no source for {recipe.SUITE}/main",
        hint="the test host is built on Debian 12 from its own package mirror: see /etc/apt/sources.list.d",
    )


def _entries(scratch: Path) -> list[tuple[str, str]]:
    """apt's entries for bookworm/main, as tools/setup/backports.sh finds them, asking for backports."""
    folder = scratch / "entries"
    folder.mkdir()
    run(
        "bash",
        "-c",
        _CANDIDATES,
        "sources",
        recipe.ROOT / "tools/setup/backports.sh",
        "/etc/apt",
        folder,
        timeout_s=20,
    )
    return [(path.name, path.read_text()) for path in sorted(folder.iterdir())]


def _for_suites(text: str, suites: str) -> str:
    if "Suites:" in text:
        return text.replace(f"Suites: {recipe.SUITE}-backports", f"Suites: {suites}")
    return "".join(text.replace(f" {recipe.SUITE}-backports ", f" {suite} ") for suite in suites.split())


def _mmdebstrap(root: Path, source: Path, scratch: Path) -> None:
    fetching = scratch / "acquire.conf"
    fetching.write_text(run("apt-config", "dump", "Acquire", timeout_s=20))
    pins = scratch / "pins"
    pins.write_text(_PINS)
    left_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.PATHS_LEFT_OUT]
    command = [
        *(
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=essential",
            "--architectures=amd64",
            "--format=directory",
        ),
        *(
            "--skip=cleanup/reproducible,output/dev",
            f"--aptopt={fetching}",
            "--aptopt=APT::Install-Recommends false",
        ),
        *("--dpkgopt=force-unsafe-io", *left_out),
        f'--setup-hook=cp {pins} "$1/etc/apt/preferences.d/testhost"',
        f"--include={','.join(recipe.PACKAGES)}",
        *(recipe.SUITE, str(root), str(source)),
    ]
    run(*command, timeout_s=INSTALL_S)


async def _kernel(cache: Path, scratch: Path) -> kernel.Kernel:
    cache.mkdir(parents=True, exist_ok=True)
    try:
        found = await packages.newest([await packages.kernel_name(recipe.KERNEL)])
        package = await packages.download(found[0], cache)
    except ImageBuildFailed as error:
        raise Failed(str(error), hint=error.hint or "") from error
    return kernel.unpacked(package)


# Python


def _python(root: Path) -> None:
    """The locked packages, as they are beside the Python that runs this: make setup installed them with their
    hashes."""
    if sys.version_info[:2] != (3, 11):
        raise Failed("this is not Debian 12's Python, 3.11, whose packages the test host takes", hint="make setup")
    site = root / "opt/wirt/lib/python3.11/site-packages"
    site.mkdir(parents=True)
    for name, version in _locked():
        _copy_distribution(name, version, site)
    (site / "wirt.pth").write_text(f"/{HOME}/src\n")
    programs = root / "opt/wirt/bin"
    programs.mkdir()
    (programs / "python").symlink_to("/usr/bin/python3")
    (root / "opt/wirt/pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name, module in (("wirt", "wirt.cli.main"), ("wirtd", "wirt.daemon.main")):
        launcher = programs / name
        launcher.write_text(_LAUNCHER.format(module=module, function="main"))
        launcher.chmod(0o755)
        (root / "usr/local/bin" / name).symlink_to(f"/opt/wirt/bin/{name}")


def _locked() -> list[tuple[str, str]]:
    """Name and version of each locked package that Linux takes."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)( ;.*win32.*)?", recipe.LOCK.read_text(), re.MULTILINE)
    return [
        (name, version) for name, version, windows in found if not windows and name not in recipe.NOT_NEEDED_INSIDE
    ]


def _copy_distribution(name: str, version: str, site: Path) -> None:
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise Failed(f"{name}, which requirements-dev.txt has, is not installed", hint="make setup") from None
    if found.version != version:
        raise Failed(f"{name} is {found.version}, and {version} in requirements-dev.txt", hint="make setup")
    for file in found.files or ():
        source = Path(str(found.locate_file(file)))
        if ".." not in file.parts and source.is_file():
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


# Settings


def _settings(root: Path) -> None:
    texts = {
        "etc/hostname": "testhost\n",
        "etc/hosts": "127.0.0.1 localhost testhost\n::1 localhost\n",
        "etc/machine-id": f"{b'testhost'.hex():0<32}\n",
        "etc/fstab": "/dev/vda / ext4 noatime 0 1\n",
        "etc/modules-load.d/testhost.conf": "".join(f"{name}\n" for name in recipe.LOADED),
        "etc/profile.d/testhost.sh": f"PATH=/opt/wirt/bin:$PATH\n[ ! -d /{HOME} ] || cd /{HOME}\n",
        "etc/systemd/system.conf.d/testhost.conf": _PATIENCE,
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / HOME).mkdir(parents=True)
    agent = root / AGENT
    agent.parent.mkdir(parents=True)
    shutil.copy(recipe.GUEST / "agent.py", agent)
    shutil.copy(recipe.GUEST / AGENT_UNIT, root / "etc/systemd/system")
    _units(root)
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "guest", timeout_s=20)
    # The mirror's address and how it is reached are this machine's own matter
    for path in (root / "etc/apt", root / "var/lib/apt", root / "var/cache/apt"):
        shutil.rmtree(path, ignore_errors=True)
    for path in (root / "etc/resolv.conf", root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        path.unlink(missing_ok=True)


def _units(root: Path) -> None:
    for verb, units in (("disable", recipe.SERVICES_OFF), ("mask", recipe.MASKED), ("enable", (AGENT_UNIT,))):
        for unit in units:  # one by one: systemctl stops at the first that a package no longer has
            subprocess.run(["chroot", root, "systemctl", verb, unit], capture_output=True, timeout=60, check=False)
    if not (root / "etc/systemd/system/multi-user.target.wants" / AGENT_UNIT).is_symlink():
        raise Failed("the agent was not enabled in the test host", hint="see tests/testhost/guest")

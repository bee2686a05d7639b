"""Debian packages as an ordinary user: what is newest, download, one file out of one."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wirt.images._process import run
from wirt.model.errors import ImageBuildFailed

_ASK_S = 60.0
_DOWNLOAD_S = 900.0
_UNPACK_S = 120.0
_OFFLINE_HINT = (
    "needs a Debian system with a package mirror in reach: check the network, run `apt-get update`, retry"
)
_NO_APT_HINT = "build the tiny guest on Debian 12 or Ubuntu and copy the finished directory here"


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}.deb"


def require_apt() -> None:
    """Raise `ImageBuildFailed` where there is no apt: the parts of the guest are Debian's packages."""
    missing = [tool for tool in ("apt-cache", "apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise ImageBuildFailed(f"not on this machine: {', '.join(missing)}", hint=_NO_APT_HINT)


async def newest(names: Sequence[str]) -> tuple[Package, ...]:
    """The versions that apt would install, in the order of `names`. `ImageBuildFailed` when it knows one not."""
    versions: dict[str, str] = {}
    name = ""
    for line in (await _ask("policy", names)).splitlines():
        key, _, value = line.strip().partition(":")
        if line[:1].strip():
            name = key
        elif key == "Candidate" and value.strip() not in ("", "(none)"):
            versions[name] = value.strip()
    unknown = [name for name in names if name not in versions]
    if unknown:
        raise ImageBuildFailed(f"apt knows no package {', '.join(unknown)}", hint=_OFFLINE_HINT)
    return tuple(Package(name, versions[name]) for name in names)


async def kernel_name(metapackage: str) -> str:
    """The real kernel package behind a metapackage such as `linux-image-cloud-amd64`."""
    return (await kernel_names([metapackage]))[0]


async def kernel_names(metapackages: Sequence[str]) -> list[str]:
    """Of several, in their order, with one question: each takes apt half a second."""
    found: dict[str, str] = {}
    metapackage = ""
    for line in (await _ask("depends", metapackages)).splitlines():
        kind, _, name = line.strip().partition(": ")
        if line[:1].strip():
            metapackage = line.strip()
        elif kind == "Depends" and name.startswith("linux-image-"):
            found.setdefault(metapackage, name)
    unknown = [name for name in metapackages if name not in found]
    if unknown:
        raise ImageBuildFailed(f"apt knows no kernel behind {', '.join(unknown)}", hint=_OFFLINE_HINT)
    return [found[name] for name in metapackages]


async def _ask(verb: str, names: Sequence[str]) -> str:
    try:
        return await run(["apt-cache", verb, *names], cwd=Path("/"), timeout_s=_ASK_S)
    except ImageBuildFailed as error:
        message = f"apt can't tell about {', '.join(names)}: {error.message}"
        raise ImageBuildFailed(message, hint=_OFFLINE_HINT) from error


async def download(package: Package, cache: Path) -> Path:
    """The package's file in `cache`, downloaded if it is not there. apt checks its signature and hash."""
    file = cache / package.file_name
    if file.is_file():
        return file
    with tempfile.TemporaryDirectory(prefix=".download-", dir=cache) as name:
        folder = Path(name)
        try:
            await run(
                ["apt-get", "download", f"{package.name}={package.version}"], cwd=folder, timeout_s=_DOWNLOAD_S
            )
        except ImageBuildFailed as error:
            raise ImageBuildFailed(
                f"can't download {package.name} {package.version}: {error.message}", hint=_OFFLINE_HINT
            ) from error
        found = list(folder.glob("*.deb"))
        if len(found) != 1:
            raise ImageBuildFailed(f"apt-get brought {len(found)} files for {package.name}", hint=_OFFLINE_HINT)
        found[0].rename(file)
    return file


async def unpack(file: Path, archive: Path) -> None:
    """Write the tar archive inside a package to `archive`."""
    with archive.open("wb") as output:
        command: list[str | Path] = ["dpkg-deb", "--fsys-tarfile", file]
        await run(command, cwd=archive.parent, timeout_s=_UNPACK_S, output=output)


def read_members(archive: Path, wanted: Callable[[str], bool]) -> Mapping[str, bytes]:
    """The regular files of a tar archive whose path (without a leading `./`) is wanted."""
    members: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            if member.isreg() and wanted(path):
                content = tar.extractfile(member)
                assert content is not None
                members[path] = content.read()
    return members

"""What installers say, understood: how far they are, and why they failed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wirt.model.errors import BadInput, Shortage, Unavailable, WirtError
from wirt.model.text import plain

_STAGES = (
    (r"running apt-get update|Refreshing|Retrieving repository|metadata", "asking the mirror", 0.02),
    (r"downloading packages with apt|Downloading Packages|Retrieving:|Retrieving package", "downloading", 0.06),
    (r"extracting archives|Running transaction check|Checking for file conflicts", "unpacking", 0.3),
    (r"installing essential packages|Running transaction$", "installing what is essential", 0.38),
    (r"installing remaining packages|^\s*Installing\s*:", "installing packages", 0.5),
    (r"Generating /boot|update-initramfs: Generating|Running scriptlet", "making the initramfs", 0.7),
    (r"cleaning package lists", "cleaning up", 0.9),
)
_COUNTED = re.compile(r"\(\s*(\d+)/(\d+)\)")
_NO_PACKAGE = re.compile(
    r"Unable to locate package (\S+)|Package '?([^ ']+)'? has no installation candidate"
    r"|No match for argument: (\S+)|No provider of '([^']+)' found|Package '([^']+)' not found"
)
_NO_RELEASE = re.compile(r"does not have a Release file|404\s+Not Found|Status code: 404")
_NO_REPOSITORY = re.compile(r"no enabled repositories")
_NO_METADATA = re.compile(r"Valid metadata not found")
_UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Could ?n[o']t connect|Connection (timed out|refused|failed)"
    r"|Unable to connect|No route to host|Network is unreachable|Curl error|Cannot download|Failed to fetch"
    r"|Failed to download metadata|Timeout was reached|File not found|Can't provide"
)
_UNTRUSTED = re.compile(
    r"NO_PUBKEY|not signed|GPG check FAILED|Signature verification failed|couldn't be verified"
)
_FULL = re.compile(r"No space left on device|Could not allocate block|not enough space")
_CAUSE = re.compile(r"^(E:|Error|Failed|error:|Err:|Problem:|Curl|mke2fs:|dracut.*FAIL)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stage:
    """``share`` of the installer's own work."""

    what: str
    share: float


def stage(line: str) -> Stage | None:
    """What ``line`` says is being done now, if it says so."""
    counted = _COUNTED.search(line)
    if counted and int(counted[2]):
        return Stage(plain(line.strip(), 60), min(1.0, int(counted[1]) / int(counted[2])))
    for pattern, what, share in _STAGES:
        if re.search(pattern, line):
            return Stage(what, share)
    return None


def failure(program: str, lines: list[str], where: str) -> WirtError:
    """Why it ended with another status than 0. ``where``: what it was to be had from."""
    said = "\n".join(lines)
    cause = plain(_cause(lines), 400)
    if _FULL.search(said):
        return Shortage(f"it does not fit: {cause}", hint="a larger --size, or fewer --packages")
    if _NO_RELEASE.search(said):
        return Unavailable(f"{where} has no such release: {cause}", hint="see --release and --mirror")
    if _UNTRUSTED.search(said):
        return Unavailable(f"what {where} has is not signed by a key that is known: {cause}", hint="--key FILE")
    if _UNREACHABLE.search(said):
        return Unavailable(
            f"{where} can't be reached: {cause}", hint="check the network, or name another: --mirror"
        )
    if _NO_REPOSITORY.search(said):
        return BadInput(f"this host's {program} knows no place of packages", hint="name one: --mirror URL")
    # Last: whoever could not be asked has no package either.
    absent = _NO_PACKAGE.search(said)
    if absent:
        name = next(each for each in absent.groups() if each)
        return BadInput(f"{where} has no package {plain(name, 80)}", hint="see --packages and --kernel")
    if _NO_METADATA.search(said):
        return Unavailable(f"{where} has no such packages: {cause}", hint="see --release and --mirror")
    return Unavailable(f"{program} failed: {cause}")


def _cause(lines: list[str]) -> str:
    causes = [line.strip() for line in lines if _CAUSE.match(line.strip())]
    words = list(dict.fromkeys(causes))[:3] or [line.strip() for line in lines if line.strip()][-3:]
    return "; ".join(words) or "it said nothing"

"""The manifest of an OVF package: a digest for each file (DSP0243, "Distribution": ``SHA256(file)= digest``)."""

from __future__ import annotations

import re

from wirt.config.tarheader import check_name
from wirt.model.errors import BadInput
from wirt.model.text import plain

MOST_BYTES = 1024 * 1024
_LINE = re.compile(
    r"(?P<algorithm>SHA1|SHA256|SHA384|SHA512)\s*\((?P<file>[^()]*)\)\s*=\s*(?P<digest>[0-9A-Fa-f]{40,128})"
)
_LENGTHS = {"sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}


def read(text: bytes, what: str) -> dict[str, tuple[str, str]]:
    """By file, the algorithm in hashlib's words and the digest in small letters."""
    found: dict[str, tuple[str, str]] = {}
    for line in text[:MOST_BYTES].decode(errors="replace").splitlines():
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        algorithm = "" if match is None else match["algorithm"].lower()
        if match is None or len(match["digest"]) != _LENGTHS[algorithm]:
            raise BadInput(f"{what} has a line that is no digest: {plain(line, 80)!r}")
        name = check_name(match["file"].strip(), what)
        if name in found:
            raise BadInput(f"{what} has two digests for {name}")
        found[name] = (algorithm, match["digest"].lower())
    return found


def write(digests: dict[str, str]) -> str:
    return "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items())

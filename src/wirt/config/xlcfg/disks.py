"""The ``disk`` list of a text with other targets: every other entry stays as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from wirt.config.xlcfg.disk import parse_disk
from wirt.config.xlcfg.document import with_value
from wirt.config.xlcfg.settings import Settings, settle
from wirt.config.xlcfg.syntax import parse
from wirt.model.devices import DiskSpec


def with_volumes(text: str, volumes: Mapping[str, str]) -> str:
    """``text``, as it is stored, whose disks have these targets (``pool:POOL/VOLUME``), by ``vdev``."""
    entries = Settings(settle(parse(text, file="<text>").assignments)).texts("disk")
    written = [_entry(entry, volumes) for entry in entries]
    return with_value(text, "disk", written) if written else text


def _entry(entry: str, volumes: Mapping[str, str]) -> str:
    disk = parse_disk(entry, PurePosixPath("/")).disk
    target = volumes.get(disk.vdev)
    return entry if target is None else ",".join((*_words(disk), f"target={target}"))


def _words(disk: DiskSpec) -> list[str]:
    """All but the target and its format, which a volume knows by itself."""
    words = [f"vdev={disk.vdev}", f"access={'rw' if disk.writable else 'ro'}"]
    if not disk.discard:
        words.append("no-discard")
    if disk.direct_io_safe:
        words.append("direct-io-safe")
    if disk.specification is not None:
        words.append(f"specification={disk.specification}")
    return words

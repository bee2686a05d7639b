"""The ``disk`` list of a text with other targets: every other entry stays as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from wirt.config.xlcfg.disk import parse_disk
from wirt.config.xlcfg.diskqos import WORDS, words_of
from wirt.config.xlcfg.document import with_value
from wirt.config.xlcfg.settings import Settings, settle
from wirt.config.xlcfg.spec import part_at
from wirt.config.xlcfg.syntax import parse
from wirt.model.devices import DiskSpec
from wirt.model.diskqos import DiskQos


def disk_entries(text: str) -> list[tuple[str, DiskSpec]]:
    """Each entry of ``text``, as it is stored, and what it means."""
    entries = Settings(settle(parse(text, file="<text>").assignments)).texts("disk")
    return [(entry, parse_disk(entry, PurePosixPath("/")).disk) for entry in entries]


def with_volumes(text: str, volumes: Mapping[str, str]) -> str:
    """``text``, as it is stored, whose disks have these targets (``pool:POOL/VOLUME``), by ``vdev``."""
    written = [
        entry if disk.vdev not in volumes else ",".join((*_words(disk), f"target={volumes[disk.vdev]}"))
        for entry, disk in disk_entries(text)
    ]
    return with_value(text, "disk", written) if written else text


def with_qos(text: str, vdev: str, qos: DiskQos) -> str:
    """``text``, as it is stored, in which the disk ``vdev`` has the limits ``qos``."""
    written = [entry if disk.vdev != vdev else _limited(entry, qos) for entry, disk in disk_entries(text)]
    return with_value(text, "disk", written)


def _limited(entry: str, qos: DiskQos) -> str:
    """The limits come first, where no prefix and no ``target=`` has begun."""
    kept, offset = [], 0
    while offset < len(entry):
        part, after = part_at(entry, offset)
        if part.name == "target":
            kept.append(entry[part.offset :])
            break
        if part.name not in WORDS:
            kept.append(part.text)
        offset = after
    return ",".join((*(f"{word}={value}" for word, value in words_of(qos).items()), *kept))


def _words(disk: DiskSpec) -> list[str]:
    """All but the target and its format, which a volume knows by itself."""
    words = [f"vdev={disk.vdev}", f"access={'rw' if disk.writable else 'ro'}"]
    if not disk.discard:
        words.append("no-discard")
    if disk.direct_io_safe:
        words.append("direct-io-safe")
    if disk.specification is not None:
        words.append(f"specification={disk.specification}")
    words += [f"{word}={value}" for word, value in words_of(disk.qos).items()]
    return words

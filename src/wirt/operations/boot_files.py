"""Kernels, initial RAM disks and own firmware go along with the domains that name them, unless the other host has
the same.

``origin`` is the path that a file had on the host it came from at first. It is what is offered, so that a domain
which comes back names its kernel as it always did.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import WirtError
from wirt.operations.environment import Environment
from wirt.operations.layers import layer_files
from wirt.ports.boot_files import MOST_BYTES
from wirt.ports.files import touch
from wirt.ports.layers import Content
from wirt.wire.v1_incoming import OfferedFile

MOST_SEEN = 100
"""Files whose content is remembered."""


def named_files(config: DomainConfig) -> dict[str, str]:
    """By the key of the configuration."""
    named = {"kernel": config.kernel, "ramdisk": config.ramdisk, "firmware": config.firmware_path}
    return {key: path for key, path in named.items() if path is not None}


def with_file(config: DomainConfig, key: str, path: str | None) -> DomainConfig:
    """``config`` with another path for the file that it names as ``key``."""
    match key:
        case "kernel":
            return replace(config, kernel=path)
        case "ramdisk":
            return replace(config, ramdisk=path)
    return replace(config, firmware_path=path)


async def offered_files(environment: Environment, domain: Domain) -> list[OfferedFile]:
    """Those that can be read and are no larger than they may be. Of others the target sees whether it has any."""
    if environment.boot_files is None or environment.layer_files is None:
        return []
    origins = {each.path: each.origin for each in await environment.boot_files.stored()}
    offered = []
    for key, path in named_files(domain.config).items():
        content = await content_at(environment, path)
        if content is not None:
            offered.append(OfferedFile(key, origins.get(path, path), content.length, content.digest))
    return offered


async def source_of(environment: Environment, domain: Domain, key: str) -> str:
    """The real path of what the domain names as ``key``."""
    path = named_files(domain.config)[key]
    return str(await touch(path, Path(path).resolve))


async def content_at(environment: Environment, path: str, length: int | None = None) -> Content | None:
    """``None`` if it can't be had, is too large, or has another ``length``. A file that has not changed since is
    not read again."""
    try:
        real = str(await touch(path, Path(path).resolve))
        found = await layer_files(environment).length(real)
        if not 0 < found <= MOST_BYTES or length not in (None, found):
            return None
        return await _read(environment, real)
    except WirtError:
        return None


async def _read(environment: Environment, path: str) -> Content:
    seen, stamp = environment.contents.get(path), await _stamp_of(environment, path)
    if seen is not None and stamp and seen[0] == stamp:
        return seen[1]
    content = await layer_files(environment).content(path)
    if stamp and stamp == await _stamp_of(environment, path):
        environment.contents[path] = stamp, content
        for old in list(environment.contents)[:-MOST_SEEN]:
            del environment.contents[old]
    return content


async def _stamp_of(environment: Environment, path: str) -> str:
    """Empty where there is none."""
    if environment.storage is None:
        return ""
    return (await environment.storage.stamps((path,))).get(path, "")


async def drop_unused_files(environment: Environment) -> None:
    """Those that no domain here names any more, nor any of its snapshots."""
    if environment.boot_files is None:
        return
    texts = [domain.text for domain in environment.domains]
    texts += [each.text for tree in environment.snapshots for each in tree.snapshots]
    for file in await environment.boot_files.stored():
        if not any(file.path in text for text in texts):
            await environment.boot_files.remove(file.path)


async def tidy_boot_files(environment: Environment) -> None:
    """At a daemon's start."""
    if environment.boot_files is not None:
        await environment.boot_files.tidy()
        await drop_unused_files(environment)

"""What images stand on, remembered from their first use.

The header of a qcow2 image names the file below it, and that is opened by the daemon, with its rights. A guest
that has taken over its QEMU can write that header: it would name another domain's disk there, or a file of the
host's, and read it after its next start. So what an image stands on is written down when it is first used and must
not change unless somebody says so, or an operation of wirt's changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from wirt.model.devices import DiskFormat
from wirt.model.errors import ImageChanged, NotFound, StoreConflict
from wirt.model.storage import Volume
from wirt.operations import records
from wirt.operations.environment import Environment
from wirt.plan.launch import LaunchPlan
from wirt.ports.files import touch
from wirt.ports.store import Compare, Delete, Put

Chain = tuple[str, ...]
T = TypeVar("T")
AT_ONCE = 100
"""Writes in one transaction; a store takes 128."""


async def check_backing(environment: Environment, plan: LaunchPlan, *, remember: bool = False) -> None:
    """``ImageChanged`` if an image of ``plan`` stands on other files than it did. ``remember``: of one that is
    used for the first time it is written down, before the first instruction of a guest that could change it."""
    for image, chain in (await environment.hypervisor.backing(plan)).items():
        if not await check_chain(environment, image, chain) and remember:
            await _remember(environment, image, chain)


async def check_chain(environment: Environment, image: str, chain: Chain) -> bool:
    """The same of one image, by its real path, with the file right below it first in ``chain``. Whether the image
    was known at all."""
    entry = await environment.store.get(records.backing_key(image))
    if entry is None:
        return False
    known = records.read_backing(entry)
    if known != chain:
        raise ImageChanged(
            f"{image} stands on {_words(chain)}, and when it was first used it stood on {_words(known)}",
            hint=f"if that was you: wirt image accept {image}; else a guest wrote it, to get at that file",
        )
    return True


async def _remember(environment: Environment, image: str, chain: Chain) -> None:
    key = records.backing_key(image)
    try:
        await environment.store.commit(Put(key, records.write_backing(image, chain)), when=(Compare(key, 0),))
    except StoreConflict as error:
        raise ImageChanged(f"{image} is being used for the first time by two domains", hint="try again") from error


async def remember_made(environment: Environment, made: Mapping[str, Chain]) -> None:
    """What images that wirt itself has just made stand on, by their real paths."""
    for some in _batches(list(made.items())):
        puts = [Put(records.backing_key(image), records.write_backing(image, chain)) for image, chain in some]
        await environment.store.commit(*puts)


async def forget_removed(environment: Environment, images: Sequence[str]) -> None:
    """Images that are gone: another one may get the name, and stand on something else."""
    for some in _batches(list(images)):
        await environment.store.commit(*(Delete(records.backing_key(image)) for image in some))


async def accept(environment: Environment, image: str) -> None:
    """Forget what ``image`` stood on; the next start takes it as it is then."""
    key = records.backing_key(image)
    if await environment.store.get(key) is None:
        raise NotFound(f"{image} was not used yet", hint="name it as the error does: by its real path")
    await environment.store.commit(Delete(key))


async def lost_a_layer(environment: Environment, volume: Volume) -> None:
    """An operation that was to take one of the images from under ``volume`` did not come to its end: whether the
    image says so already or not, it is right. Any other change is not."""
    image = str(await touch(volume.path, Path(volume.path).resolve))
    entry = await environment.store.get(records.backing_key(image))
    if entry is None or volume.format is not DiskFormat.QCOW2 or environment.image_tool is None:
        return
    known, now = records.read_backing(entry), await environment.image_tool.chain(volume)
    if any(now == known[:place] + known[place + 1 :] for place in range(len(known))):
        await environment.store.commit(Put(records.backing_key(image), records.write_backing(image, now)))


async def changed(environment: Environment, volume: Volume) -> None:
    """An operation of wirt's has put ``volume`` on others than before: that is what it stands on from now on."""
    image = str(await touch(volume.path, Path(volume.path).resolve))
    if volume.format is not DiskFormat.QCOW2 or environment.image_tool is None:
        await environment.store.commit(Delete(records.backing_key(image)))
        return
    chain = await environment.image_tool.chain(volume)
    await environment.store.commit(Put(records.backing_key(image), records.write_backing(image, chain)))


def _batches(all_of_them: list[T]) -> Iterator[list[T]]:
    """As many as a transaction takes."""
    for start in range(0, len(all_of_them), AT_ONCE):
        yield all_of_them[start : start + AT_ONCE]


def _words(chain: Chain) -> str:
    return " on ".join(chain) or "nothing"

"""What images stand on, remembered from their first use.

The header of a qcow2 image names the file below it, and that is opened by the daemon, with its rights. A guest
that has taken over its QEMU can write that header: it would name another domain's disk there, or a file of the
host's, and read it after its next start. So what an image stands on is written down when it is first used and must
not change unless somebody says so, or an operation of wirt's changes it.
"""

from __future__ import annotations

import hashlib
import json
import os

from wirt.model.errors import CorruptState, ImageChanged, NotFound, StoreConflict
from wirt.operations.environment import Environment
from wirt.operations.records import PREFIX
from wirt.plan.launch import LaunchPlan
from wirt.ports.store import Compare, Delete, Put

KEYS = f"{PREFIX}/backing/"

Chain = tuple[str, ...]


def key_of(image: str) -> str:
    return f"{KEYS}{hashlib.sha256(os.fsencode(image)).hexdigest()}"


async def check_backing(environment: Environment, plan: LaunchPlan) -> None:
    """``ImageChanged`` if an image of ``plan`` stands on other files than it did."""
    for image, chain in (await environment.hypervisor.backing(plan)).items():
        await check_chain(environment, image, chain)


async def check_chain(environment: Environment, image: str, chain: Chain) -> None:
    """The same of one image, by its real path."""
    known = await _known(environment, image)
    if known is not None and known != chain:
        raise ImageChanged(
            f"{image} stands on {_words(chain)}, and when it was first used it stood on {_words(known)}",
            hint=f"if that was you: wirt image accept {image}; else a guest wrote it, to get at that file",
        )


async def remember_backing(environment: Environment, plan: LaunchPlan) -> None:
    """Before the first instruction of a guest that could change it. Of what is known already nothing changes."""
    for image, chain in (await environment.hypervisor.backing(plan)).items():
        if await _known(environment, image) is None:
            await record_backing(environment, image, chain, new=True)


async def record_backing(environment: Environment, image: str, chain: Chain, *, new: bool = False) -> None:
    """From now on ``image`` (its real path) stands on ``chain``, the file right below it first."""
    value = json.dumps({"v": 1, "image": image, "chain": list(chain)}).encode(errors="surrogateescape")
    key = key_of(image)
    try:
        await environment.store.commit(Put(key, value), when=(Compare(key, 0),) if new else ())
    except StoreConflict as error:
        raise ImageChanged(f"{image} is being used for the first time by two domains", hint="try again") from error


async def accept(environment: Environment, image: str) -> None:
    """Forget what ``image`` stood on; the next start takes it as it is then."""
    key = key_of(image)
    if await environment.store.get(key) is None:
        raise NotFound(f"{image} was not used yet", hint="name it as the error does: by its real path")
    await environment.store.commit(Delete(key))


async def _known(environment: Environment, image: str) -> Chain | None:
    entry = await environment.store.get(key_of(image))
    if entry is None:
        return None
    try:
        return tuple(str(each) for each in json.loads(entry.value)["chain"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptState(
            f"the record {entry.key} can't be read: {error}", hint=f"wirt image accept {image} removes it"
        ) from error


def _words(chain: Chain) -> str:
    return " on ".join(chain) or "nothing"

"""The image port over the recipes that wirt has: so far one, the tiny guest."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from wirt.images.tiny import TinyImage, find_tiny
from wirt.model.errors import ImageBuildFailed, NotFound
from wirt.ports.images import GuestImage, Progress

TINY = "tiny"
CANCEL_S = 20.0


class Images:
    """Finished images lie in ``directory``, one folder each; downloads in ``cache``."""

    def __init__(self, directory: Path, cache: Path) -> None:
        self._directory = directory
        self._cache = cache

    def recipes(self) -> tuple[str, ...]:
        return (TINY,)

    def finished(self) -> tuple[GuestImage, ...]:
        found = find_tiny(self._directory / TINY)
        return (_image(found),) if found is not None else ()

    async def build(self, name: str, progress: Progress) -> GuestImage:
        if name != TINY:
            raise NotFound(f"there is no recipe for an image called {name}", hint=f"there is: {TINY}")
        await _run_worker(name, self._directory / name, self._cache, progress)
        (image,) = self.finished()
        return image


async def _run_worker(name: str, directory: Path, cache: Path, progress: Progress) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "wirt.images.worker", name, str(directory), str(cache)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        await _listen(worker, progress)
    finally:
        if worker.returncode is None:
            await _end(worker)


async def _listen(worker: asyncio.subprocess.Process, progress: Progress) -> None:
    assert worker.stdout is not None
    failure = ImageBuildFailed("the build ended without a word", hint="see wirtd.log")
    async for line in worker.stdout:
        said = json.loads(line)
        if "share" in said:
            progress(said["what"], said["share"])
        elif "error" in said:
            failure = ImageBuildFailed(said["error"], hint=said["hint"])
    if await worker.wait() != 0:
        raise failure


async def _end(worker: asyncio.subprocess.Process) -> None:
    """Give it time to take its half-made files away."""
    worker.terminate()
    try:
        await asyncio.wait_for(worker.wait(), CANCEL_S)
    except TimeoutError:
        worker.kill()
        await worker.wait()


def _image(tiny: TinyImage) -> GuestImage:
    return GuestImage(TINY, str(tiny.kernel), str(tiny.initramfs), str(tiny.disk), tiny.fingerprint)

"""The image port over the recipes that wirt has: so far one, the tiny guest."""

from __future__ import annotations

from pathlib import Path

from wirt.images.tiny import TinyImage, build_tiny, find_tiny
from wirt.model.errors import NotFound
from wirt.ports.images import GuestImage, Progress

TINY = "tiny"


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
        return _image(await build_tiny(self._directory / TINY, self._cache, progress))


def _image(tiny: TinyImage) -> GuestImage:
    return GuestImage(TINY, str(tiny.kernel), str(tiny.initramfs), str(tiny.disk), tiny.fingerprint)

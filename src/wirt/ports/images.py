"""Building guest images that wirt knows the recipe of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class GuestImage:
    """Absolute paths of a finished image."""

    name: str
    kernel: str
    initramfs: str
    disk: str
    fingerprint: str


class ImageBuilder(Protocol):
    """Errors: ``ImageBuildFailed`` with what to install or mend; ``NotFound`` for an unknown recipe."""

    def recipes(self) -> tuple[str, ...]: ...

    def finished(self) -> tuple[GuestImage, ...]: ...

    async def build(self, name: str, progress: Progress) -> GuestImage:
        """Build it, or find it built. Cancelling leaves nothing behind."""
        ...

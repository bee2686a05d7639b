"""Bootstrap installs in memory: what would lie on the host's disk, in dictionaries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from wirt.model.errors import NameInUse, NotFound, WirtError
from wirt.model.storage import ImageFormat
from wirt.plan.bootstrap import BootstrapPlan
from wirt.plan.bootstrap_tools import Source
from wirt.ports.bootstrap import Blank, Progress, System
from wirt.ports.storage import ImageFacts
from wirt.storage.fake import FakeImageTool

MIRROR = Source("http://mirror.example/debian", "bookworm", ("main",))


@dataclass
class FakeBootstrapper:
    """``devices`` are those that can be written over. ``going`` is set while a build waits for ``finish``."""

    image_tool: FakeImageTool
    devices: dict[str, Blank] = field(default_factory=dict)
    files: dict[Path, Path | str] = field(default_factory=dict)
    scratches: set[Path] = field(default_factory=set)
    wiped: list[str] = field(default_factory=list)
    failure: WirtError | None = None
    going: asyncio.Event = field(default_factory=asyncio.Event)
    finish: asyncio.Event = field(default_factory=asyncio.Event)
    held: bool = False

    async def sources(self) -> tuple[Source, ...]:
        return (MIRROR,)

    def check(self, plan: BootstrapPlan) -> None:
        pass

    async def build(self, plan: BootstrapPlan, scratch: Path, progress: Progress) -> System:
        self.scratches.add(scratch)
        progress("half way", 0.5)
        self.going.set()
        if self.held:
            await self.finish.wait()
        if self.failure is not None:
            raise self.failure
        disk = scratch / "disk.raw"
        self.image_tool.images[str(disk)] = ImageFacts(ImageFormat.RAW, plan.wish.size, 0)
        return System(disk, scratch / "vmlinuz", scratch / "initrd")

    async def discard(self, scratch: Path) -> None:
        self.scratches.discard(scratch)
        self.image_tool.images.pop(str(scratch / "disk.raw"), None)

    async def look(self, path: str) -> Blank:
        if path not in self.devices:
            raise NotFound(f"{path}: no such file or directory")
        return self.devices[path]

    async def wipe(self, path: str) -> None:
        self.wiped.append(path)

    async def exists(self, path: Path) -> bool:
        return path in self.files or str(path) in self.image_tool.images or path == Path("/images")

    async def remove(self, path: Path) -> None:
        self.files.pop(path, None)
        self.image_tool.images.pop(str(path), None)

    async def put(self, content: Path | str, target: Path) -> None:
        if target in self.files:
            raise NameInUse(f"there is a file {target} already")
        self.files[target] = content

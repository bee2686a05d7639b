"""A build in a process of its own: it needs hundreds of megabytes for a while, and whole seconds of one CPU.

``python -m wirt.images.worker RECIPE DIRECTORY CACHE`` prints one JSON object a line: ``{"what", "share"}`` for
progress, and at the end ``{"done": true}`` or ``{"error", "hint"}``. SIGTERM cancels it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from wirt.images.tiny import build_tiny
from wirt.model.errors import ImageBuildFailed


def main(recipe: str, directory: str, cache: str) -> int:
    assert recipe == "tiny", recipe
    try:
        asyncio.run(_build(Path(directory), Path(cache)))
    except ImageBuildFailed as error:
        _say(error=error.message, hint=error.hint)
        return 1
    except asyncio.CancelledError:
        return 1
    _say(done=True)
    return 0


async def _build(directory: Path, cache: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await build_tiny(directory, cache, lambda what, share: _say(what=what, share=share))


def _say(**words: object) -> None:
    # Whoever asked may be gone; the build is worth finishing all the same.
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(words), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

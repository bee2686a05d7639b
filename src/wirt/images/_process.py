"""Commands that a build runs: bounded in time, ended with the task that waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from wirt.model.errors import ImageBuildFailed

_LAST_WORDS_CHARS = 600
_GRACE_S = 3.0


def require(tools: Mapping[str, str]) -> None:
    """Raise `ImageBuildFailed` unless each tool (key) is on the PATH; the values are Debian packages."""
    missing = {tool: package for tool, package in tools.items() if shutil.which(tool) is None}
    if missing:
        raise ImageBuildFailed(
            f"the tiny guest can't be built: not installed: {', '.join(sorted(missing))}",
            hint="apt-get install " + " ".join(sorted(set(" ".join(missing.values()).split()))),
        )


async def run(
    command: Sequence[str | Path], *, cwd: Path, timeout_s: float, output: IO[bytes] | None = None
) -> str:
    """Run a command to its end and return its standard output as text, or "" when it goes to `output`.

    Raises `ImageBuildFailed` with the command's last words when it fails or takes longer than `timeout_s`
    seconds. Whatever ends the wait also ends the command with its children.
    """
    argv = [str(part) for part in command]
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        # One language and one time zone: what tools print is parsed, what they write is compared.
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": "0"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if output is None else output,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        raise ImageBuildFailed(f"`{argv[0]}` did not finish within {timeout_s:.0f} s") from None
    finally:
        await _end(process)
    if process.returncode != 0:
        words = (err or out or b"").decode(errors="replace").strip()[-_LAST_WORDS_CHARS:]
        raise ImageBuildFailed(f"`{' '.join(argv[:3])}` failed with status {process.returncode}: {words}")
    return out.decode(errors="replace") if out else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process group that `run` made, if it is still there; first with a chance to clean up."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await process.wait()
